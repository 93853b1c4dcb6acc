"""A calibration as text for a terminal.

In: a `Calibration`. Out: text. Derives no figures but the differences from the board's.
"""

from tinyedge.boards.board import Board
from tinyedge.calibrate.calibration import COEFFICIENTS, Calibration, Figure
from tinyedge.core.columns import format_columns, wrap_words

TEXT_WIDTH = 100  # columns of the sentences, where there is no terminal
HEAD = ("", "median", "fastest", "rounds")
BOARD_HEAD = ("the board's file", "difference")
ROWS = {
    "clock_mhz": "clock, MHz",
    "ns_per_streamed_line": "line of memory, in order, ns",
    "ns_per_random_line": "line of memory, random, ns",
    "ns_per_l2_hit": "hit in the second cache, ns",
    "ns_per_l1_line": "line of the first cache, in order, ns",
    "ns_per_l1_hit": "hit in the first cache, ns",
}
EXPLANATION = (
    "A line has 64 bytes. Its time in memory or in the second cache is what it takes beyond one of the first"
    " cache. `tinyedge fit --calibration` uses the medians of the clock and of the two lines of memory."
)


def render(calibration: Calibration, board: Board | None, width: int | None = None) -> str:
    """Return the screen, without a line break at its end.

    Args:
        calibration: What was measured.
        board: The known board that was calibrated; None if it is none.
        width: Columns of the terminal; None for any.
    """
    has_model = board is not None and board.cost_model is not None
    rows = [HEAD + (BOARD_HEAD if has_model else ())]
    for name, title in ROWS.items():
        cells = _cells(title, getattr(calibration, name))
        rows.append(cells + (_compare(calibration, board, name) if board and has_model else ()))
    core = _cells("the core's work, ns", calibration.core.ns)
    rows.append(core + (("", "") if has_model else ()))
    lines = [
        _describe_machine(calibration),
        "",
        format_columns(rows, (0,), width),
        "",
        EXPLANATION,
        f"The core's work: {calibration.core.work}; {calibration.core_cycles:.0f} cycles.",
        _describe_comparison(board),
        *(f"doubt: {doubt}" for doubt in calibration.doubts),
    ]
    return "\n".join(
        part
        for line in lines
        for part in ([line] if "\n" in line else wrap_words(line, width or TEXT_WIDTH, indent=0))
    )


def describe_use(calibration: Calibration, name: str, error_percent: float) -> str:
    """Return the sentence for times that are modelled with a calibration.

    Args:
        calibration: The calibration.
        name: Its file.
        error_percent: Error of the model that it was put into, in percent.
    """
    streamed, random = calibration.ns_per_streamed_line.median, calibration.ns_per_random_line.median
    return (
        f"Clock and memory are those of {name}, measured on {calibration.created[:10]}:"
        f" {calibration.clock_mhz.median:.0f} MHz, {streamed:.1f} ns for a line of memory in order,"
        f" {random:.1f} ns for a random one. The counts and the core's cycles are still modelled, so the"
        f" error of +-{error_percent:g}% stays: nobody has compared such times with measured ones."
    )


def _describe_machine(calibration: Calibration) -> str:
    machine, conditions = calibration.machine, calibration.conditions
    board = ", ".join(filter(None, [machine.model, machine.cpu])) or machine.machine or "unknown machine"
    cores = f" x {machine.cores}" if machine.cores else ""
    governor = f", governor {conditions.governor}" if conditions.governor else ""
    temperature = conditions.temperature_after
    return f"{board}{cores}{governor}" + (f", {temperature:.0f} degrees C" if temperature is not None else "")


def _cells(title: str, figure: Figure) -> tuple[str, ...]:
    return title, _format_number(figure.median), _format_number(figure.fastest), str(figure.n)


def _format_number(value: float) -> str:
    """Format with three or four digits that mean something."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def _compare(calibration: Calibration, board: Board, name: str) -> tuple[str, str]:
    if name not in COEFFICIENTS or board.cost_model is None:
        return "", ""
    known: float = getattr(board.cost_model.latency_model, name)
    return _format_number(known), f"{100 * (getattr(calibration, name).median / known - 1):+.0f}%"


def _describe_comparison(board: Board | None) -> str:
    if board is None:
        return "This machine is none of the boards that tinyedge knows, so there is nothing to compare with."
    if board.cost_model is None:
        return f"The file of the board {board.name} has no cost model to compare with."
    return f"The board's file is that of {board.name}; its figures are fitted to published measurements."
