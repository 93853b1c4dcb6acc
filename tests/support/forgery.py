"""Checkpoints as somebody writes them who means harm and knows how to compute a digest."""

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


def content(**changes: Any) -> dict[str, Any]:
    """What a checkpoint of a small model holds, before anyone tampers with it."""
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
    """Bytes with the digest that makes them look whole; a zip's must end without a comment."""
    body = archive[:-2]
    comment = LABEL + hashlib.sha256(body).hexdigest().encode()
    return body + struct.pack("<H", len(comment)) + comment


def forge(content: Any, **options: Any) -> bytes:
    """What `torch.save` makes of any content at all, sealed."""
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return seal(buffer.getvalue())


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of the given entries with the zip64 records that torch writes, sealed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return seal(with_zip64(buffer.getvalue()))


def with_zip64(archive: bytes) -> bytes:
    """A zip with zip64's end record and its locator."""
    head, end = archive[: -END.size], archive[-END.size :]
    _, _, _, here, entries, size, offset, _ = END.unpack(end)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, here, entries, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(head), 1)
    return head + record + locator + END.pack(b"PK\x05\x06", 0, 0, here, entries, size, offset, 0)


class Call:
    """Unpickles to whatever a function returns: the way in of every pickle attack."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call
