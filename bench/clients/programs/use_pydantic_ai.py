"""pydantic-ai."""

from checks import BASE, KEY, MODEL, PROMPT, TOKENS, chat, require_equal, run_checks
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

PROVIDER = OpenAIProvider(base_url=BASE, api_key=KEY)
FIELDS = {"model_settings": {"temperature": 0, "max_tokens": TOKENS}}


def try_second_turn() -> None:
    """Continue a conversation."""
    agent = Agent(OpenAIChatModel(MODEL, provider=PROVIDER), **FIELDS)
    first = agent.run_sync(PROMPT)
    found = agent.run_sync("And", message_history=first.all_messages())
    require_equal(found.output, chat(PROMPT, first.output, "And"))


def try_stream() -> None:
    """Stream a chat answer."""
    agent = Agent(OpenAIChatModel(MODEL, provider=PROVIDER), **FIELDS)
    result = agent.run_stream_sync(PROMPT)
    require_equal("".join(result.stream_text(delta=True)), chat(PROMPT))


def try_responses() -> None:
    """Use the response API, for two turns."""
    agent = Agent(OpenAIResponsesModel(MODEL, provider=PROVIDER), **FIELDS)
    first = agent.run_sync(PROMPT)
    require_equal(first.output, chat(PROMPT))
    found = agent.run_sync("And", message_history=first.all_messages())
    require_equal(found.output, chat(PROMPT, first.output, "And"))


run_checks(
    "pydantic-ai-slim",
    {
        "chat, second turn": try_second_turn,
        "chat stream": try_stream,
        "responses, second turn": try_responses,
    },
)
