"""The program: its commands, and the one place where errors become a line on stderr and an exit code.

Neither this module nor the top of a command's module imports anything heavy, so that every command starts
quickly on a small board.
"""

import errno
import importlib
import io
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from tinyedge import __version__
from tinyedge.cli._json import name_optional_files
from tinyedge.core.errors import TinyEdgeError, UsageError
from tinyedge.core.printable import PrintableStream, printable
from tinyedge.core.settings import flag
from tinyedge.host import interrupt

# Commands, each in the module of its name, with the name of its function there. cli/_help.py groups them.
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
    "learn": "learn",
    "bench": "bench",
    "check": "check",
    "doctor": "doctor",
    "top": "top",
}

MAIN_PROCESS_WAIT_S = 20  # upper bound until the main process has reported; torchrun ends the wait then

ADDRESS_SPACE_HINT = "raise the limit: ulimit -v unlimited, or LimitAS= in a systemd unit"

# Address space that numpy needs. Without it, numpy's OpenBLAS ends the process, and raises no exception.
NUMPY_BYTES = 80 << 20

# The base class of the parser's exceptions is not public; it is a base of the one that Typer exports.
ParserError: type = typer.BadParameter.__mro__[2]

# Options whose value is often typed without the flag, as in `tinyedge train my-texts`.
OFTEN_OMITTED_FLAGS = ("--input", "--prompt")

# Options that accept several values, as in `--input a.txt b.txt`; the function recognizes a value.
LIST_FLAGS: dict[str, Callable[[str], bool]] = {
    "--input": lambda value: True,
    "--text": lambda value: "=" in value,
    "--vary": lambda value: "=" in value,
}


def _show_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"tinyedge {__version__}")
        raise typer.Exit


def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Handle the options that precede the name of any command."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """Return the program with the one command that `arguments` name, or with all of them.

    The parser builds every command that is registered, option by option: on a small board all of them would
    take longer than the rest of the command line.
    """
    named = find_command(arguments)
    is_known = named in COMMANDS
    command_class, group_class = None, None
    if not is_known or "--help" in arguments:
        from tinyedge.cli._help import HelpCommand, HelpGroup

        command_class, group_class = HelpCommand, HelpGroup
    # Typer's rich output costs the device imports that plain text does not need.
    app = typer.Typer(
        cls=group_class,
        help="Plain text to a language model that answers on a small board within a measured budget.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=not is_known,  # its options need no command
    )
    app.callback(invoke_without_command=True)(options)
    for name in [named] if is_known else COMMANDS:
        module = importlib.import_module(f"tinyedge.cli.{name}")
        app.command(name, cls=command_class)(getattr(module, COMMANDS[name]))
    return app


def find_command(arguments: Sequence[str]) -> str:
    """Return the first word that is not an option; empty where there is none."""
    return next((word for word in arguments if not word.startswith("-")), "")


def main() -> NoReturn:
    """Run the program and exit: 0 ok, 1 known failure, 2 usage, 3 limit exceeded, 4 inconclusive, 130 ^C."""
    # By default torch's threads spin while they wait for each other: on a busy machine training was 2.7 times
    # slower (docs/log.md). The variable is read once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # numpy's own threads are not needed here, and creating them slows every start. The variable is read when
    # numpy is loaded.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _open_streams()
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
        signal.signal(signal.SIGHUP, _terminate)
    arguments = name_optional_files(repeat_list_flags(sys.argv[1:]))
    try:
        _require_current_folder()
        sys.meta_path.insert(0, _NumpyCheck())
        code = app_for(arguments)(arguments, prog_name="tinyedge", standalone_mode=False) or 0
        if code == interrupt.EXIT_CODE and interrupt.was_raised():
            raise KeyboardInterrupt  # Typer returns the code instead
        sys.stdout.flush()  # at exit, a full disk would be a traceback
        sys.exit(code)
    except BrokenPipeError:  # the reader has what it wanted, as in `tinyedge runs | head`
        _discard_unwritten_stdout()
        sys.exit(1)
    except (Exception, KeyboardInterrupt) as failure:
        _discard_unwritten_stdout()
        if _is_reported_by_main_process(failure):
            time.sleep(
                MAIN_PROCESS_WAIT_S
            )  # torchrun ends all processes when one ends: let the main one report first
            sys.exit(UsageError.exit_code)
        if "--debug" in arguments[:1] or os.environ.get("TINYEDGE_DEBUG"):
            traceback.print_exc()
        if interrupt.was_raised():  # a library may have replaced the exception by its own
            failure = KeyboardInterrupt()
        if isinstance(failure, UsageError):
            failure = name_flags(failure, arguments)
        sys.exit(explain(failure))


def name_flags(error: UsageError, arguments: Sequence[str]) -> UsageError:
    """Replace the names of parameters in a library's error by the flags of the command that ran."""
    group: Any = typer.main.get_command(app_for(arguments))
    options = group.commands[find_command(arguments)].params
    flags = {option.name: str(option.opts[0]) for option in options if option.param_type_name == "option"}
    return error.name_flags(lambda name: flags.get(name, flag(name)), arguments)


