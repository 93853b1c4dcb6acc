"""How a board is found, by name or by file.

In: a name or the path of a JSON file. Out: a valid `Board`, or an error of one line that names the field.
"""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Final

from tinyedge.boards import DEFAULT_BOARD
from tinyedge.boards.board import Board
from tinyedge.boards.json_file import read_json_file
from tinyedge.boards.validate import validate
from tinyedge.boards.wheel_platform import WheelPlatform
from tinyedge.core.errors import UsageError

SCHEMA: Final = "tinyedge.board/1"
FOLDER: Final = Path(__file__).parent
FILE_SUFFIX: Final = ".json"
MAX_SHOWN: Final = 200  # characters of a path in a message


def board_names() -> list[str]:
    """Names of the boards that come with tinyedge, sorted."""
    return sorted(path.stem for path in FOLDER.glob(f"*{FILE_SUFFIX}"))


def board_file(name: str) -> Path:
    """The data file of a board that comes with tinyedge."""
    return FOLDER / f"{name}{FILE_SUFFIX}"


def load_board(name_or_path: str, parameter: str = "target") -> Board:
    """Load a board.

    Args:
        name_or_path: One of `board_names()`, or the path of a JSON file.
        parameter: What errors call it.

    Raises:
        UsageError: For an unknown name, or a path that the system refuses, as `parameter`; for a file that is
            missing or invalid.
    """
    known = board_names()
    if name_or_path in known:
        return _read_known(name_or_path)
    hint = f"choose one of: {', '.join(known)}, or pass a JSON file that describes your board"
    try:
        if name_or_path.endswith(FILE_SUFFIX) or Path(name_or_path).is_file():
            return _read(Path(name_or_path))
    except OSError as failure:  # such as a name that is too long, or a file without permission to read it
        shown = name_or_path if len(name_or_path) <= MAX_SHOWN else name_or_path[:MAX_SHOWN] + "..."
        message = f"{parameter} {shown} cannot be read: {failure.strerror}"
        raise UsageError(message, hint, (parameter,)) from None
    raise UsageError(f"{parameter} {name_or_path} is unknown", hint, (parameter,))


def default_board() -> Board:
    """The board that tinyedge is made for."""
    return _read_known(DEFAULT_BOARD)


def known_boards() -> list[Board]:
    """The boards that come with tinyedge, sorted by name."""
    return [_read_known(name) for name in board_names()]


def wheel_platform(machine: str, pythons: tuple[str, ...]) -> WheelPlatform:
    """A platform that need not be exactly a known board's: its architecture is that of one, its Pythons any.

    Of several boards, it is the one with the oldest system, whose wheels the others can install too.

    Raises:
        UsageError: If no known board has that architecture.
    """
    boards = [board for board in known_boards() if board.processor.machine == machine]
    if not boards:
        raise UsageError(
            f"there are no packages for {machine}", f"there are for {' and '.join(known_machines())}"
        )
    oldest = min(boards, key=lambda board: board.wheels.newest_minor)
    return replace(oldest.wheel_platform, pythons=pythons)


def known_machines() -> tuple[str, ...]:
    """Architectures of the known boards, each once, in the order of their names."""
    return tuple(dict.fromkeys(board.processor.machine for board in known_boards()))


@functools.cache
def _read_known(name: str) -> Board:
    return _read(board_file(name))


def _read(path: Path) -> Board:
    compare = f"compare it with {board_file(DEFAULT_BOARD)}"
    return read_json_file(path, Board, SCHEMA, validate, "pass the JSON file of a board", compare)
