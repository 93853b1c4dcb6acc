"""`tinyedge deploy`: a bundle from this machine to a board, over ssh."""

from pathlib import Path
from typing import Annotated

import typer


def deploy(
    destination: Annotated[
        str, typer.Argument(help="USER@HOST, as ssh takes it.", metavar="USER@HOST", show_default=False)
    ],
    bundle: Annotated[Path, typer.Argument(help="Folder that `tinyedge export` made.", show_default=False)],
    port: Annotated[int | None, typer.Option("--port", "-p", help="Of the board's ssh server.")] = None,
    identity: Annotated[
        Path | None, typer.Option("--identity", "-i", help="Private key to log in with.", show_default=False)
    ] = None,
    dir: Annotated[  # noqa: A002 # the flag is --dir
        str, typer.Option(help="Folder on the board, by the home of its user.")
    ] = "tinyedge",
    key: Annotated[
        Path | None, typer.Option(help="Public key that must have signed the bundle.", show_default=False)
    ] = None,
    service: Annotated[
        bool, typer.Option("--service", help="Also install and start the systemd service; asks for sudo.")
    ] = False,
    kit: Annotated[
        Path | None,
        typer.Option(help="Kit to send. [default: BUNDLE-kit, made if needed]", show_default=False),
    ] = None,
    ssh_config: Annotated[
        Path | None, typer.Option(help="Another configuration of ssh's.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look at the board, say what would be done, change nothing.")
    ] = False,
) -> None:
    """Put a bundle on a board: copy it with all it needs, install, switch, test, measure.

    Exits as `tinyedge bench` on the board does: 0 the budget is kept, 3 not, 4 the samples cannot tell.
    """
    import sys

    from tinyedge.cli._echo import note
    from tinyedge.core.errors import DeployError, UsageError
    from tinyedge.core.files import require_file
    from tinyedge.deploy import pipeline as steps
    from tinyedge.deploy.ssh import Remote

    if port is not None and not 0 < port < 65536:
        raise UsageError(f"--port {port} is outside 1-65535")
    for file in (identity, ssh_config):
        if file is not None:
            require_file(file, DeployError)
    plan = steps.DeployPlan(bundle, dir, key, service, dry_run, kit)
    shown = -1

    def progress(sent: int, total: int) -> None:
        nonlocal shown
        percent = 100 * sent // max(total, 1)
        if sys.stderr.isatty() and percent > shown:
            typer.echo(f"\r{percent} %", nl=percent == 100, err=True)
            shown = percent

    with Remote(destination, port, identity, ssh_config) as remote:
        code = steps.deploy(remote, plan, note, progress)
    raise typer.Exit(code)
