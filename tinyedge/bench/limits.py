"""Limits of a benchmark, and where each comes from.

In: flags, a TOML file, a bundle's budgets, the default board. Out: `Limits`, and limits of changes since
another report. Does not measure or evaluate. MB is 2^20 bytes.
"""

import dataclasses
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tinyedge.boards.load import default_board
from tinyedge.core.errors import UsageError
from tinyedge.core.settings import setting

LIMITS_TABLE, REGRESSIONS_TABLE = "gates", "regressions"
# The figures of a comparison, by the name that a limit of their change has.
FIGURES = {
    "p50": "p50 of a response",
    "p95": "p95 of a response",
    "ttft_p50": "p50 of the first token",
    "ttft": "p95 of the first token",
    "itl": "mean between tokens",
    "steady": "steady memory",
    "peak": "peak memory",
}
MAX_REGRESSION_PERCENT = 1000.0
LimitValue = float | Mapping[str, float]
MAX_FILE_BYTES = 1 << 16
MAX_LIMIT = 1e15  # a larger limit is a mistake
MAX_SHOWN = 40  # characters of a wrong value
LIMIT_HINT = f"use a number above 0, at most {MAX_LIMIT:g}"
PERCENT_HINT = f"use a number from 0 to {MAX_REGRESSION_PERCENT:g} (percent)"


def _board_budget(name: str, help_text: str) -> Any:
    """Declare a limit whose default is a budget of the default board."""
    return setting(
        default_factory=lambda: float(default_board().budgets.to_dict()[name]),
        none="the bundle's",
        section="Limits",
        help=help_text,
    )


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits for a bundle: `max_` must not be exceeded, `min_` must be reached; None is no limit."""

    max_rss_mb: float = _board_budget("max_rss_mb", "Steady memory, in MB of 2^20 bytes.")
    """Steady memory, swap included, in MB of 2^20 bytes."""
    max_peak_mb: float = _board_budget("max_peak_mb", "Peak memory, in MB of 2^20 bytes.")
    """Peak memory, swap included, in MB of 2^20 bytes."""
    max_p95_ms: float = _board_budget("max_p95_ms", "95th percentile of a response, in ms.")
    """95th percentile of a response, in ms."""
    max_ttft_ms: float | None = setting(
        None, section="Limits", help="95th percentile of the time to the first token, in ms."
    )
    """95th percentile of the first token, in ms."""
    min_decode_tps: float | None = setting(
        None, section="Limits", help="Tokens per second after the first one."
    )
    """Tokens per second after the first one."""
    max_cold_start_s: float | None = setting(
        None, section="Limits", help="Median start of the complete command, in seconds."
    )
    """A complete `tinyedge generate` of one token, in seconds."""
    max_model_mb: float | None = setting(
        None, section="Limits", help="Size of model.onnx, in MB of 2^20 bytes."
    )
    """Size of model.onnx, in MB of 2^20 bytes."""
    max_bits_per_byte: LimitValue | None = None
    """Quality in bits per byte: one limit for every text that is given, or limits by name of the text."""

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            parts = value.items() if isinstance(value, Mapping) else [("", value)]
            for text, limit in parts:
                if limit is not None and not _is_limit(limit):
                    shown = _cut(f"{text}={limit}" if text else str(limit))
                    raise UsageError(f"{name} {shown} is not a limit", LIMIT_HINT, (name,))

    def get_max_bits_per_byte(self, text: str) -> float | None:
        """Return the limit of the quality on a text; None if it has none."""
        limits = self.max_bits_per_byte
        return limits.get(text) if isinstance(limits, Mapping) else limits

    def require_texts(self, texts: Iterable[str], file: Path | None = None) -> None:
        """Raise UsageError if a limit of the quality has no text to measure it on.

        Args:
            texts: Names of the texts.
            file: The file that the limit comes from, to name in the error; None is the parameter.
        """
        named, limits = set(texts), self.max_bits_per_byte
        if isinstance(limits, Mapping):
            for name in sorted(limits.keys() - named):
                where = (
                    f"max_bits_per_byte {name}={limits[name]:g}"
                    if file is None
                    else f"--gates {file}: max_bits_per_byte.{name}"
                )
                raise UsageError(
                    f"{where} has no --text {name}=FILE",
                    f"add --text {name}=FILE",
                    ("max_bits_per_byte",) if file is None else (),
                )
        elif limits is not None and not named:
            where = "a limit of bits per byte" if file is None else f"--gates {file}: max_bits_per_byte"
            raise UsageError(f"{where} needs --text, on which to measure it", "add --text NAME=FILE")


@dataclasses.dataclass(frozen=True)
class LimitsFile:
    """Content of a TOML file with limits."""

    limits: Mapping[str, LimitValue] = dataclasses.field(default_factory=dict)
    """Fields of Limits."""
    regressions: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Largest allowed change of each of FIGURES, in percent."""


NAMES = tuple(field.name for field in dataclasses.fields(Limits))


def resolve(
    flags: Mapping[str, LimitValue], file: Mapping[str, LimitValue], budgets: Mapping[str, float]
) -> tuple[Limits, dict[str, str]]:
    """Merge limits: a flag wins over the file, the file over the bundle, the bundle over the default board.

    Args:
        flags: Flags that were given, by name of the field.
        file: Limits of a file.
        budgets: Budgets of the bundle's manifest.

    Returns:
        The limits, and the origin of each that is set: "flag", "file", "bundle" or "guide".

    Raises:
        UsageError: For a value that is not a limit.
    """
    sources: tuple[tuple[str, Mapping[str, LimitValue]], ...] = (
        ("flag", flags),
        ("file", file),
        ("bundle", budgets),
    )
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, given in sources:
        for name in given.keys() - values.keys():
            values[name], origins[name] = given[name], origin
    limits = Limits(**values)
    is_set = {name for name, value in dataclasses.asdict(limits).items() if value is not None}
    return limits, {name: origins.get(name, "guide") for name in NAMES if name in is_set}


