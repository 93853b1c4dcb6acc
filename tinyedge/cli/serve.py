"""`tinyedge serve`: serve a bundle over HTTP."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyedge.cli._options import FilterFile, Values, options_from
from tinyedge.serve.settings import Settings, find_key

if TYPE_CHECKING:
    from tinyedge.host.terminal import TerminalWatch


@options_from("settings", Settings)
def serve(
    *,
    bundle: Annotated[Path, typer.Argument(help="Folder created by `tinyedge export`.", show_default=False)],
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the key that requests must contain; or set TINYEDGE_API_KEY.",
            show_default=False,
            rich_help_panel="Network",
        ),
    ] = None,
    allowed_hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            help="Another name that clients use for this server; repeatable.",
            rich_help_panel="Network",
        ),
    ] = None,
    settings: Values,
    no_filter: Annotated[
        bool,
        typer.Option("--no-filter", help="Also send words of the filter's list.", rich_help_panel="Filter"),
    ] = False,
    filter_file: FilterFile = None,
) -> None:
    """Serve a bundle over HTTP with an OpenAI-compatible API.

    / is a page to try it, /metrics is for Prometheus. Exits within 5 seconds, with 0 after SIGTERM and with
    130 after Ctrl-C. Loads the bundle again after SIGHUP, without a pause.
    """
    import signal

    from tinyedge.cli._extras import require_package
    from tinyedge.core.errors import UsageError
    from tinyedge.host.terminal import TerminalWatch

    for number in (signal.SIGTERM, signal.SIGINT):  # until the server takes over
        signal.signal(number, _exit_on_signal)
    _ignore_hangups(TerminalWatch())
    for package in ("h11", "prometheus_client"):
        require_package(package, "serve")
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

    def announce(url: str, template: str | None) -> None:
        learned = f"the template {template}" if template else "plain text: it continues messages as lines"
        _announce(f"serving {bundle} at {url}")
        _announce(f"chat: the model was trained on {learned}")

    ended_by = run(config, announce, typer.echo)
    raise typer.Exit(_get_exit_code(ended_by))


def _announce(line: str) -> None:
    """Print a line on stdout; ServeError if it cannot be written, because nobody would know the address."""
    from tinyedge.core.errors import ServeError

    try:
        typer.echo(line)
    except OSError as failure:
        raise ServeError(
            f"the standard output cannot be written: {failure.strerror}",
            "redirect it: tinyedge serve ... > /dev/null",
        ) from None


def _ignore_hangups(terminal: "TerminalWatch") -> None:
    """Ignore SIGHUP until the server takes over: no bundle is loaded yet that could be loaded again."""
    import signal

    def hang_up(number: int, frame: object) -> None:
        if terminal.has_lost_it():
            _exit_on_signal(number, frame)

    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
        signal.signal(signal.SIGHUP, hang_up)


def _exit_on_signal(number: int, frame: object) -> None:
    import os

    # An exception would be raised inside an import, and some libraries replace it by another one.
    os._exit(_get_exit_code(number))


def _get_exit_code(number: int) -> int:
    """Return 0 for SIGTERM, as a service's normal end, else 128 + number: Ctrl-C is 130."""
    import signal

    return 0 if number == signal.SIGTERM else 128 + number
