"""A calibration's file, and its use for a board.

In: a path. Out: a valid `Calibration`, or an error of one line that names the field.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from tinyedge.bench.target_board import is_board
from tinyedge.boards.board import Board, CostData
from tinyedge.boards.from_json import mismatch
from tinyedge.boards.json_file import read_json_file
from tinyedge.boards.load import known_boards
from tinyedge.calibrate.calibration import COEFFICIENTS, SCHEMA, Calibration, validate
from tinyedge.core import files
from tinyedge.core.errors import UsageError
from tinyedge.fit.workload import RANDOM_TERMS

KIND: Final = SCHEMA.partition("/")[0]
HINT: Final = "pass a file that `tinyedge bench --calibrate` wrote"


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write the file completely or not at all."""
    files.write_json(path, calibration.to_dict())


def read_calibration(path: Path) -> Calibration:
    """Read a file.

    Raises:
        UsageError: The file is missing or invalid.
    """
    return read_json_file(path, Calibration, SCHEMA, validate, HINT, HINT)


def find_board(calibration: Calibration) -> Board | None:
    """Return the known board that was calibrated; None if it is none."""
    machine = calibration.machine
    return next((one for one in known_boards() if is_board(machine.machine, machine.model, one)), None)


def calibrate_costs(board: Board, costs: CostData, calibration: Calibration, path: Path) -> CostData:
    """Return the board's cost model with the calibration's clock and memory in place of its own.

    What the formula waits for memory grows in proportion to the time of such a line.

    Raises:
        UsageError: The calibration is that of another board, whose core counts other cycles.
    """
    machine = calibration.machine
    if not is_board(machine.machine, machine.model, board):
        where = "machine.model" if board.memory else "machine.machine"
        value = machine.model if board.memory else machine.machine
        failure = mismatch(where, value, f"that of the target, {board.title}")
        raise UsageError(f"{path}: {failure}", "pass the calibration of such a board, or its own --target")
    measured = {name: getattr(calibration, name).median for name in COEFFICIENTS}
    known, latency = costs.latency_model, costs.latency_model.calibrated(**measured)
    streamed = latency.ns_per_streamed_line / known.ns_per_streamed_line
    random = latency.ns_per_random_line / known.ns_per_random_line
    memory_ns = {
        term: ns * (random if term in RANDOM_TERMS else streamed) for term, ns in costs.memory_ns.items()
    }
    return replace(costs, latency_model=latency, memory_ns=memory_ns)
