"""A JSON file with a schema to a frozen dataclass: a board's, and a calibration's.

In: a path. Out: a valid instance, or an error of one line that names the field. Knows no board.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from tinyedge.boards.from_json import DecodeError, decode, mismatch, parse_object
from tinyedge.core import files
from tinyedge.core.errors import UsageError

MAX_FILE_BYTES: Final = 1 << 20

T = TypeVar("T")


def read_json_file(
    path: Path, cls: type[T], schema: str, validate: Callable[[T], None], what: str, compare: str
) -> T:
    """Read a file.

    Args:
        path: The file.
        cls: The dataclass that it describes.
        schema: Value of its field `schema`.
        validate: Raises DecodeError for a value that its type allows and that makes no sense.
        what: Hint for a path that is no such file.
        compare: Hint for a file with a damaged field.

    Raises:
        UsageError: The file is missing or invalid.
    """
    files.require_file(path, UsageError, what)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise UsageError(f"{path} is larger than {MAX_FILE_BYTES} bytes", what)
    try:
        value = parse_object(path.read_bytes())
        if (found := value.pop("schema", None)) != schema:
            raise mismatch("schema", found, repr(schema))
        read = decode(cls, value)
        validate(read)
    except DecodeError as failure:
        raise UsageError(f"{path}: {failure}", compare) from None
    except (ValueError, RecursionError) as failure:
        raise UsageError(f"{path} is not valid JSON ({failure})", compare) from None
    return read
