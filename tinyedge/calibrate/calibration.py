"""A calibration as typed data, and the ranges of its values.

In: figures, or a JSON object that was decoded. Out: a `Calibration`, or a DecodeError that names the field.
Does not know how the figures were measured.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final

from tinyedge.boards.from_json import mismatch

SCHEMA: Final = "tinyedge.calibration/1"
# Outside of these, a figure is a mistake: no core and no memory is so slow or so fast.
MHZ_RANGE: Final = (1.0, 100_000.0)
NS_RANGE: Final = (1e-4, 1e6)
COEFFICIENTS: Final = ("clock_mhz", "ns_per_streamed_line", "ns_per_random_line")
"""The figures that a cost model takes."""
MAX_ROUNDS: Final = 1_000_000
MAX_TEXT: Final = 200  # characters


@dataclass(frozen=True)
class Figure:
    """One figure of all rounds, in the unit that the name of its field has."""

    median: float
    """Median of the rounds: what is used."""
    fastest: float
    """The fastest round: the smallest time, the highest clock."""
    n: int
    """Number of rounds."""


@dataclass(frozen=True)
class CoreWork:
    """A piece of work that needs the core and its first cache only."""

    work: str
    """What it is, with the instruction set."""
    ns: Figure
    """Time of one piece, in ns."""


@dataclass(frozen=True)
class CalibratedMachine:
    """The machine, as it describes itself. Nothing in it identifies one of many equal machines."""

    model: str | None
    """Name of the board, from the device tree."""
    machine: str | None
    """Architecture, as `uname -m` prints it."""
    cpu: str | None
    """Name of the CPU."""
    cores: int | None
    """Number of cores."""
    features: tuple[str, ...]
    """Instruction-set extensions that tinyedge knows."""
    ram: int | None
    """Bytes of memory."""


@dataclass(frozen=True)
class CalibrationConditions:
    """Conditions during the rounds. A value is None if the machine does not report it."""

    governor: str | None
    """Frequency governor of core 0."""
    reported_mhz: float | None
    """Clock of the fastest core after the rounds, as the kernel reports it, in MHz."""
    temperature_before: float | None
    """Degrees Celsius."""
    temperature_after: float | None
    """Degrees Celsius."""
    throttled_before: str | None
    """Throttling bits of a Raspberry Pi in hexadecimal: 0-3 are set now, 16-19 since boot."""
    throttled_after: str | None
    """The same after the rounds."""
    load: float | None
    """Load of the last minute before the rounds: processes that ran or waited for a processor."""
    waited_percent: float
    """Part of the time in which the loops had no processor, in percent."""


@dataclass(frozen=True)
class Calibration:
    """What was measured on one machine."""

    created: str
    """Time in UTC."""
    machine: CalibratedMachine
    """The machine."""
    clock_mhz: Figure
    """Clock of a core that computes, in MHz."""
    ns_per_l1_line: Figure
    """A line of 64 bytes of the first cache, read in order, in ns."""
    ns_per_streamed_line: Figure
    """A line of memory that is read in order: its time beyond that of a line of the first cache, in ns."""
    ns_per_l1_hit: Figure
    """A load from the first cache that needs the load before it, in ns."""
    ns_per_l2_hit: Figure
    """The same from the second cache: its time beyond that of the first one, in ns."""
    ns_per_random_line: Figure
    """The same from memory, in random order: its time beyond that of the first cache, in ns."""
    core: CoreWork
    """A piece of the kernels' work in the first cache."""
    conditions: CalibrationConditions
    """Conditions during the rounds."""
    doubts: tuple[str, ...]
    """Why the figures are not those of the machine at its normal speed; normally none."""
    versions: Mapping[str, str]
    """Versions of what ran."""

    @property
    def core_cycles(self) -> float:
        """Cycles of one piece of the core's work."""
        return self.core.ns.median * self.clock_mhz.median / 1000

    @property
    def coefficients(self) -> dict[str, Any]:
        """What a cost model takes from it, with its time and its doubts."""
        return {
            "created": self.created,
            **{name: getattr(self, name).median for name in COEFFICIENTS},
            "doubts": list(self.doubts),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"schema": SCHEMA, **asdict(self)}


def validate(calibration: Calibration) -> None:
    """Check the values of a calibration.

    Raises:
        DecodeError: For the first value that is outside its range.
    """
    for field in fields(calibration):
        value = getattr(calibration, field.name)
        if isinstance(value, Figure):
            is_clock = field.name == "clock_mhz"
            _validate_figure(field.name, value, MHZ_RANGE if is_clock else NS_RANGE, is_clock=is_clock)
    _validate_figure("core.ns", calibration.core.ns, NS_RANGE)
    streamed, random = calibration.ns_per_streamed_line.median, calibration.ns_per_random_line.median
    expected = f"{streamed:g} (the median of ns_per_streamed_line) or more"
    _require("ns_per_random_line.median", random, random >= streamed, expected)
    machine, conditions = calibration.machine, calibration.conditions
    for name in ("cores", "ram"):
        count = getattr(machine, name)
        _require(f"machine.{name}", count, count is None or count >= 1, "1 or more")
    _require(
        "created",
        calibration.created,
        _is_time(calibration.created),
        "a time such as 2026-01-31T12:00:00+00:00",
    )
    texts = {
        "created": calibration.created,
        "machine.model": machine.model,
        "machine.machine": machine.machine,
        "machine.cpu": machine.cpu,
        "core.work": calibration.core.work,
        "conditions.governor": conditions.governor,
        "conditions.throttled_before": conditions.throttled_before,
        "conditions.throttled_after": conditions.throttled_after,
        **{f"doubts[{at}]": text for at, text in enumerate(calibration.doubts)},
    }
    for where, text in texts.items():
        is_text = text is None or (text.isprintable() and len(text) <= MAX_TEXT)
        _require(where, text, is_text, f"a printable text of at most {MAX_TEXT} characters")
    waited = conditions.waited_percent
    _require("conditions.waited_percent", waited, 0 <= waited <= 100, "a number from 0 to 100")


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _validate_figure(
    where: str, figure: Figure, limits: tuple[float, float], *, is_clock: bool = False
) -> None:
    low, high = limits
    for part in ("median", "fastest"):
        value = getattr(figure, part)
        _require(f"{where}.{part}", value, low <= value <= high, f"a number from {low:g} to {high:g}")
    in_order = figure.fastest >= figure.median if is_clock else figure.fastest <= figure.median
    expected = f"{figure.median:g} (the median) or {'more' if is_clock else 'less'}"
    _require(f"{where}.fastest", figure.fastest, in_order, expected)
    _require(f"{where}.n", figure.n, 1 <= figure.n <= MAX_ROUNDS, f"1 to {MAX_ROUNDS}")


def _require(where: str, value: object, is_valid: bool, expected: str) -> None:
    if not is_valid:
        raise mismatch(where, value, expected)
