"""LlamaIndex's class for servers with OpenAI's API."""

from checks import BASE, KEY, MODEL, PROMPT, TOKENS, chat, complete, require_equal, run_checks
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

FIELDS = {"api_base": BASE, "api_key": KEY, "model": MODEL, "temperature": 0, "max_tokens": TOKENS}


def try_second_turn() -> None:
    """Send a received message back."""
    model = OpenAILike(is_chat_model=True, **FIELDS)
    user = ChatMessage(role="user", content=PROMPT)
    first = model.chat([user]).message
    found = model.chat([user, first, ChatMessage(role="user", content="And")]).message
    require_equal(found.content, chat(PROMPT, first.content, "And"))


def try_chat_stream() -> None:
    """Stream a chat answer."""
    *_, last = OpenAILike(is_chat_model=True, **FIELDS).stream_chat(
        [ChatMessage(role="user", content=PROMPT)]
    )
    require_equal(last.message.content, chat(PROMPT))


def try_text() -> None:
    """Complete a text, streamed too."""
    model = OpenAILike(is_chat_model=False, **FIELDS)
    require_equal(model.complete(PROMPT).text, complete())
    *_, last = model.stream_complete(PROMPT)
    require_equal(last.text, complete())


run_checks(
    "llama-index-llms-openai-like",
    {"chat, second turn": try_second_turn, "chat stream": try_chat_stream, "completions": try_text},
)
