"""The command line: which commands there are, and the one place where errors become a line and an exit code.

Nothing heavy is imported here or at the top of a command's module, so any command starts quickly on a small
board.
"""

import errno
import importlib
import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from tinyedge import __version__
from tinyedge.core.errors import TinyEdgeError, UsageError
from tinyedge.core.settings import flag

# Each in the module of its name, in the order of the help: what it is called there.
COMMANDS = {
    "corpus": "corpus",
    "tokenizer": "tokenizer",
    "fit": "fit",
    "train": "train",
    "runs": "runs",
    "sweep": "sweep",
    "eval": "evaluate",
    "export": "export",
    "verify": "verify",
    "sign": "sign",
    "deploy": "deploy",
    "activate": "activate",
    "generate": "generate",
    "serve": "serve",
    "bench": "bench",
    "check": "check",
    "doctor": "doctor",
    "top": "top",
}

FIRST_TELLS_S = 20  # at most, from its start to its error; torchrun ends the wait as soon as it is there

# The parser's exceptions are not public: their root is found through the one that Typer has always exported.
ParserError: type = typer.BadParameter.__mro__[2]

# May be followed by several values, as in `--input a.txt b.txt`; the test tells them from what else follows.
LIST_FLAGS: dict[str, Callable[[str], bool]] = {
    "--input": lambda value: True,
    "--text": lambda value: "=" in value,
    "--vary": lambda value: "=" in value,
}


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"tinyedge {__version__}")
        raise typer.Exit


def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command; they stand before its name."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The program as far as `arguments` need it: one command that is named first, or all of them.

    The parser builds every command that it is told of, flag by flag: all of them would take a small board
    longer than the rest of the command line.
    """
    # Typer's rich output costs the device imports that plain text does not need.
    app = typer.Typer(
        help="Plain text to a language model that answers on a small board inside a proven budget.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(options)
    named = find_command(arguments)
    for name in [named] if named in COMMANDS else COMMANDS:
        module = importlib.import_module(f"tinyedge.cli.{name}")
        app.command(name)(getattr(module, COMMANDS[name]))
    return app


def find_command(arguments: Sequence[str]) -> str:
    """Return the first word that is not an option; empty where there is none."""
    return next((word for word in arguments if not word.startswith("-")), "")


def main() -> NoReturn:
    """Runs the program and exits: 0 ok, 1 known failure, 2 usage, 3 a gate failed, 4 inconclusive, 130 ^C."""
    # torch's threads would spin while they wait for each other: on a machine that is busy with anything else,
    # training was 2.7 times slower (docs/log.md). Read once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # numpy's own threads have nothing to do here, and cost each start their making. Read when it is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _open_streams()
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup's
        signal.signal(signal.SIGHUP, _terminate)
    arguments = repeat_list_flags(sys.argv[1:])
    try:
        sys.exit(app_for(arguments)(arguments, prog_name="tinyedge", standalone_mode=False) or 0)
    except (Exception, KeyboardInterrupt) as failure:
        _abandon_full_stdout()
        if _is_said_by_another(failure):
            time.sleep(FIRST_TELLS_S)  # torchrun ends all when one ends; not before the first has spoken
            sys.exit(UsageError.exit_code)
        if "--debug" in arguments[:1] or os.environ.get("TINYEDGE_DEBUG"):
            traceback.print_exc()
        if isinstance(failure, UsageError):
            failure = name_flags(failure, arguments)
        sys.exit(explain(failure))


def name_flags(error: UsageError, arguments: Sequence[str]) -> UsageError:
    """Replace the names of parameters in a library's error by the flags of the command that ran."""
    import re

    group: Any = typer.main.get_command(app_for(arguments))
    options = group.commands[find_command(arguments)].params
    flags = {option.name: str(option.opts[0]) for option in options if option.param_type_name == "option"}

    def name_flag(found: re.Match[str]) -> str:
        return flags.get(found[0], flag(found[0]))

    names = "|".join(map(re.escape, error.parameters))
    pattern = re.compile(rf"(?<![\w./-])(?:{names})(?![\w/=-])" if names else r"(?!)")
    return UsageError(pattern.sub(name_flag, error.message), pattern.sub(name_flag, error.hint))


def _is_said_by_another(failure: BaseException) -> bool:
    """torchrun gives many processes one command line; what is wrong with it, the first of them says."""
    follows = "WORLD_SIZE" in os.environ and os.environ.get("RANK", "0") != "0"
    return follows and isinstance(failure, (UsageError, ParserError))


def _open_streams() -> None:
    """Gives closed standard streams somewhere to go, and lets the open ones show names that are no text."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if descriptor == 0 else "w"))  # noqa: PTH123, SIM115
        elif descriptor and isinstance(getattr(sys, name), io.TextIOWrapper):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def _abandon_full_stdout() -> None:
    """What a full disk did not take is given up, or Python would complain of it once more at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM and SIGHUP unwind like any exit, so that temporary files and workers go."""
    raise SystemExit(128 + number)


def repeat_list_flags(arguments: list[str]) -> list[str]:
    """`--input a b` as `--input a --input b`, which is the form that the parser knows."""
    result: list[str] = []
    current: str | None = None
    for argument in arguments:
        if argument.startswith("-"):
            current = argument if argument in LIST_FLAGS else None
        elif current and result[-1] != current and LIST_FLAGS[current](argument):
            result.append(current)
        result.append(argument)
    return result


def explain(failure: BaseException) -> int:
    """Prints one `error:` line and a hint on stderr; returns the exit code."""
    match failure:
        case typer.Exit():
            return failure.exit_code
        case TinyEdgeError():
            _complain(failure.message, failure.hint)
            return failure.exit_code
        case _ if isinstance(failure, ParserError):
            return _explain_usage(failure)
        case KeyboardInterrupt() | typer.Abort():
            _complain("interrupted")
            return 130
        case OSError():
            where = f"{failure.filename}: " if failure.filename else ""
            _complain(f"{where}{failure.strerror or failure}", _way_out(failure))
            return 1
        case MemoryError():
            _complain("out of memory", "use a smaller model, batch or text")
            return 1
        case _:
            _complain(
                f"unexpected {type(failure).__name__}: {failure}",
                "tinyedge --debug ... shows where; please report it",
            )
            return 1


def _explain_usage(failure: BaseException) -> int:
    """What the parser found wrong; its classes are not public, so they are read by their attributes."""
    context = getattr(failure, "ctx", None)
    command = context.command_path if context else "tinyedge"
    format_message = getattr(failure, "format_message", failure.__str__)
    _complain(format_message(), f"{command} --help shows what there is")
    return UsageError.exit_code


def _way_out(failure: OSError) -> str:
    match failure.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "free some space; nothing half-written was left"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "check the permissions, or choose another path"
        case errno.EIO:
            return "the disk does not work as it should: choose another; nothing half-written was left"
        case _:
            return "check the path"


def _complain(message: str, hint: str = "") -> None:
    line = " ".join(message.split())
    print(f"error: {line}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
