"""pydantic-ai."""

from typing import Literal

from checks import BASE, FORMS_BASE, KEY, MODEL, PROMPT, TOKENS, chat, require_equal, run_checks
from pydantic import BaseModel, Field
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

PROVIDER = OpenAIProvider(base_url=BASE, api_key=KEY)
FORMS_PROVIDER = OpenAIProvider(base_url=FORMS_BASE, api_key=KEY)
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


class Lamp(BaseModel):
    """Switch a lamp."""

    room: Literal["kitchen", "hall"]
    level: int = Field(ge=0, le=100)


LONG = {"model_settings": {"max_tokens": 200, "seed": 1}, "retries": 0}


def try_output_type() -> None:
    """Get an object of a class, by a tool and by a schema."""
    model = OpenAIChatModel(MODEL, provider=FORMS_PROVIDER)
    for output in (Lamp, NativeOutput(Lamp)):
        found = Agent(model, output_type=output, **LONG).run_sync(PROMPT).output
        require_equal(type(found), Lamp)


def try_streamed_output() -> None:
    """Stream an object of a class."""
    agent = Agent(OpenAIChatModel(MODEL, provider=FORMS_PROVIDER), output_type=Lamp, **LONG)
    require_equal(type(agent.run_stream_sync(PROMPT).get_output()), Lamp)


def try_responses_output() -> None:
    """Get an object of a class with the response API."""
    agent = Agent(OpenAIResponsesModel(MODEL, provider=FORMS_PROVIDER), output_type=Lamp, **LONG)
    require_equal(type(agent.run_sync(PROMPT).output), Lamp)


run_checks(
    "pydantic-ai-slim",
    {
        "chat, second turn": try_second_turn,
        "chat stream": try_stream,
        "responses, second turn": try_responses,
        "output type": try_output_type,
        "streamed output type": try_streamed_output,
        "responses, output type": try_responses_output,
    },
)
