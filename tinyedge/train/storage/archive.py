"""A torch archive with its own sha256, whose pickle is inspected before torch unpickles it.

In: plain values and tensors. Out: a `.pt` file that plain torch can read, and the values again. Files that
plain torch.save wrote are read in the same way, without the digest.

torch ignores the zip's checksums, so that a flipped bit would load as a weight. The sha256 of everything
before it is therefore stored in the zip's comment, which other readers of `.pt` files ignore. A digest
detects damage, but an attacker can compute one. So the unpacked size and the names that the pickle calls are
checked before torch loads the file: `weights_only` executes no code, but it lets `bytearray` allocate
gigabytes.

Two readers can find different records in one zip: torch ignores the case of names, follows another record to
the directory than Python's zipfile, and reads a file that does not start as a zip as a bare pickle. So torch
never sees the file itself. It reads a copy in memory that contains only the records that were checked.
"""

import hashlib
import io
import pickletools
import shutil
import struct
import sys
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from tinyedge.core import files
from tinyedge.core.errors import CheckpointError
from tinyedge.core.runs import PREVIOUS_FOLDER

_LABEL = b"tinyedge-sha256:"
_COMMENT_BYTES = len(_LABEL) + 64
_END = struct.Struct("<4s4H2LH")  # zip's end record: its fifth value is the directory's size
_END64 = struct.Struct("<4sQ2H2L4Q")  # zip64's: its ninth
_LOCATOR_BYTES = 20  # zip64's record between the two
_START_MARK, _END_MARK = b"PK\x03\x04", b"PK\x05\x06"
_MAX_BYTES = 4 << 30  # the largest model with its optimizer state is under 1 GB
_MAX_DIRECTORY, _MAX_PICKLE, _MAX_OPERATIONS = 1 << 20, 8 << 20, 1_000_000  # 10,000 epochs need half of each
_STORAGES = ("Bool", "Byte", "Int", "Long", "Half", "BFloat16", "Float", "Double")
_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {kind}Storage" for kind in _STORAGES),
}
# Other operations that import a name. torch.save does not write them.
_IMPORTS = {"STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"}
_RECORDS = ("version", "byteorder")  # of an archive, next to `data.pkl` and `data/0`, `data/1`, ...
_HINT = "copy it again, or use an earlier checkpoint"
_DISTRUST = "do not trust the source of this file"
_SAVE_DICTIONARY = (
    'save a dictionary with torch: torch.save({"model_state_dict": model.state_dict(), ...}, FILE)'
)
_LEGACY_START = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # torch's magic number, pickled


def write(file: IO[bytes], content: dict[str, Any]) -> None:
    """Write plain values and tensors, followed by their digest."""
    buffer = io.BytesIO()
    torch.save(_copy_plain(content), buffer)
    with buffer.getbuffer() as archive, archive[:-2] as body:  # without the length of the empty comment
        file.write(body)
        digest = hashlib.sha256(body).hexdigest()
    file.write(struct.pack("<H", _COMMENT_BYTES) + _LABEL + digest.encode())


def _copy_plain(value: Any) -> Any:
    """Copy dictionaries and lists, and make equal strings one object.

    A pickle refers to objects that it has already: without this, values that were read from a checkpoint
    would give other bytes than equal values that were computed.
    """
    if type(value) is dict:
        return {_copy_plain(key): _copy_plain(part) for key, part in value.items()}
    if type(value) is list:
        return [_copy_plain(part) for part in value]
    return sys.intern(value) if type(value) is str else value


def read(path: Path) -> Any:
    """Read an archive that tinyedge wrote, without executing anything in it.

    Raises:
        CheckpointError: The file is missing, damaged, malicious or of another program.
    """
    content, is_sealed = read_any(path)
    if not is_sealed:
        raise CheckpointError(
            f"{path} is a plain torch.save checkpoint, which was not written by tinyedge",
            "tinyedge eval and tinyedge export read it; a training run cannot continue from it",
        )
    return content


def read_any(path: Path) -> tuple[Any, bool]:
    """Read an archive of tinyedge, or one of plain torch.save, without executing anything in it.

    Returns:
        The content, and whether the archive has tinyedge's digest. Without a digest, only the checksums of
        the zip detect damage.

    Raises:
        CheckpointError: The file is missing, damaged, malicious or of another program.
    """
    hint = "train a model with: tinyedge train"
    if (path.parent / PREVIOUS_FOLDER).is_dir():
        hint += f"; finished runs of this folder are in {path.parent / PREVIOUS_FOLDER}"
    files.require_file(path, CheckpointError, hint)
    with path.open("rb") as file:
        is_sealed = not _is_plain_archive(file)
        if is_sealed:
            _require_intact(path, file)
        checked = _copy_checked_records(path, file, _COMMENT_BYTES if is_sealed else 0)
    try:
        with warnings.catch_warnings():  # the error has all that torch would warn of
            warnings.simplefilter("ignore")
            return torch.load(checked, map_location="cpu", weights_only=True), is_sealed
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
        raise _describe_foreign(path, file)
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


def _is_plain_archive(file: IO[bytes]) -> bool:
    """Whether a file starts and ends as a zip without a comment. That of tinyedge has its digest there."""
    size = file.seek(0, io.SEEK_END)
    if size < _END.size:
        return False
    file.seek(-_END.size, io.SEEK_END)
    mark, *_, comment_bytes = _END.unpack(file.read())
    file.seek(0)
    return mark == _END_MARK and comment_bytes == 0 and file.read(len(_START_MARK)) == _START_MARK


