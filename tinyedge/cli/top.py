"""`tinyedge top`: live figures of a running server."""

from pathlib import Path
from typing import Annotated

import typer

MIN_INTERVAL_S, MAX_INTERVAL_S = 0.1, 3600.0


def top(
    url: Annotated[str, typer.Argument(help="Address of `tinyedge serve`.")] = "http://127.0.0.1:8080",
    interval: Annotated[float, typer.Option(help="Seconds between updates.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one screen and exit.")] = False,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File with the server's API key.", show_default=False)
    ] = None,
) -> None:
    """Watch a running server: latency, memory, errors, temperature.

    Quit with q or Ctrl-C. If the server is unreachable, it is polled until it is back; with --once that is
    an error.
    """
    import contextlib

    from tinyedge.core.settings import require_range
    from tinyedge.top.client import MetricsClient, read_api_key
    from tinyedge.top.screen import render
    from tinyedge.top.watch import read_snapshot, watch

    require_range("interval", interval, MIN_INTERVAL_S, MAX_INTERVAL_S, unit="seconds")
    server = MetricsClient(url, None if api_key_file is None else read_api_key(api_key_file))
    if once:
        typer.echo("\n".join(render([read_snapshot(server)], server.address)))
        return
    with contextlib.suppress(KeyboardInterrupt):  # the normal way to quit
        watch(server, interval)
