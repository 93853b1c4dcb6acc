"""A torch archive with its own sha256, whose pickle is inspected before torch unpickles it.

In: plain values and tensors. Out: a `.pt` file that plain torch can read, and the values again.

torch ignores the zip's checksums, so that a flipped bit would load as a weight. The sha256 of everything
before it is therefore stored in the zip's comment, which other readers of `.pt` files ignore. A digest
detects damage, but an attacker can compute one. So the unpacked size and the names that the pickle calls are
checked before torch loads the file: `weights_only` executes no code, but it lets `bytearray` allocate
gigabytes.
"""

import hashlib
import io
import pickletools
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from tinyedge.core import files
from tinyedge.core.errors import CheckpointError

_LABEL = b"tinyedge-sha256:"
_COMMENT_BYTES = len(_LABEL) + 64
_END = struct.Struct("<4s4H2LH")  # zip's end record: its fifth value is the directory's size
_END64 = struct.Struct("<4sQ2H2L4Q")  # zip64's: its ninth
_TAIL_BYTES = _END64.size + 20 + _END.size + _COMMENT_BYTES  # 20: the locator between them
_MAX_BYTES = 4 << 30  # the largest model with its optimizer state is under 1 GB
_MAX_DIRECTORY, _MAX_PICKLE, _MAX_OPERATIONS = 1 << 20, 8 << 20, 1_000_000  # 10,000 epochs need half of each
_STORAGES = ("Bool", "Byte", "Int", "Long", "Half", "BFloat16", "Float", "Double")
_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {kind}Storage" for kind in _STORAGES),
}
_HINT = "copy it again, or use an earlier checkpoint"


def write(file: IO[bytes], content: dict[str, Any]) -> None:
    """Write plain values and tensors, followed by their digest."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with buffer.getbuffer() as archive, archive[:-2] as body:  # without the length of the empty comment
        file.write(body)
        digest = hashlib.sha256(body).hexdigest()
    file.write(struct.pack("<H", _COMMENT_BYTES) + _LABEL + digest.encode())


def read(path: Path) -> Any:
    """Read an archive, without executing anything in it.

    Raises:
        CheckpointError: The file is missing, damaged or malicious.
    """
    files.require_file(path, CheckpointError, "train a model with: tinyedge train")
    with path.open("rb") as file:
        _require_intact(path, file)
        _require_safe(path, file)
        file.seek(0)
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as failure:  # torch may raise anything for an invalid pickle
            raise CheckpointError(
                f"{path} cannot be read as a checkpoint ({type(failure).__name__})", "use another checkpoint"
            ) from None


def is_intact(path: Path) -> bool:
    """Whether there is an undamaged archive at `path`."""
    try:
        with path.open("rb") as file:
            _require_intact(path, file)
    except (OSError, CheckpointError):
        return False
    return True


def _require_intact(path: Path, file: IO[bytes]) -> None:
    """Raise CheckpointError unless the digest in an open archive is that of its content."""
    size = file.seek(0, io.SEEK_END)
    if size > _MAX_BYTES:
        raise CheckpointError(f"{path} has {size} bytes, more than any tinyedge checkpoint")
    file.seek(-min(size, _COMMENT_BYTES + 2), io.SEEK_END)
    length, comment = file.read(2), file.read()
    if length != struct.pack("<H", _COMMENT_BYTES) or not comment.startswith(_LABEL):
        raise CheckpointError(f"{path} is truncated or was not written by tinyedge", _HINT)
    digest = hashlib.sha256()
    file.seek(0)
    left = size - _COMMENT_BYTES - 2
    while chunk := file.read(min(left, 1 << 20)):
        digest.update(chunk)
        left -= len(chunk)
    expected = comment[len(_LABEL) :].decode("ascii", "replace")
    if digest.hexdigest() != expected:
        raise CheckpointError(
            f"{path} is damaged: its sha256 is {digest.hexdigest()[:12]}..., expected {expected[:12]}...",
            _HINT,
        )


def _require_safe(path: Path, file: IO[bytes]) -> None:
    """Raise CheckpointError if an archive unpacks to more than its size, or calls unexpected functions."""
    size = file.seek(0, io.SEEK_END)
    malicious = CheckpointError(
        f"{path} is not an archive that tinyedge writes", "do not trust the source of this file"
    )
    file.seek(-min(size, _TAIL_BYTES), io.SEEK_END)
    tail = file.read()
    if len(tail) < _TAIL_BYTES:
        raise malicious
    directories = _END.unpack_from(tail, _END64.size + 20)[5], _END64.unpack_from(tail)[8]
    if max(directories) > _MAX_DIRECTORY:
        raise malicious
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            (listing,) = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            unpacked = sum(entry.file_size for entry in entries)
            if not stored or unpacked > size or listing.file_size > _MAX_PICKLE:
                raise malicious
            operations = pickletools.genops(archive.read(listing))
            for number, (operation, argument, _) in enumerate(operations):
                if number > _MAX_OPERATIONS:
                    raise malicious
                if operation.name == "GLOBAL" and argument not in _GLOBALS:
                    called = str(argument).replace(" ", ".")
                    raise CheckpointError(
                        f"{path} would call {called:.80}", "do not trust the source of this file"
                    )
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError):
        raise malicious from None
