"""Checkpoints: a torch zip archive that carries its own sha256 and loads with `weights_only=True`.

torch skips the archive's checksums, so a flipped bit would load as a weight. The digest of everything before
it stands in the zip's own comment, where any reader of `.pt` files ignores it.
"""

import hashlib
import io
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tinyedge import files
from tinyedge.config import ModelConfig
from tinyedge.errors import CheckpointError, TinyEdgeError
from tinyedge.tokenizer import Tokenizer, model_name
from tinyedge.train.model import TinyTransformer

FORMAT = 1
BEST_FILE, FINAL_FILE, LAST_FILE = "best_model.pt", "final_model.pt", "checkpoint_last.pt"
_LABEL = b"tinyedge-sha256:"
_COMMENT_BYTES = len(_LABEL) + 64
_MAX_BYTES = 4 << 30  # the largest shape with optimizer state is under 1 GB
_REQUIRED = ("format", "epoch", "model_state_dict", "train_loss", "val_loss", "config")


@dataclass(frozen=True)
class TrainedModel:
    """A model ready to be used.

    training: the run's summary, JSON-able. sha256: of the checkpoint file.
    """

    model: TinyTransformer
    config: ModelConfig
    tokenizer_sha256: str
    training: dict[str, Any]
    sha256: str


def epoch_file(epoch: int) -> str:
    """The guide's name for a periodic checkpoint."""
    return f"checkpoint_epoch_{epoch}.pt"


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a checkpoint atomically, its digest inside."""
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    archive = buffer.getvalue()
    body = archive[:-2]  # the last two bytes are the zip comment's length, zero so far
    comment = _LABEL + hashlib.sha256(body).hexdigest().encode()
    files.write_bytes(path, body + struct.pack("<H", _COMMENT_BYTES) + comment)


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint; nothing of it is executed.

    Raises CheckpointError when the file is missing, damaged, not one of ours, or of another version.
    """
    files.require_file(path, CheckpointError, "train a model with: tinyedge train")
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise CheckpointError(f"{path} has {size} bytes, more than any tinyedge checkpoint")
    data = path.read_bytes()
    _verify(path, data)
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
    ) as failure:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint ({type(failure).__name__})",
            "use another",
        ) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path} is a checkpoint of format {found!r}, this version reads {FORMAT}", "train it again"
        )
    missing = [name for name in _REQUIRED if name not in content]
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}", "train it again")
    if not isinstance(content["config"], dict) or not isinstance(content["config"].get("summary"), dict):
        raise CheckpointError(f"{path} has no usable config", "train it again")
    return content


def load_model(path: Path) -> TrainedModel:
    """Reads a checkpoint as a model in evaluation mode. Raises CheckpointError."""
    content = load(path)
    config, tokenizer_sha256 = model_config(path, content)
    model = TinyTransformer(config)
    restore_weights(path, model, content)
    return TrainedModel(
        model.eval(),
        config,
        tokenizer_sha256,
        content["config"]["summary"],
        files.sha256_file(path),
    )


def tokenizer_beside(path: Path, trained: TrainedModel, override: Path | None = None) -> Tokenizer:
    """The tokenizer that a checkpoint was trained with: the file beside it, or `override`.

    Raises CheckpointError when it is another one than the checkpoint names, TokenizerError when it is none.
    """
    file = override or path.parent / model_name(trained.config.vocab_size)
    tokenizer = Tokenizer.load(file)
    if tokenizer.sha256 != trained.tokenizer_sha256:
        raise CheckpointError(
            f"{file} has sha256 {tokenizer.sha256[:12]}..., {path} was trained with"
            f" {trained.tokenizer_sha256[:12]}...",
            "pass the tokenizer of that run with --tokenizer",
        )
    return tokenizer


def model_config(path: Path, content: Mapping[str, Any]) -> tuple[ModelConfig, str]:
    """The model's shape and its tokenizer's sha256. Raises CheckpointError."""
    try:
        return ModelConfig.from_dict(content["config"]["model"]), str(content["config"]["tokenizer_sha256"])
    except (KeyError, TypeError, TinyEdgeError) as failure:
        raise CheckpointError(f"{path} has no usable config: {failure}", "train it again") from None


def restore_weights(path: Path, model: TinyTransformer, content: Mapping[str, Any]) -> None:
    """Puts a checkpoint's weights into a model. Raises CheckpointError where a shape or a value is wrong."""
    state = content["model_state_dict"]
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as failure:
        line = str(failure).splitlines()[-1].strip()
        raise CheckpointError(f"{path} does not hold this model: {line}", "check its config") from None
    for name, value in model.state_dict().items():
        if not torch.isfinite(value).all():
            raise CheckpointError(f"{path} has NaN or infinity in {name}", "use an earlier checkpoint")


def resumable(folder: Path) -> list[Path]:
    """Checkpoints that a run can go on from, the newest first (by what their names say, then by time)."""
    periodic = [
        (int(match[1]), path.stat().st_mtime_ns, path)
        for path in folder.glob("checkpoint_epoch_*.pt")
        if (match := re.fullmatch(r"checkpoint_epoch_(\d+)\.pt", path.name))
    ]
    last = folder / LAST_FILE
    ordered = [path for _, _, path in sorted(periodic, reverse=True)]
    return [last, *ordered] if last.exists() else ordered


def _verify(path: Path, data: bytes) -> None:
    comment = data[-_COMMENT_BYTES:]
    if not comment.startswith(_LABEL):
        raise CheckpointError(
            f"{path} is cut short or was not written by tinyedge",
            "copy it again, or use an earlier checkpoint",
        )
    expected = comment[len(_LABEL) :].decode("ascii", "replace")
    found = hashlib.sha256(memoryview(data)[: -_COMMENT_BYTES - 2]).hexdigest()
    if found != expected:
        raise CheckpointError(
            f"{path} is damaged: its sha256 is {found[:12]}..., {expected[:12]}... expected",
            "copy it again, or use an earlier checkpoint",
        )
