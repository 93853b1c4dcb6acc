"""Checkpoints as a malicious person writes them who knows how to compute a digest."""

import hashlib
import io
import struct
import zipfile
from typing import Any

from tinyedge.core.config import ModelConfig

SMALL = ModelConfig(
    vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
)
LABEL = b"tinyedge-sha256:"
END = struct.Struct("<4s4H2LH")  # zip's end record


def make_content(**changes: Any) -> dict[str, Any]:
    """Return the content of a small model's checkpoint, with changes."""
    from tinyedge.train.model import TinyTransformer
    from tinyedge.train.storage.checkpoint import FORMAT

    value = {
        "format": FORMAT,
        "epoch": 1,
        "model_state_dict": TinyTransformer(SMALL).state_dict(),
        "train_loss": 5.0,
        "val_loss": 5.0,
        "config": {"model": SMALL.to_dict(), "tokenizer_sha256": "0" * 64, "summary": {"epochs": 1}},
    }
    return value | changes


def seal(archive: bytes) -> bytes:
    """Add the digest that makes bytes look intact. A zip must end without a comment."""
    body = archive[:-2]
    comment = LABEL + hashlib.sha256(body).hexdigest().encode()
    return body + struct.pack("<H", len(comment)) + comment


def forge(content: Any, **options: Any) -> bytes:
    """Save any content with `torch.save`, and seal it."""
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return seal(buffer.getvalue())


def forge_zip(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Make a sealed zip of the given entries, with the zip64 records that torch writes."""
    return seal(add_zip64_records(make_zip(entries, compression=compression)))


def make_zip(entries: dict[str, bytes], before: bytes = b"", compression: int = zipfile.ZIP_STORED) -> bytes:
    """Make a zip of the given entries, after other bytes."""
    buffer = io.BytesIO(before)
    buffer.seek(len(before))
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def add_zip64_records(archive: bytes) -> bytes:
    """Add zip64's end record and its locator to a zip."""
    head, end = archive[: -END.size], archive[-END.size :]
    _, _, _, here, entries, size, offset, _ = END.unpack(end)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, here, entries, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(head), 1)
    return head + record + locator + END.pack(b"PK\x05\x06", 0, 0, here, entries, size, offset, 0)


class PickledCall:
    """Unpickles to the result of a function call, as all pickle attacks do."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call
