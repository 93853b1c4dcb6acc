"""A torch archive on disk that carries its own sha256, and whose pickle is read before torch unpickles it.

torch skips the zip's checksums, so a flipped bit would load as a weight: the digest of everything before it
stands in the zip's own comment, where any reader of `.pt` files ignores it. A digest finds damage, not an
attacker, who can compute one; so what the archive would unpack to and what its pickle would call is looked
at before torch loads it. `weights_only` runs no code, but it does let `bytearray` take gigabytes.
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
_MAX_BYTES = 4 << 30  # the largest shape with optimizer state is under 1 GB
_MAX_DIRECTORY, _MAX_PICKLE, _MAX_OPERATIONS = 1 << 20, 8 << 20, 1_000_000  # 10,000 epochs need half of each
_STORAGES = ("Bool", "Byte", "Int", "Long", "Half", "BFloat16", "Float", "Double")
_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {kind}Storage" for kind in _STORAGES),
}
_WAY_OUT = "copy it again, or use an earlier checkpoint"


def write(file: IO[bytes], content: dict[str, Any]) -> None:
    """Writes plain values and tensors, and the digest after them."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with buffer.getbuffer() as archive, archive[:-2] as body:  # the comment's length, zero so far
        file.write(body)
        digest = hashlib.sha256(body).hexdigest()
    file.write(struct.pack("<H", _COMMENT_BYTES) + _LABEL + digest.encode())


def read(path: Path) -> Any:
    """Reads an archive; nothing of it is executed. Raises CheckpointError when it is damaged or hostile."""
    files.require_file(path, CheckpointError, "train a model with: tinyedge train")
    with path.open("rb") as file:
        _require_whole(path, file)
        _require_harmless(path, file)
        file.seek(0)
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as failure:  # whatever an odd pickle makes torch raise
            raise CheckpointError(
                f"{path} cannot be read as a checkpoint ({type(failure).__name__})", "use another"
            ) from None


def is_whole(path: Path) -> bool:
    """Whether there is an archive at `path`, as it was written."""
    try:
        with path.open("rb") as file:
            _require_whole(path, file)
    except (OSError, CheckpointError):
        return False
    return True


def _require_whole(path: Path, file: IO[bytes]) -> None:
    """Raises CheckpointError unless an open archive is the one that was written, to the last bit."""
    size = file.seek(0, io.SEEK_END)
    if size > _MAX_BYTES:
        raise CheckpointError(f"{path} has {size} bytes, more than any tinyedge checkpoint")
    file.seek(-min(size, _COMMENT_BYTES + 2), io.SEEK_END)
    length, comment = file.read(2), file.read()
    if length != struct.pack("<H", _COMMENT_BYTES) or not comment.startswith(_LABEL):
        raise CheckpointError(f"{path} is cut short or was not written by tinyedge", _WAY_OUT)
    digest = hashlib.sha256()
    file.seek(0)
    left = size - _COMMENT_BYTES - 2
    while chunk := file.read(min(left, 1 << 20)):
        digest.update(chunk)
        left -= len(chunk)
    expected = comment[len(_LABEL) :].decode("ascii", "replace")
    if digest.hexdigest() != expected:
        raise CheckpointError(
            f"{path} is damaged: its sha256 is {digest.hexdigest()[:12]}..., {expected[:12]}... expected",
            _WAY_OUT,
        )


def _require_harmless(path: Path, file: IO[bytes]) -> None:
    """Raises CheckpointError where unpacking would take more room than the file, or call what we never do."""
    size = file.seek(0, io.SEEK_END)
    hostile = CheckpointError(
        f"{path} is not an archive that tinyedge writes", "do not trust where it is from"
    )
    file.seek(-min(size, _TAIL_BYTES), io.SEEK_END)
    tail = file.read()
    if len(tail) < _TAIL_BYTES:
        raise hostile
    directories = _END.unpack_from(tail, _END64.size + 20)[5], _END64.unpack_from(tail)[8]
    if max(directories) > _MAX_DIRECTORY:
        raise hostile
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            (listing,) = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            unpacked = sum(entry.file_size for entry in entries)
            if not stored or unpacked > size or listing.file_size > _MAX_PICKLE:
                raise hostile
            operations = pickletools.genops(archive.read(listing))
            for number, (operation, argument, _) in enumerate(operations):
                if number > _MAX_OPERATIONS:
                    raise hostile
                if operation.name == "GLOBAL" and argument not in _GLOBALS:
                    called = str(argument).replace(" ", ".")
                    raise CheckpointError(f"{path} would call {called:.80}", "do not trust where it is from")
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError):
        raise hostile from None
