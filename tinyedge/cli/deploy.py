"""`tinyedge deploy`: install a bundle on a board over SSH."""

from pathlib import Path
from typing import Annotated

import typer


def deploy(
    destination: Annotated[
        str, typer.Argument(help="USER@HOST, as for ssh.", metavar="USER@HOST", show_default=False)
    ],
    bundle: Annotated[Path, typer.Argument(help="Folder created by `tinyedge export`.", show_default=False)],
    port: Annotated[int | None, typer.Option("--port", "-p", help="Port of the board's SSH server.")] = None,
    identity: Annotated[
        Path | None, typer.Option("--identity", "-i", help="Private key to log in with.", show_default=False)
    ] = None,
    dir: Annotated[  # noqa: A002 # the flag is --dir
        str, typer.Option(help="Folder on the board, relative to the user's home.")
    ] = "tinyedge",
    key: Annotated[
        Path | None, typer.Option(help="Public key that must have signed the bundle.", show_default=False)
    ] = None,
    service: Annotated[
        bool, typer.Option("--service", help="Also install and start the systemd service; needs sudo.")
    ] = False,
    kit: Annotated[
        Path | None,
        typer.Option(help="Kit to send. [default: BUNDLE-kit, built if needed]", show_default=False),
    ] = None,
    ssh_config: Annotated[
        Path | None, typer.Option(help="Another SSH configuration file.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Inspect the board and print the steps, without changing anything."),
    ] = False,
) -> None:
    """Install a bundle on a board over SSH and measure it there.

    Exits with the code of `tinyedge bench` on the board: 0 if every limit is met, 3 if one is exceeded, 4 if
    the result is inconclusive.
    """
    import sys

    from tinyedge.cli._echo import print_note, redraw_line
    from tinyedge.core.errors import DeployError
    from tinyedge.core.files import require_file
    from tinyedge.core.settings import require_range
    from tinyedge.deploy import pipeline as steps
    from tinyedge.deploy.ssh import Remote

    if port is not None:
        require_range("port", port, 1, 65535, whole=True)
    for file in (identity, ssh_config):
        if file is not None:
            require_file(file, DeployError)
    plan = steps.DeployPlan(bundle, dir, key, service, dry_run, kit)
    shown = -1

    def progress(sent: int, total: int) -> None:
        nonlocal shown
        percent = 100 * sent // max(total, 1)
        if sys.stderr.isatty() and percent > shown:
            redraw_line(f"{percent}%" + "\n" * (percent == 100))
            shown = percent

    with Remote(destination, port, identity, ssh_config) as remote:
        code = steps.deploy(remote, plan, print_note, progress)
    raise typer.Exit(code)
