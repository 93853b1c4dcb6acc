"""Checkpoints: what a run saves, what can be used of it, and which of them a run goes on from.

A checkpoint is an archive (`archive`) of the guide's keys. Names: the best, the final, the last
and the one before it, and the guide's periodic ones.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import CheckpointError, TinyEdgeError, UsageError
from tinyedge.text.tokenizer import Tokenizer, model_name
from tinyedge.train.model import TinyTransformer
from tinyedge.train.state import State
from tinyedge.train.storage import archive
from tinyedge.train.storage.tensor_checks import difference

FORMAT = 1
BEST_FILE, FINAL_FILE = "best_model.pt", "final_model.pt"
LAST_FILE, BEFORE_LAST_FILE = "checkpoint_last.pt", "checkpoint_before_last.pt"
_REQUIRED = ("format", "epoch", "model_state_dict", "train_loss", "val_loss", "config")
_RESUMED = ("state", "optimizer_state_dict", "tables", "rng")  # what a final model has no more
WEIGHT_BYTES = 4  # weights are fp32, whatever matrix products run in
_MAX_VALUES, _MAX_DEPTH = 10_000, 5  # of a config: some hundred, three deep


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
    """Writes a checkpoint atomically. Raises CheckpointError where a tensor holds NaN or infinity."""
    require_finite(f"{path} was not written: it", content)
    with files.atomic_writer(path) as file:
        archive.write(file, {"format": FORMAT, **content})


def save_last(folder: Path, content: Mapping[str, Any]) -> None:
    """Writes the last checkpoint; the one that was, if it is whole, stays beside it under its other name."""
    path = folder / LAST_FILE
    require_finite(f"{path} was not written: it", content)
    with files.atomic_writer(path) as file:
        archive.write(file, {"format": FORMAT, **content})
        if archive.is_whole(path):
            path.replace(folder / BEFORE_LAST_FILE)


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint; nothing of it is executed.

    Raises CheckpointError when the file is missing, damaged, hostile, not one of ours, or of another version.
    """
    content = archive.read(path)
    if not isinstance(content, dict) or repr(content.get("format")) != str(FORMAT):
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path} is a checkpoint of format {found!r:.40}, this version reads {FORMAT}", "train it again"
        )
    missing = [name for name in _REQUIRED if name not in content]
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}", "train it again")
    config = content["config"]
    if not isinstance(config, dict) or not isinstance(config.get("summary"), dict) or not _is_plain(config):
        raise CheckpointError(f"{path} has no usable config", "train it again")
    return content


def load_resumable(path: Path) -> dict[str, Any]:
    """Reads a checkpoint that a run can go on from. Raises CheckpointError."""
    content = load(path)
    if missing := [name for name in _RESUMED if name not in content]:
        raise CheckpointError(
            f"{path} cannot be resumed: it has no {', '.join(missing)}", "start again with --restart"
        )
    return content


def load_model(path: Path) -> TrainedModel:
    """Reads a checkpoint as a model in evaluation mode. Raises CheckpointError."""
    content = load(path)
    config, tokenizer_sha256 = model_config(path, content)
    if (
        _stored_bytes(content["model_state_dict"]) < WEIGHT_BYTES * config.parameters
    ):  # before it takes memory
        raise _mismatch(path, f"its config has {config.parameters:,} weights, the file fewer")
    model = TinyTransformer(config)
    require_weights(path, model, content)
    model.load_state_dict(content["model_state_dict"])
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


def require_weights(path: Path, model: TinyTransformer, content: Mapping[str, Any]) -> None:
    """Raises CheckpointError unless a checkpoint's weights are a model's: names, shapes, types, no NaN."""
    if odd := difference(content["model_state_dict"], model.state_dict()):
        raise _mismatch(path, odd)
    require_finite(str(path), {"model_state_dict": content["model_state_dict"]})


def require_finite(what: str, content: Mapping[str, Any]) -> None:
    """Raises CheckpointError where a tensor, at any depth of a checkpoint's content, has NaN or infinity."""
    for name, value in content.items():
        if isinstance(value, dict):
            require_finite(what, value)
        elif isinstance(value, torch.Tensor) and not torch.isfinite(value).all():
            raise CheckpointError(
                f"{what} has NaN or infinity in {name}",
                "use an earlier checkpoint, or train with a lower --learning-rate",
            )


