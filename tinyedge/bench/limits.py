"""Limits of a benchmark, and where each comes from.

In: flags, a TOML file, a bundle's budgets, the default board. Out: `Limits`. Does not measure or evaluate.
MB is 2^20 bytes.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyedge.boards.load import default_board
from tinyedge.core.errors import UsageError
from tinyedge.core.settings import setting

TABLE = "gates"
MAX_FILE_BYTES = 1 << 16
MAX_LIMIT = 1e15  # a larger limit is a mistake


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
    max_bits_per_byte: float | None = setting(
        None, section="Limits", help="Bits per byte on each --text; lower is better."
    )
    """Quality on each text that is given."""

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value is not None and not _is_limit(value):
                raise UsageError(f"{name} {value} is not a limit", "pass a number above 0", (name,))


NAMES = tuple(field.name for field in dataclasses.fields(Limits))


def resolve(
    flags: Mapping[str, float], file: Path | None, budgets: Mapping[str, float]
) -> tuple[Limits, dict[str, str]]:
    """Merge limits: a flag wins over the file, the file over the bundle, the bundle over the default board.

    Args:
        flags: Flags that were given, by name of the field.
        file: A TOML file with a table [gates], or None.
        budgets: Budgets of the bundle's manifest.

    Returns:
        The limits, and the origin of each that is set: "flag", "file", "bundle" or "guide".

    Raises:
        UsageError: For a value that is not a limit, or an invalid file.
    """
    sources: tuple[tuple[str, Mapping[str, float]], ...] = (
        ("flag", flags),
        ("file", {} if file is None else read_limits_file(file)),
        ("bundle", budgets),
    )
    values: dict[str, float] = {}
    origins: dict[str, str] = {}
    for origin, given in sources:
        for name in given.keys() - values.keys():
            values[name], origins[name] = given[name], origin
    limits = Limits(**values)
    is_set = {name for name, value in dataclasses.asdict(limits).items() if value is not None}
    return limits, {name: origins.get(name, "guide") for name in NAMES if name in is_set}


def read_limits_file(path: Path) -> dict[str, float]:
    """Read the table [gates] of a TOML file, whose keys are the fields of Limits.

    Raises:
        UsageError: If it cannot be read, or holds anything else.
    """
    import tomllib

    try:
        if not path.is_file():
            raise UsageError(f"--gates {path} is not a file", "pass a TOML file with a table [gates]")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"--gates {path} is larger than {MAX_FILE_BYTES} bytes", "pass a file of gates")
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as failure:
        raise UsageError(
            f"--gates {path} cannot be read: {failure.strerror}", "check the permissions"
        ) from None
    except (ValueError, RecursionError) as failure:
        raise UsageError(f"--gates {path} is not TOML: {failure}", _list_names()) from None
    values = tables.get(TABLE)
    if set(tables) != {TABLE} or not isinstance(values, dict):
        raise UsageError(f"--gates {path} needs one table [{TABLE}] and nothing else", _list_names())
    for name, value in values.items():
        if name not in NAMES:
            raise UsageError(f"--gates {path}: {name!r} is unknown", _list_names())
        if not _is_limit(value):
            raise UsageError(f"--gates {path}: {name} = {value!r} is not a limit", "use a number above 0")
    return values


def _is_limit(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value <= MAX_LIMIT  # False for NaN


def _list_names() -> str:
    return f"it may set {', '.join(NAMES)}"
