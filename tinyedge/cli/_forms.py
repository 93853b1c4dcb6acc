"""The form of an answer from the flags of a command."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinyedge.forms.form import Form

MAX_SCHEMA_BYTES = 1 << 20
HINT = 'write a JSON Schema, such as {"type": "object", "properties": {"name": {"type": "string"}}}'


def read_form(
    home: Path | None, json_schema: Path | None, regex: str | None, choices: str | None
) -> "Form | None":
    """Return the form that one of four flags asks for; None for --home, whose form depends on the prompt.

    Args:
        home: File with the names of a home.
        json_schema: File with a JSON Schema.
        regex: Regular expression.
        choices: Texts separated by commas, or a list in JSON.

    Raises:
        UsageError: More than one is given, or the given one is invalid.
    """
    given = {"home": home, "json_schema": json_schema, "regex": regex, "choices": choices}
    names = [name for name, value in given.items() if value is not None]
    from tinyedge.core.errors import UsageError
    from tinyedge.forms.form import Form

    if len(names) > 1:
        raise UsageError(f"{names[0]} and {names[1]} are mutually exclusive", "leave one of them out", names)
    if home is not None:
        return None
    if json_schema is not None:
        return Form.json_schema(_read_json(json_schema))
    if regex is not None:
        return Form.regex(regex)
    return Form.choices(_split_choices(choices or ""))


def require_whole_answers(finish_reasons: Sequence[str | None], max_tokens: int) -> None:
    """Raise TinyEdgeError, whose exit code is 1, unless answers ended where their form allows it.

    Args:
        finish_reasons: Why each of them ended.
        max_tokens: Largest number of tokens that each could have.
    """
    from tinyedge.core.errors import TinyEdgeError

    cut = [reason for reason in finish_reasons if reason in ("length", "content_filter")]
    if not cut:
        return
    count = len(finish_reasons)
    subject = "the answer is" if count == 1 else f"{len(cut)} of {count} answers are"
    if "length" in cut:
        raise TinyEdgeError(
            f"{subject} not complete after --max-tokens {max_tokens}", "pass a larger --max-tokens"
        )
    raise TinyEdgeError(
        f"{subject} not complete: a word on the filter's list would follow", "--no-filter shows it"
    )


def _read_json(file: Path) -> object:
    import json

    from tinyedge.core.errors import UsageError

    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_SCHEMA_BYTES + 1)
    except OSError as failure:
        raise UsageError(
            f"json_schema {file} cannot be read: {failure.strerror}", "check the path", ("json_schema",)
        ) from None
    if len(raw) > MAX_SCHEMA_BYTES:
        raise UsageError(f"json_schema {file} has more than {MAX_SCHEMA_BYTES} bytes", HINT, ("json_schema",))
    try:
        return json.loads(raw, parse_constant=_reject_constant)
    except RecursionError:
        raise UsageError(f"json_schema {file} is nested too deeply", HINT, ("json_schema",)) from None
    except ValueError as failure:
        raise UsageError(f"json_schema {file} is not JSON: {failure}", HINT, ("json_schema",)) from None


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _split_choices(choices: str) -> list[str]:
    """Split texts at commas; a list in JSON may have commas in its texts."""
    import json

    from tinyedge.core.errors import UsageError

    if not choices.startswith("["):
        return [one.strip() for one in choices.split(",")]
    try:
        found = json.loads(choices)
    except (ValueError, RecursionError) as failure:
        raise UsageError(
            f"choices is not a list in JSON: {failure}", 'such as ["yes", "no, thanks"]', ("choices",)
        ) from None
    return list(found)