def _is_reported_by_main_process(failure: BaseException) -> bool:
    """Whether torchrun's main process reports this error of the command line, which all processes share."""
    is_worker = "WORLD_SIZE" in os.environ and os.environ.get("RANK", "0") != "0"
    return is_worker and isinstance(failure, (UsageError, ParserError))


def _open_streams() -> None:
    """Redirect closed standard streams to the null device; escape what controls a terminal in open ones."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if descriptor == 0 else "w"))  # noqa: PTH123, SIM115
        elif descriptor and type(getattr(sys, name)) is io.TextIOWrapper:
            stream = PrintableStream.replace(getattr(sys, name))
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def _require_current_folder() -> None:
    """Refuse to start in a folder that was deleted: torch's MKL would end the process without an error."""
    try:
        os.getcwd()  # noqa: PTH109
    except OSError as failure:
        raise TinyEdgeError(
            f"the current folder is not accessible: {failure.strerror}", "change to a folder that exists"
        ) from None


def _discard_unwritten_stdout() -> None:
    """Discard output that a full disk did not accept, or Python would report it again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    """Exit on SIGTERM and SIGHUP by an exception, so that temporary files and workers are removed."""
    raise SystemExit(128 + number)


def repeat_list_flags(arguments: list[str]) -> list[str]:
    """Convert `--input a b` to `--input a --input b`, the form that the parser accepts."""
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
    """Print one `error:` line and a hint on stderr; return the exit code."""
    match failure:
        case typer.Exit():
            return failure.exit_code
        case TinyEdgeError():
            _print_error(failure.message, failure.hint)
            return failure.exit_code
        case _ if isinstance(failure, ParserError):
            return _explain_parser_error(failure)
        case typer.Abort() if isinstance(failure.__cause__, EOFError):
            return explain(failure.__cause__)
        case KeyboardInterrupt() | typer.Abort():
            _print_error("interrupted")
            return interrupt.EXIT_CODE
        case OSError() if failure is getattr(sys.stdout, "failure", None):
            _print_error(
                f"the standard output cannot be written: {failure.strerror}",
                "free some space, or redirect the output elsewhere",
            )
            return 1
        case OSError() if failure.errno == errno.ENOMEM:
            return explain(MemoryError())
        case OSError():
            where = f"{failure.filename}: " if failure.filename else ""
            _print_error(f"{where}{failure.strerror or failure}", _suggest_remedy(failure))
            return 1
        case ModuleNotFoundError():
            return _explain_unexpected(failure)
        case MemoryError() | ImportError() if limit := _read_address_space_limit():
            _print_error(
                f"out of memory: the address space is limited to {limit // 1_000_000} MB", ADDRESS_SPACE_HINT
            )
            return 1
        case MemoryError():
            _print_error("out of memory", "use a smaller model, batch or text")
            return 1
        case _:
            return _explain_unexpected(failure)


def _explain_unexpected(failure: BaseException) -> int:
    _print_error(
        f"unexpected {type(failure).__name__}: {failure}",
        "run tinyedge --debug ... to see where, and please report it",
    )
    return 1


def _explain_parser_error(failure: BaseException) -> int:
    """Print a parser error. Its classes are not public, so its attributes are read by name."""
    context = getattr(failure, "ctx", None)
    command = context.command_path if context else "tinyedge"
    format_message = getattr(failure, "format_message", failure.__str__)
    message = format_message()
    _print_error(message, f"{_suggest_flag(message, context)}see {command} --help")
    return UsageError.exit_code


def _suggest_flag(message: str, context: typer.Context | None) -> str:
    """Return a question with the flag that a surplus argument probably lacks; empty if there is none."""
    surplus = re.search(r"unexpected extra argument\(s\) \((.*)\)$", message, re.DOTALL)
    options = {name for option in context.command.params for name in option.opts} if context else set()
    flags = [name for name in OFTEN_OMITTED_FLAGS if name in options]
    if not surplus or not flags:
        return ""
    value = surplus[1]
    if flags[0] == "--prompt" or (value in sys.argv[1:] and " " in value):
        value = f'"{value}"'
    return f"did you mean {flags[0]} {value}? "


def _suggest_remedy(failure: OSError) -> str:
    match failure.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "free some space; no incomplete file was left"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "check the permissions, or choose another path"
        case errno.EIO:
            return "the disk reports an error: choose another one; no incomplete file was left"
        case _:
            return "check the path"


class _NumpyCheck:
    """A finder of modules that finds none, and checks the address space when numpy is imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> None:
        """Raise MemoryError if the address space is limited and numpy does not fit."""
        if name == "numpy":
            try:
                bytes(NUMPY_BYTES)  # calloc reserves it, nothing touches it: it takes no memory
            except MemoryError:
                if _read_address_space_limit():
                    raise


def _read_address_space_limit() -> int:
    from tinyedge.host import address_space

    return address_space.read_limit()


def _print_error(message: str, hint: str = "") -> None:
    from tinyedge.cli._echo import fit_lines

    line = " ".join(message.split())
    print(fit_lines(f"error: {printable(line)}", sys.stderr), file=sys.stderr)
    if hint:
        print(fit_lines(f"hint: {printable(hint)}", sys.stderr), file=sys.stderr)
