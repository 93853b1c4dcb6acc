"""instructor."""

from typing import Any, Literal

import instructor
import openai
from checks import FORMS_BASE, KEY, MODEL, PROMPT, require_equal, run_checks
from pydantic import BaseModel, Field


class Lamp(BaseModel):
    """Switch a lamp."""

    room: Literal["kitchen", "hall"]
    level: int = Field(ge=0, le=100)


FIELDS: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": PROMPT}],
    "max_tokens": 200,
    "seed": 1,
    "max_retries": 0,
}


def make_client(mode: instructor.Mode) -> Any:
    """Create a client."""
    return instructor.from_openai(openai.OpenAI(base_url=FORMS_BASE, api_key=KEY, max_retries=0), mode=mode)


def try_tools() -> None:
    """Get an object of a class by a tool: the default mode. It is one of a class made from it."""
    found = make_client(instructor.Mode.TOOLS).create(response_model=Lamp, **FIELDS)
    require_equal(isinstance(found, Lamp), True)


def try_strict_tools() -> None:
    """Get an object of a class by a strict tool."""
    found = make_client(instructor.Mode.TOOLS_STRICT).create(response_model=Lamp, **FIELDS)
    require_equal(isinstance(found, Lamp), True)


def try_partial() -> None:
    """Stream parts of an object."""
    client = make_client(instructor.Mode.TOOLS)
    *_, last = client.create_partial(response_model=Lamp, **FIELDS)
    Lamp.model_validate(last.model_dump())


run_checks(
    "instructor",
    {"tools": try_tools, "strict tools": try_strict_tools, "partial objects": try_partial},
)
