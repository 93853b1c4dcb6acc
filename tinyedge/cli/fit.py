"""`tinyedge fit`: which shapes keep a budget on a board?"""

from typing import Annotated

import typer


def fit(
    target: Annotated[str, typer.Option(help="The board.")] = "pi-zero-2w",
    max_p95_ms: Annotated[float, typer.Option(help="Budget of a response's 95th percentile, in ms.")] = 250,
    max_rss_mb: Annotated[float, typer.Option(help="Budget of peak memory, in MB of 2^20 bytes.")] = 400,
    max_tokens: Annotated[int, typer.Option(help="Tokens of each response.")] = 20,
    max_seq_length: Annotated[
        int | None, typer.Option(help="Context that it has to have, in tokens.", show_default=False)
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option(help="Pieces of the tokenizer: 8000.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """The largest shapes that keep a budget on a board, as flags for `tinyedge train`, without training any.

    Times are modelled, by a formula fitted to counts of the emulated board. Exits with 1 where no shape fits.
    """
    from tinyedge.fit import cost_model, table
    from tinyedge.fit.search import Budget, search

    budget = Budget(max_p95_ms, max_rss_mb, max_tokens, max_seq_length, vocab_size)
    answer = search(cost_model.load(target), budget)
    typer.echo(table.to_json(answer) if json else table.render(answer))