def parse_quality_limits(values: Iterable[str]) -> LimitValue | None:
    """Return the limits of `--max-bits-per-byte`: a number, or numbers by name of the text; None if none.

    Raises:
        UsageError: A value is neither NUMBER nor NAME=NUMBER, or is given twice.
    """
    given = list(values)
    named: dict[str, float] = {}
    for item in given:
        name, _, number = item.rpartition("=")
        name = normalize_name(name)
        if name in named:
            what = f"a limit for {name}" if name else "a limit without a name"
            raise UsageError(f"--max-bits-per-byte {_cut(item)}: {what} is given twice", "give each once")
        where = f"--max-bits-per-byte {_cut(item)}"
        named[name] = _parse_number(where, number, f"{LIMIT_HINT}, for example 2.2 or en=2.2")
    if "" not in named:
        return named or None
    if len(named) > 1:
        raise UsageError(
            f"--max-bits-per-byte {' '.join(given)} mixes a limit for all texts with limits by name",
            "pass one number, or NAME=NUMBER for each text",
        )
    return named[""]


def parse_regressions(values: Iterable[str]) -> dict[str, float]:
    """Return the limits of `--max-regression FIGURE=PERCENT`, in percent by figure.

    Raises:
        UsageError: A value has another form, its figure is unknown, or is given twice.
    """
    found: dict[str, float] = {}
    for item in values:
        name, _, number = item.partition("=")
        where = f"--max-regression {_cut(item)}"
        if name not in FIGURES:
            raise UsageError(
                f"{where}: {_cut(repr(name))} is not a figure", f"choose one of: {', '.join(FIGURES)}"
            )
        if name in found:
            raise UsageError(f"{where}: {name} is given twice", "give one limit per figure")
        found[name] = _parse_number(where, number.removesuffix("%"), f"{PERCENT_HINT}, for example p95=10%")
        _require_percent(where, found[name])
    return found


def _parse_number(where: str, text: str, example: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{where} is not a limit", example) from None


def _require_percent(where: str, value: object) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= MAX_REGRESSION_PERCENT:  # type: ignore[operator]
        raise UsageError(f"{where} is not a limit", _hint_type(PERCENT_HINT, value))


def read_limits_file(path: Path) -> LimitsFile:
    """Read a TOML file with a table [gates], whose keys are the fields of Limits, and perhaps [regressions].

    Raises:
        UsageError: If it cannot be read, or holds anything else.
    """
    import tomllib

    try:
        if not path.is_file():
            raise UsageError(f"--gates {path} is not a file", "pass a TOML file with a table [gates]")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"--gates {path} is larger than {MAX_FILE_BYTES} bytes", "pass a file of gates")
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as failure:
        raise UsageError(
            f"--gates {path} cannot be read: {failure.strerror}", "check the permissions"
        ) from None
    except (ValueError, RecursionError) as failure:
        raise UsageError(f"--gates {path} is not TOML: {failure}", _list_names()) from None
    names = {LIMITS_TABLE, REGRESSIONS_TABLE}
    if not tables or tables.keys() - names or not all(isinstance(one, dict) for one in tables.values()):
        raise UsageError(
            f"--gates {path} needs a table [{LIMITS_TABLE}], [{REGRESSIONS_TABLE}] or both, and nothing else",
            _list_names(),
        )
    limits = {
        name: _check_file_limit(path, name, value) for name, value in tables.get(LIMITS_TABLE, {}).items()
    }
    for name, value in tables.get(REGRESSIONS_TABLE, {}).items():
        if name not in FIGURES:
            raise UsageError(
                f"--gates {path}: {_cut(repr(name))} in [{REGRESSIONS_TABLE}] is unknown",
                f"it may set {', '.join(FIGURES)}",
            )
        _require_percent(f"--gates {path}: {name} = {_cut(repr(value))}", value)
    return LimitsFile(limits, tables.get(REGRESSIONS_TABLE, {}))


def _check_file_limit(path: Path, name: str, value: Any) -> LimitValue:
    """Return a limit of a file, with names of texts as `--text` has them; raise UsageError if it is none."""
    if name not in NAMES:
        raise UsageError(f"--gates {path}: {_cut(repr(name))} is unknown", _list_names())
    is_named = name == "max_bits_per_byte" and isinstance(value, dict)
    named: dict[str, float] = {}
    for text, limit in value.items() if is_named else [("", value)]:
        where = f"--gates {path}: {name}{f'.{_cut(text)}' if is_named else ''}"
        if not _is_limit(limit):
            raise UsageError(f"{where} = {_cut(repr(limit))} is not a limit", _hint_type(LIMIT_HINT, limit))
        if normalize_name(text) in named:
            raise UsageError(f"{where} is given twice", "give each text once")
        named[normalize_name(text)] = limit
    return named if is_named else named[""]


def normalize_name(name: str) -> str:
    """Return the name of a text in Unicode's form NFC, so that an accent has only one spelling."""
    return unicodedata.normalize("NFC", name)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def _hint_type(hint: str, value: object) -> str:
    return f"{hint}, without quotes" if isinstance(value, str) else hint


def _is_limit(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value <= MAX_LIMIT  # False for NaN


def _list_names() -> str:
    return f"it may set {', '.join(NAMES)}"
