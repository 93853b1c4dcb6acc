"""`tinyedge doctor`: is this machine fit?"""

from typing import Annotated

import typer


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Look at this machine: can it run a bundle, and would a measurement on it be true?

    Exits with 0 if nothing is bad, else with 1.
    """
    from json import dumps

    from tinyedge.doctor.report import examine_machine, render

    report = examine_machine()
    typer.echo(dumps(report.to_dict(), ensure_ascii=False) if json else render(report))
    raise typer.Exit(0 if report.fit else 1)
