"""LangChain's package for OpenAI's API."""

from checks import BASE, KEY, MODEL, PROMPT, TOKENS, chat, complete, require_equal, run_checks
from langchain_openai import ChatOpenAI, OpenAI

FIELDS = {"base_url": BASE, "api_key": KEY, "model": MODEL, "temperature": 0, "max_tokens": TOKENS}


def try_second_turn() -> None:
    """Send a received message back."""
    model = ChatOpenAI(**FIELDS)
    first = model.invoke([("user", PROMPT)])
    found = model.invoke([("user", PROMPT), first, ("user", "And")])
    require_equal(found.content, chat(PROMPT, first.content, "And"))


def try_stream() -> None:
    """Stream a chat answer."""
    require_equal("".join(part.content for part in ChatOpenAI(**FIELDS).stream(PROMPT)), chat(PROMPT))


def try_text() -> None:
    """Complete a text."""
    require_equal(OpenAI(**FIELDS).invoke(PROMPT), complete())


def try_responses() -> None:
    """Use the response API."""
    found = ChatOpenAI(use_responses_api=True, **FIELDS).invoke(PROMPT)
    require_equal(found.text if isinstance(found.text, str) else found.text(), chat(PROMPT))


run_checks(
    "langchain-openai",
    {
        "chat, second turn": try_second_turn,
        "chat stream": try_stream,
        "completions": try_text,
        "responses": try_responses,
    },
)
