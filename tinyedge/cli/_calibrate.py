"""`tinyedge bench --calibrate [FILE]`: measure this machine's clock and memory, and write them to a file."""

import sys
from pathlib import Path

import typer

from tinyedge.cli._json import FLAG as JSON_FLAG
from tinyedge.cli._json import OPTIONAL_FILES, JsonOutput

FLAG = "--calibrate"
NOTICE = "measuring this machine, for less than a minute: leave it idle until then"


def calibrate(context: typer.Context, target: str, json: str | None) -> None:
    """Run the command.

    Args:
        context: The parsed command line.
        target: The file to write.
        json: Value of --json.

    Raises:
        UsageError: Another option was given, or the file cannot be written.
        EngineError: The native kernels are not installed.
        BenchError: The times mean nothing.
    """
    from tinyedge.calibrate import loops, measure, table
    from tinyedge.calibrate.calibration_file import KIND, find_board, write_calibration
    from tinyedge.cli._argv import format_command
    from tinyedge.cli._echo import print_next, print_note, redraw_line, terminal_width
    from tinyedge.core import output_files
    from tinyedge.core.errors import UsageError

    if others := _find_other_options(context):
        raise UsageError(
            f"{FLAG} measures this machine and no bundle", f"leave out {', '.join(others)}, or {FLAG}"
        )
    if not target:
        raise UsageError(f"{FLAG} is empty", f"pass a file, or leave it out for {OPTIONAL_FILES[FLAG]}")
    if target == "-":
        raise UsageError(f"{FLAG} writes a file", f"pass its name, and {JSON_FLAG} - to print the same")
    path = Path(target)
    output = JsonOutput.from_option(json, KIND)
    output_files.require_writable({FLAG: path} | ({JSON_FLAG: output.path} if output.path else {}))
    output_files.require_replaceable_json(FLAG, path, (KIND,))
    kernels = loops.import_loops()
    print_note(NOTICE)
    is_shown = sys.stderr.isatty()

    def progress(finished: int) -> None:
        if is_shown:
            redraw_line(f"round {finished} of {loops.ROUNDS}" + "\n" * (finished == loops.ROUNDS))

    found = measure.measure(kernels, progress=progress)
    write_calibration(path, found)  # before the text is printed, which fails if the pipe is closed
    board = find_board(found)
    output.emit(found.to_dict(), table.render(found, board, terminal_width(sys.stdout)))
    print_note(f"wrote {path}")
    if not output.is_printed and board and board.cost_model:
        print_next(format_command(["fit", "--target", board.name, "--calibration", path]))


def _find_other_options(context: typer.Context) -> list[str]:
    """Return what the user gave besides --calibrate and --json, as the help names it."""
    return [
        parameter.opts[0] if parameter.param_type_name == "option" else (parameter.name or "").upper()
        for parameter in context.command.params
        if {FLAG, JSON_FLAG}.isdisjoint(parameter.opts)
        and getattr(context.get_parameter_source(parameter.name or ""), "name", "") == "COMMANDLINE"
    ]
