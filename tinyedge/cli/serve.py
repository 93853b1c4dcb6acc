"""`tinyedge serve`: a bundle over HTTP."""

from pathlib import Path
from typing import Annotated

import typer


def serve(
    bundle: Annotated[Path, typer.Argument(help="Folder that `tinyedge export` made.", show_default=False)],
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")] = 8080,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            help="Holds the key that requests must carry; or set TINYEDGE_API_KEY.", show_default=False
        ),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let other machines ask without a key.")
    ] = False,
    allowed_hosts: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A name that the server is reached by; repeatable."),
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU cores for one token.")] = 1,
    parallel: Annotated[int, typer.Option(help="Requests that generate at the same time.")] = 1,
    queue: Annotated[int, typer.Option(help="Requests that may wait; more get a 429.")] = 8,
    max_tokens: Annotated[int, typer.Option(help="Tokens of one answer at most.")] = 512,
    max_seconds: Annotated[float, typer.Option(help="A request's time, waiting included.")] = 60,
    max_connections: Annotated[int, typer.Option(help="Connections at the same time.")] = 128,
    no_filter: Annotated[
        bool, typer.Option("--no-filter", help="Send every word, also those that are on the list.")
    ] = False,
    filter_file: Annotated[
        Path | None,
        typer.Option("--filter", help="End before this file's words, not the list's.", show_default=False),
    ] = None,
    client_seconds: Annotated[
        float, typer.Option(help="A client's time to send its headers, its body, or to read.")
    ] = 10,
) -> None:
    """Answer OpenAI-compatible requests; / is a page to try it, /metrics is for Prometheus.

    Exits with 0 on SIGTERM and 130 on Ctrl-C, within 5 seconds.
    """
    import signal

    from tinyedge.cli._extras import require
    from tinyedge.core.errors import UsageError
    from tinyedge.serve.settings import Settings, find_key

    for number in (signal.SIGTERM, signal.SIGINT):  # until the server takes over
        signal.signal(number, _leave)
    for package in ("h11", "prometheus_client"):
        require(package, "serve")
    if no_filter and filter_file:
        raise UsageError("--no-filter and --filter are mutually exclusive", "leave one of them out")
    settings = Settings(
        bundle=bundle,
        host=host,
        port=port,
        api_key=find_key(api_key_file),
        insecure=insecure,
        allowed_hosts=tuple(name.lower() for name in allowed_hosts or ()),
        threads=threads,
        parallel=parallel,
        queue=queue,
        max_tokens=max_tokens,
        max_seconds=max_seconds,
        max_connections=max_connections,
        client_seconds=client_seconds,
        filtered=not no_filter,
        filter_file=filter_file,
    )

    from tinyedge.serve.server import serve as run

    ended_by = run(settings, lambda url: typer.echo(f"serving {bundle} at {url}"))
    raise typer.Exit(_code(ended_by))


def _leave(number: int, frame: object) -> None:
    import os

    # An exception would come out of whatever is being imported, and some libraries make another one of it.
    os._exit(_code(number))


def _code(number: int) -> int:
    """A service that is told to end, and does, has done well; Ctrl-C is 130 everywhere in tinyedge."""
    import signal

    return 0 if number == signal.SIGTERM else 128 + number
