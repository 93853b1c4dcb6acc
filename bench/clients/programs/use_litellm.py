"""LiteLLM."""

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from checks import BASE, KEY, MODEL, PROMPT, TOKENS, chat, complete, require_equal, run_checks

USER = {"role": "user", "content": PROMPT}
FIELDS = {"api_base": BASE, "api_key": KEY, "temperature": 0, "max_tokens": TOKENS}


def try_second_turn() -> None:
    """Send a received message back."""
    first = litellm.completion(f"openai/{MODEL}", messages=[USER], **FIELDS).choices[0].message
    messages = [USER, first.model_dump(), {"role": "user", "content": "And"}]
    found = litellm.completion(f"openai/{MODEL}", messages=messages, **FIELDS).choices[0].message.content
    require_equal(found, chat(PROMPT, first.content, "And"))


def try_stream() -> None:
    """Stream a chat answer."""
    parts = litellm.completion(f"openai/{MODEL}", messages=[USER], stream=True, **FIELDS)
    require_equal("".join(part.choices[0].delta.content or "" for part in parts), chat(PROMPT))


def try_text() -> None:
    """Complete a text."""
    found = litellm.text_completion(model=f"text-completion-openai/{MODEL}", prompt=PROMPT, **FIELDS)
    require_equal(found.choices[0].text, complete())


def try_responses() -> None:
    """Use the response API."""
    limit = 20  # LiteLLM raises a limit below 16 to 16, which is OpenAI's minimum
    fields = {"api_base": BASE, "api_key": KEY, "temperature": 0, "max_output_tokens": limit}
    found = litellm.responses(model=f"openai/{MODEL}", input=PROMPT, **fields)
    require_equal(found.output[0].content[0].text, chat(PROMPT, max_tokens=limit))


run_checks(
    "litellm",
    {
        "chat, second turn": try_second_turn,
        "chat stream": try_stream,
        "completions": try_text,
        "responses": try_responses,
    },
)
