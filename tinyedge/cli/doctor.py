"""`tinyedge doctor`: check this machine."""

import typer

from tinyedge.cli._json import JsonOutput, JsonTarget


def doctor(
    json: JsonTarget = None,
) -> None:
    """Check whether this machine can run and measure a bundle.

    Exits with 0 if no check fails, else with 1.
    """
    from tinyedge.cli._echo import page_width
    from tinyedge.doctor.report import examine_machine, render

    output = JsonOutput.from_option(json, "tinyedge.doctor")
    report = examine_machine()
    output.emit(report.to_dict(), render(report, page_width()))
    raise typer.Exit(0 if report.fit else 1)