def resumable(folder: Path) -> list[Path]:
    """Checkpoints that a run can go on from: the last, the one before, the periodic ones from the newest."""
    found = [folder / LAST_FILE, folder / BEFORE_LAST_FILE, *_periodic(folder)]
    return [path for path in found if path.exists()]


def newest(folder: Path, warn: Callable[[str], None]) -> Path:
    """The whole checkpoint that is furthest, the best one as a last resort; `warn` hears of each damaged one.

    Raises CheckpointError when none is there, or none is whole.
    """
    found: list[tuple[int, int, Path]] = []
    failures: list[CheckpointError] = []
    for path in (*resumable(folder), folder / BEST_FILE):
        if path.name == BEST_FILE and (found or not path.exists()):
            continue
        try:
            found.append((*_position(path), path))
        except CheckpointError as failure:
            failures.append(failure)
    if not found:
        failures.append(nothing_to_resume(folder))
        raise failures[0]
    for passed in failures:
        warn(f"warning: {passed.message}; it is passed over")
    return max(found)[2]


def require_same_run(path: Path, content: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Raises UsageError, or CheckpointError for other data, unless a checkpoint's config is that of `run`."""
    for section, mine in run.items():
        saved = content["config"].get(section)
        if saved == mine:
            continue
        if isinstance(saved, dict) and isinstance(mine, dict):
            odd = [f"{k} {saved.get(k)} there, {mine[k]} here" for k in mine if saved.get(k) != mine[k]]
            raise UsageError(
                f"{path} belongs to another run: {'; '.join(odd)}",
                "resume with the flags of that run, or begin again with --restart",
            )
        what = section.removesuffix("_sha256")
        raise CheckpointError(
            f"{path} was trained with another {what} than the one in {path.parent}",
            f"give the {what} that the run began with, or begin again with --restart",
        )


def is_there(folder: Path) -> bool:
    """Whether the folder has any checkpoint, of a run that is finished or not."""
    return bool(resumable(folder)) or any((folder / name).exists() for name in (BEST_FILE, FINAL_FILE))


def nothing_to_resume(folder: Path) -> CheckpointError:
    """For a folder without any checkpoint."""
    return CheckpointError(f"{folder} has no checkpoint to resume from", "leave --resume out to begin")


def keep_newest(folder: Path, count: int) -> None:
    """Removes all but the newest `count` periodic checkpoints."""
    for path in _periodic(folder)[count:]:
        path.unlink()


def clean(folder: Path) -> None:
    """Removes what only an unfinished run needs, and what a killed one left half-written."""
    left = (f".checkpoint_*.pt{files.TEMPORARY_SUFFIX}", f".*_model.pt{files.TEMPORARY_SUFFIX}")
    for pattern in (LAST_FILE, BEFORE_LAST_FILE, *left):
        for path in folder.glob(pattern):
            path.unlink()


def _position(path: Path) -> tuple[int, int]:
    """Epoch and step of a checkpoint. Raises CheckpointError where it has none."""
    try:
        state = State.from_dict(load_resumable(path)["state"])
    except ValueError as failure:
        raise CheckpointError(f"{path} cannot be resumed: {failure}", "use another checkpoint") from None
    return state.epoch, state.step


def _mismatch(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path} does not hold this model, size mismatch: {what}",
        "--vocab-size, --d-model and the rest of its shape must be those that it was trained with",
    )


def _stored_bytes(weights: object) -> int:
    """What a mapping's tensors take, those that share their memory once."""
    tensors = weights.values() if isinstance(weights, dict) else ()
    storages = [value.untyped_storage() for value in tensors if isinstance(value, torch.Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def _periodic(folder: Path) -> list[Path]:
    """The guide's periodic checkpoints, the newest first."""
    found = [
        (int(match[1]), path)
        for path in folder.glob("checkpoint_epoch_*.pt")
        if (match := re.fullmatch(r"checkpoint_epoch_(\d+)\.pt", path.name))
    ]
    return [path for _, path in sorted(found, reverse=True)]


def _is_plain(value: Any) -> bool:
    """Whether a value is JSON of a size that a config may have."""
    waiting, seen = [(value, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if seen > _MAX_VALUES or depth > _MAX_DEPTH:
            return False
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            waiting += [(each, depth + 1) for each in value.values()]
        elif isinstance(value, list):
            waiting += [(each, depth + 1) for each in value]
        elif not isinstance(value, str | int | float | None):
            return False
    return True
