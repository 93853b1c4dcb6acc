"""`tinyedge top`: a running server's figures, live."""

from pathlib import Path
from typing import Annotated

import typer

SHORTEST_S, LONGEST_S = 0.1, 3600.0


def top(
    url: Annotated[str, typer.Argument(help="Address of `tinyedge serve`.")] = "http://127.0.0.1:8080",
    interval: Annotated[float, typer.Option(help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one screen and exit.")] = False,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File that holds the server's API key.", show_default=False)
    ] = None,
) -> None:
    """Watch a server: latency, memory, tokens, errors, temperature. Leave with q or Ctrl-C.

    A server that is gone is asked again until it is back; with --once that is an error.
    """
    import contextlib

    from tinyedge.core.errors import UsageError
    from tinyedge.top.client import MetricsClient, read_api_key
    from tinyedge.top.screen import render
    from tinyedge.top.watch import read_snapshot, watch

    if not SHORTEST_S <= interval <= LONGEST_S:
        raise UsageError(f"--interval {interval:g} is outside {SHORTEST_S:g}-{LONGEST_S:g} seconds")
    server = MetricsClient(url, None if api_key_file is None else read_api_key(api_key_file))
    if once:
        typer.echo("\n".join(render([read_snapshot(server)], server.address)))
        return
    with contextlib.suppress(KeyboardInterrupt):  # the way out, not a failure
        watch(server, interval)
