"""Check of an old report before a measurement is compared with it.

In: the JSON of a report. Out: nothing, or an InvalidFieldError that names the field and what it must be.
Checks only the fields that a comparison uses.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

MS_RANGE = 1e-6, 1e9  # one tick of the clock; 11 days
BYTES_RANGE = 1, 1e15
MAX_SHOWN = 40  # characters of a wrong value
# Texts that a comparison prints; the machine's may be unknown.
TEXTS = (
    ("created",),
    ("tinyedge",),
    ("bundle", "sha256"),
    ("bundle", "precision"),
    ("device", "onnxruntime"),
    ("device", "python"),
    ("device", "kernel"),
)
MEMORY = ("steady_rss", "peak_rss")
FIRST_ENGINE = {"name": "onnxruntime", "instructions": None}  # of reports from before there were two


class InvalidFieldError(ValueError):
    """A field of a report is missing or not what it must be; the message names it."""


def check_baseline(report: Mapping[str, Any], max_tokens: int) -> None:
    """Raise InvalidFieldError unless every field that a comparison uses is valid.

    Args:
        report: A JSON object.
        max_tokens: Tokens of a response; with one, there are no gaps between tokens.
    """
    for path in TEXTS:
        _require_text(".".join(path), get_field(report, path), or_null=path[0] == "device")
    get_engine(report)
    reasons = {"doubts": get_field(report, ("doubts",)), "slowed_by": report.get("slowed_by", [])}
    for name, texts in reasons.items():
        if not isinstance(texts, list):
            raise _error(name, texts, "a list of texts")
        for index, text in enumerate(texts):
            _require_text(f"{name}[{index}]", text)
    for name in MEMORY:
        _require_number(f"memory.{name}", get_field(report, ("memory", name)), BYTES_RANGE)
    samples = get_field(report, ("raw_samples",))
    if not isinstance(samples, list) or not samples:
        raise _error("raw_samples", samples, "a list of one response or more")
    for index, sample in enumerate(samples):
        _check_sample(f"raw_samples[{index}]", sample)
    if max_tokens > 1 and not any(sample["itl_ms"] for sample in samples):
        raise InvalidFieldError("raw_samples[].itl_ms is empty in every response, one time or more is needed")


def get_field(report: Any, path: Sequence[str], where: str = "") -> Any:
    """Return a field of nested objects.

    Args:
        report: The outermost object.
        path: Names of the fields, outermost first.
        where: Name of the outermost object, for messages.

    Raises:
        InvalidFieldError: It is missing, or something around it is not an object.
    """
    for name in path:
        if not isinstance(report, dict):
            raise _error(where or "the report", report, "an object")
        where = f"{where}.{name}" if where else name
        if name not in report:
            raise InvalidFieldError(f"{where} is missing")
        report = report[name]
    return report


def get_engine(report: Mapping[str, Any]) -> str:
    """Return the engine of a report with its instruction set, in words.

    Raises:
        InvalidFieldError: It is not what it must be.
    """
    engine = get_field(report, ("device",)).get("engine", FIRST_ENGINE)
    name, instructions = (get_field(engine, (part,), "device.engine") for part in ("name", "instructions"))
    _require_text("device.engine.name", name)
    _require_text("device.engine.instructions", instructions, or_null=True)
    return f"{name} ({instructions})" if instructions else str(name)


def show_value(value: object) -> str:
    """Return a value of a JSON file for a message, in at most 40 characters."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    text = ascii(value[:MAX_SHOWN]) if isinstance(value, str) else str(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def _check_sample(where: str, sample: object) -> None:
    _require_text(f"{where}.prompt", get_field(sample, ("prompt",), where))
    for name in ("e2e_ms", "ttft_ms"):
        _require_number(f"{where}.{name}", get_field(sample, (name,), where), MS_RANGE)
    gaps = get_field(sample, ("itl_ms",), where)
    if not isinstance(gaps, list):
        raise _error(f"{where}.itl_ms", gaps, "a list of numbers")
    for index, gap in enumerate(gaps):
        _require_number(f"{where}.itl_ms[{index}]", gap, MS_RANGE)


def _require_number(where: str, value: object, limits: tuple[float, float]) -> None:
    low, high = limits
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:  # type: ignore[operator]
        raise _error(where, value, f"a number above 0 (from {low:g} to {high:g})")


def _require_text(where: str, value: object, *, or_null: bool = False) -> None:
    is_text = isinstance(value, str) and value.isprintable()
    if not is_text and not (or_null and value is None):
        raise _error(where, value, "a printable text")


def _error(where: str, value: object, need: str) -> InvalidFieldError:
    return InvalidFieldError(f"{where} is {show_value(value)}, {need} is needed")
