"""`tinyedge fit`: find model sizes that meet a board's budget."""

import sys
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

    output = JsonOutput.from_option(json, "tinyedge.fit")
    board = load_board(target)
    costs = require_cost_data(board)
    require_board_threads(board, threads)
    given = {name: value for name, value in budget.items() if value is not None}
    model = CostModel.from_data(board.name, costs, threads)
    result = search(model, FitBudget.from_board(board, **given))
    errors = costs.source.errors_percent
    output.emit(table.to_dict(result, errors), table.render(result, errors, terminal_width(sys.stdout)))
