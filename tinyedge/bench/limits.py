"""The budgets: which there are, and where they come from.

In: flags, a TOML file, a bundle's manifest. Out: Limits. Measures and judges nothing. MB is 2^20 bytes.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyedge.core.config import flag
from tinyedge.core.errors import UsageError

TABLE = "gates"
MAX_FILE_BYTES = 1 << 16
LARGEST = 1e15  # beyond it a limit is a mistake


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a bundle may take on a machine; None is no limit. `max_` are not to be exceeded, `min_` reached.

    max_rss_mb, max_peak_mb, max_model_mb: MB of 2^20 bytes. max_p95_ms, max_ttft_ms: the 95th percentile of a
    response and of its first token, ms. min_decode_tps: tokens a second after the first. max_cold_start_s:
    a whole `tinyedge generate` of one token, seconds. max_bits_per_byte: of each text that is given.
    """

    max_rss_mb: float = 400.0
    max_peak_mb: float = 512.0
    max_p95_ms: float = 250.0
    max_ttft_ms: float | None = None
    min_decode_tps: float | None = None
    max_cold_start_s: float | None = None
    max_model_mb: float | None = None
    max_bits_per_byte: float | None = None

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value is not None and not _is_limit(value):
                raise UsageError(f"{flag(name)} {value} is not a limit", "pass a number above 0")


NAMES = tuple(field.name for field in dataclasses.fields(Limits))


def resolve(
    flags: Mapping[str, float], file: Path | None, budgets: Mapping[str, float]
) -> tuple[Limits, dict[str, str]]:
    """The limits, and where each is from: a flag, else the file, else the bundle's budgets, else the guide.

    flags: those that were given, by the name of the field. Raises UsageError.
    """
    sources: tuple[tuple[str, Mapping[str, float]], ...] = (
        ("flag", flags),
        ("file", {} if file is None else read_file(file)),
        ("bundle", budgets),
    )
    found: dict[str, float] = {}
    origins: dict[str, str] = {}
    for origin, values in sources:
        for name in values.keys() - found.keys():
            found[name], origins[name] = values[name], origin
    limits = Limits(**found)
    asked = {name for name, value in dataclasses.asdict(limits).items() if value is not None}
    return limits, {name: origins.get(name, "guide") for name in NAMES if name in asked}


def read_file(path: Path) -> dict[str, float]:
    """The table [gates] of a TOML file, whose keys are the fields of Limits. Raises UsageError."""
    import tomllib

    try:
        if not path.is_file():
            raise UsageError(f"--gates {path} is not a file", "name a TOML file with a table [gates]")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"--gates {path} is larger than {MAX_FILE_BYTES} bytes", "name a file of gates")
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as failure:
        raise UsageError(
            f"--gates {path} cannot be read: {failure.strerror}", "check the permissions"
        ) from None
    except (ValueError, RecursionError) as failure:
        raise UsageError(f"--gates {path} is not TOML: {failure}", _known()) from None
    values = tables.get(TABLE)
    if set(tables) != {TABLE} or not isinstance(values, dict):
        raise UsageError(f"--gates {path} needs one table [{TABLE}] and nothing else", _known())
    for name, value in values.items():
        if name not in NAMES:
            raise UsageError(f"--gates {path}: {name!r} is unknown", _known())
        if not _is_limit(value):
            raise UsageError(f"--gates {path}: {name} = {value!r} is not a limit", "use a number above 0")
    return values


def _is_limit(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value <= LARGEST  # NaN is not


def _known() -> str:
    return f"it may set {', '.join(NAMES)}"
