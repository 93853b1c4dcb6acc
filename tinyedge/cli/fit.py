"""`tinyedge fit`: find model sizes that meet a board's budget."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tinyedge.boards import DEFAULT_BOARD
from tinyedge.cli._json import JsonOutput, JsonTarget
from tinyedge.cli._options import Values, options_from
from tinyedge.fit.search import FitBudget
from tinyedge.host.affinity import DEFAULT_THREADS


@options_from("budget", FitBudget, optional=True)
def fit(
    *,
    target: Annotated[str, typer.Option(help="The board: its name or its JSON file.")] = DEFAULT_BOARD,
    threads: Annotated[int, typer.Option(help="CPU cores that compute an answer.")] = DEFAULT_THREADS,
    budget: Values,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Use the clock and the memory that `tinyedge bench --calibrate` measured on your board.",
            show_default=False,
        ),
    ] = None,
    json: JsonTarget = None,
) -> None:
    """Find model sizes that meet a board's time and memory budget.

    Prints the largest shapes, as options for `tinyedge train`; nothing is trained. Times are estimated by a
    formula fitted to counts of the emulated board. Exits with 1 if no shape meets the budget.
    """
    from tinyedge.boards.load import load_board
    from tinyedge.cli._echo import terminal_width
    from tinyedge.fit import table
    from tinyedge.fit.cost_model import CostModel, require_board_threads, require_cost_data
    from tinyedge.fit.search import search

    inputs = [] if calibration is None else [calibration]
    output = JsonOutput.from_option(json, "tinyedge.fit", inputs=inputs)
    board = load_board(target)
    costs = require_cost_data(board)
    require_board_threads(board, threads)
    used = None
    if calibration is not None:
        from tinyedge.calibrate.calibration_file import calibrate_costs, read_calibration
        from tinyedge.cli._echo import print_note

        used = read_calibration(calibration)
        costs = calibrate_costs(board, costs, used, calibration)
        for doubt in used.doubts:
            print_note(f"note: {calibration}: {doubt}")
    given = {name: value for name, value in budget.items() if value is not None}
    model = CostModel.from_data(board.name, costs, threads)
    note = ""
    if used is not None:
        from tinyedge.calibrate.table import describe_use

        note = describe_use(used, str(calibration), model.latency.error_percent)
    result = search(model, FitBudget.from_board(board, **given))
    errors = costs.source.errors_percent
    value = table.to_dict(result, errors, used.coefficients if used else None)
    output.emit(value, table.render(result, errors, terminal_width(sys.stdout), note))
