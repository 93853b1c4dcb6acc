"""`tinyedge serve`: a bundle over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from tinyedge.cli._options import Values, options_from
from tinyedge.serve.settings import Settings, find_key


@options_from("settings", Settings)
def serve(
    *,
    bundle: Annotated[Path, typer.Argument(help="Folder that `tinyedge export` made.", show_default=False)],
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            help="Holds the key that requests must carry; or set TINYEDGE_API_KEY.", show_default=False
        ),
    ] = None,
    allowed_hosts: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A name that the server is reached by; repeatable."),
    ] = None,
    settings: Values,
    no_filter: Annotated[
        bool, typer.Option("--no-filter", help="Send every word, also those that are on the list.")
    ] = False,
    filter_file: Annotated[
        Path | None,
        typer.Option("--filter", help="End before this file's words, not the list's.", show_default=False),
    ] = None,
) -> None:
    """Answer OpenAI-compatible requests; / is a page to try it, /metrics is for Prometheus.

    Exits with 0 on SIGTERM and 130 on Ctrl-C, within 5 seconds.
    """
    import signal

    from tinyedge.cli._extras import require
    from tinyedge.core.errors import UsageError

    for number in (signal.SIGTERM, signal.SIGINT):  # until the server takes over
        signal.signal(number, _leave)
    for package in ("h11", "prometheus_client"):
        require(package, "serve")
    if no_filter and filter_file:
        raise UsageError("--no-filter and --filter are mutually exclusive", "leave one of them out")
    config = Settings(
        bundle=bundle,
        api_key=find_key(api_key_file),
        allowed_hosts=tuple(name.lower() for name in allowed_hosts or ()),
        filtered=not no_filter,
        filter_file=filter_file,
        **settings,
    )

    from tinyedge.serve.server import serve as run

    ended_by = run(config, lambda url: typer.echo(f"serving {bundle} at {url}"))
    raise typer.Exit(_code(ended_by))


def _leave(number: int, frame: object) -> None:
    import os

    # An exception would come out of whatever is being imported, and some libraries make another one of it.
    os._exit(_code(number))


def _code(number: int) -> int:
    """A service that is told to end, and does, has done well; Ctrl-C is 130 everywhere in tinyedge."""
    import signal

    return 0 if number == signal.SIGTERM else 128 + number