def _describe_foreign(path: Path, file: IO[bytes]) -> CheckpointError:
    """Return the error for a file that has no digest and is no plain archive either: what it is."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    start = file.read(32)
    header_bytes = int.from_bytes(start[:8], "little")
    if start.startswith(_LEGACY_START):
        return CheckpointError(
            f"{path} is in torch's legacy format and was not written by tinyedge",
            "if you trust its source, save it again: torch.save(torch.load(FILE, weights_only=True), NEW)",
        )
    if start[:1] == b"\x80":
        return CheckpointError(
            f"{path} is a Python pickle, not a checkpoint, and was not written by tinyedge", _SAVE_DICTIONARY
        )
    if start.startswith(b"GGUF") or (start[8:9] == b"{" and 0 < header_bytes < size):
        name = "GGUF" if start.startswith(b"GGUF") else "safetensors"
        return CheckpointError(
            f"{path} is a {name} file, not a checkpoint, and was not written by tinyedge", _SAVE_DICTIONARY
        )
    return CheckpointError(f"{path} is truncated or was not written by tinyedge", _HINT)


def _copy_checked_records(path: Path, file: IO[bytes], comment_bytes: int) -> IO[bytes]:
    """Copy the records of an archive that were checked to a new archive in memory.

    Args:
        path: Path of the file, for messages.
        file: The open file.
        comment_bytes: Length of the zip's comment.

    Raises:
        CheckpointError: The archive unpacks to more than its size, calls unexpected functions, or is of
            another program.
    """
    malicious = CheckpointError(f"{path} is not an archive that tinyedge writes", _DISTRUST)
    size = file.seek(0, io.SEEK_END)
    if size > _MAX_BYTES:
        raise CheckpointError(f"{path} has {size} bytes, more than any tinyedge checkpoint")
    file.seek(0)
    if file.read(len(_START_MARK)) != _START_MARK or (
        _read_directory_size(file, comment_bytes) > _MAX_DIRECTORY
    ):
        raise malicious
    copy = io.BytesIO()
    try:
        with zipfile.ZipFile(file) as archive, zipfile.ZipFile(copy, "w") as checked:
            entries = archive.infolist()
            names = {entry.filename for entry in entries}
            if not comment_bytes and (kind := _find_other_kind(names)):
                raise CheckpointError(f"{path} is {kind}, not a checkpoint", _SAVE_DICTIONARY)
            (listing,) = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise malicious
            if len(names) < len(entries) or sum(entry.file_size for entry in entries) > size:
                raise malicious
            if listing.file_size > _MAX_PICKLE:
                raise malicious
            folder = listing.filename.removesuffix("data.pkl")
            content = archive.read(listing)
            _require_known_calls(path, content, malicious)
            checked.writestr("archive/data.pkl", content)
            for entry in entries:
                name = entry.filename.removeprefix(folder)
                if entry.filename == folder + name and (name in _RECORDS or name.startswith("data/")):
                    with archive.open(entry) as source, checked.open(f"archive/{name}", "w") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
    except zipfile.BadZipFile as failure:
        if not comment_bytes and "CRC" in str(failure):
            raise CheckpointError(f"{path} is damaged: {failure}", _HINT) from None
        raise malicious from None
    except (ValueError, OSError, NotImplementedError, RuntimeError, EOFError):
        raise malicious from None
    copy.seek(0)
    return copy


def _read_directory_size(file: IO[bytes], comment_bytes: int) -> int:
    """Return the size of a zip's directory, the largest that its end records name; as large as it gets."""
    tail_bytes = _END64.size + _LOCATOR_BYTES + _END.size + comment_bytes
    size = file.seek(0, io.SEEK_END)
    file.seek(-min(size, tail_bytes), io.SEEK_END)
    tail = file.read().rjust(tail_bytes, b"\0")
    mark, *_, directory, _, _ = _END.unpack_from(tail, _END64.size + _LOCATOR_BYTES)
    if mark != _END_MARK:
        return _MAX_BYTES
    mark64, *_, directory64, _ = _END64.unpack_from(tail)
    return max(directory if directory < 0xFFFFFFFF else 0, directory64 if mark64 == b"PK\x06\x06" else 0)


def _find_other_kind(names: set[str]) -> str:
    """Return what a zip is that torch.save did not write, or ""."""
    if any(name.endswith("/constants.pkl") for name in names):
        return "a TorchScript program"
    return "" if any(name.endswith("/data.pkl") for name in names) else "a zip file"


def _require_known_calls(path: Path, content: bytes, malicious: CheckpointError) -> None:
    """Raise CheckpointError if a pickle calls anything but what rebuilds tensors, or is too long."""
    for number, (operation, argument, _) in enumerate(pickletools.genops(content)):
        if number > _MAX_OPERATIONS or operation.name in _IMPORTS:
            raise malicious
        if operation.name == "GLOBAL" and argument not in _GLOBALS:
            called = str(argument).replace(" ", ".")
            raise CheckpointError(
                f"{path} would call {called:.80}",
                f"{_DISTRUST}; if it is your own, it must hold only dictionaries, lists, text, plain numbers"
                " and tensors",
            )
