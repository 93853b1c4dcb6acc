"""`tinyedge doctor`: check this machine."""

from typing import Annotated

import typer


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Check whether this machine can run and measure a bundle.

    Exits with 0 if no check fails, else with 1.
    """
    from json import dumps

    from tinyedge.cli._echo import page_width
    from tinyedge.doctor.report import examine_machine, render

    report = examine_machine()
    typer.echo(dumps(report.to_dict(), ensure_ascii=False) if json else render(report, page_width()))
    raise typer.Exit(0 if report.fit else 1)
