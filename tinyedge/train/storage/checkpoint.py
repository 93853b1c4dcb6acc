"""Checkpoints: writing, reading and validating them, and choosing the one that a run resumes from.

In: the guide's keys and the state of a run. Out: archives (`archive`) in the run folder: the best, the final,
the last and the one before it, and the guide's periodic checkpoints. Does not know the training loop.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import CheckpointError, TinyEdgeError, TokenizerError, UsageError
from tinyedge.core.run_files import BEFORE_LAST_FILE as BEFORE_LAST_FILE
from tinyedge.core.run_files import BEST_FILE as BEST_FILE
from tinyedge.core.run_files import FINAL_FILE as FINAL_FILE
from tinyedge.core.run_files import LAST_FILE as LAST_FILE
from tinyedge.core.run_files import has_teachers, list_periodic
from tinyedge.core.run_files import list_resumable as list_resumable
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer, model_name
from tinyedge.train.model import TinyTransformer
from tinyedge.train.recipe import TrainConfig
from tinyedge.train.state import State
from tinyedge.train.storage import archive
from tinyedge.train.storage.plain_checkpoint import convert_plain_checkpoint
from tinyedge.train.storage.tensor_checks import find_mismatch

FORMAT = 1
_REQUIRED = ("format", "epoch", "model_state_dict", "train_loss", "val_loss", "config")
_RESUMED = ("state", "optimizer_state_dict", "tables", "rng")  # best and final models lack some of them
WEIGHT_BYTES = 4  # weights are fp32, whatever matrix products are computed in
_MAX_VALUES, _MAX_DEPTH = 10_000, 5  # of a config, which has some hundred values, three levels deep


@dataclass(frozen=True)
class TrainedModel:
    """A model read from a checkpoint, ready for use."""

    model: TinyTransformer
    """The model, in evaluation mode."""

    config: ModelConfig
    """Its shape."""

    tokenizer_sha256: str
    """Digest of the tokenizer that it was trained with; "" if the checkpoint does not record it."""

    training: dict[str, Any]
    """Summary of the run, JSON-able."""

    sha256: str
    """Digest of the checkpoint file."""


def epoch_file_name(epoch: int) -> str:
    """Return the guide's name for a periodic checkpoint."""
    return f"checkpoint_epoch_{epoch}.pt"


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically.

    Raises:
        CheckpointError: A tensor contains NaN or infinity.
    """
    require_finite(f"{path} was not written: it", content)
    with files.atomic_writer(path) as file:
        archive.write(file, {"format": FORMAT, **content})


def save_last(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the last checkpoint. The previous one, if undamaged, is kept as BEFORE_LAST_FILE.

    Raises:
        CheckpointError: A tensor contains NaN or infinity.
    """
    path = folder / LAST_FILE
    require_finite(f"{path} was not written: it", content)
    with files.atomic_writer(path) as file:
        archive.write(file, {"format": FORMAT, **content})
        if archive.is_intact(path):
            path.replace(folder / BEFORE_LAST_FILE)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint, without executing anything in it.

    Raises:
        CheckpointError: The file is missing, damaged, malicious, incomplete or of another format version.
    """
    content = archive.read(path)
    _require_format(path, content)
    return content  # type: ignore[no-any-return]


def _require_format(path: Path, content: Any) -> None:
    """Raise CheckpointError unless the content of a file is a complete checkpoint of this version."""
    if not isinstance(content, dict) or repr(content.get("format")) != str(FORMAT):
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{path} is a checkpoint of format {found!r:.40}, this version reads {FORMAT}",
            "train the model again",
        )
    missing = [name for name in _REQUIRED if name not in content]
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}", "train the model again")
    config = content["config"]
    if (
        not isinstance(config, dict)
        or not isinstance(config.get("summary"), dict)
        or not _is_plain_json(config)
    ):
        raise CheckpointError(f"{path} has no valid config", "train the model again")


def load_resumable(path: Path) -> dict[str, Any]:
    """Read a checkpoint that a run can resume from.

    Raises:
        CheckpointError: As for `load`, or the state of the run is missing.
    """
    content = load(path)
    if missing := [name for name in _RESUMED if name not in content]:
        raise CheckpointError(
            f"{path} cannot be resumed: it has no {', '.join(missing)}", "start a new run with --restart"
        )
    return content


def load_model(path: Path, nhead: int | None = None) -> TrainedModel:
    """Read a checkpoint as a model in evaluation mode.

    Args:
        path: A checkpoint of tinyedge, or a dictionary that plain torch.save wrote, as in the guide.
        nhead: Attention heads, for a plain dictionary that does not record them.

    Raises:
        CheckpointError: As for `load`, or the weights do not match the config.
    """
    content, is_sealed = archive.read_any(path)
    if is_sealed:
        _require_format(path, content)
        config, tokenizer_sha256 = read_model_config(path, content)
        if nhead not in (None, config.nhead):
            raise CheckpointError(f"{path} records nhead {config.nhead}, not {nhead}", "omit --nhead")
        summary = content["config"]["summary"]
    else:
        plain = convert_plain_checkpoint(path, content, nhead)
        config, tokenizer_sha256, summary = plain.config, plain.tokenizer_sha256, plain.summary
        content = {"model_state_dict": plain.weights}
    stored_bytes = _count_stored_bytes(content["model_state_dict"])
    if stored_bytes < WEIGHT_BYTES * config.parameters:  # checked before the model is allocated
        raise _mismatch_error(path, f"its config has {config.parameters:,} weights, the file fewer")
    model = TinyTransformer(config)
    require_weights(path, model, content)
    model.load_state_dict(content["model_state_dict"])
    return TrainedModel(
        model.eval(),
        config,
        tokenizer_sha256,
        summary,
        files.sha256_file(path),
    )


def load_tokenizer(path: Path, trained: TrainedModel, override: Path | None = None) -> Tokenizer:
    """Load the tokenizer that a checkpoint was trained with.

    Args:
        path: The checkpoint file.
        trained: What `load_model` returned for it.
        override: Tokenizer file; by default the one next to the checkpoint.

    Raises:
        CheckpointError: The tokenizer is not the one that the checkpoint names, or has another size.
        TokenizerError: The file is missing or not a tokenizer.
    """
    file = override or path.parent / model_name(trained.config.vocab_size)
    files.require_file(file, TokenizerError, "pass the tokenizer of that run with --tokenizer")
    tokenizer = Tokenizer.load(file)
    if not trained.tokenizer_sha256 and tokenizer.vocab_size != trained.config.vocab_size:
        raise CheckpointError(
            f"{file} has {tokenizer.vocab_size} pieces, the model of {path} has {trained.config.vocab_size}",
            "pass the tokenizer of that run with --tokenizer",
        )
    if trained.tokenizer_sha256 and tokenizer.sha256 != trained.tokenizer_sha256:
        raise CheckpointError(
            f"{file} has sha256 {tokenizer.sha256[:12]}..., but {path} was trained with"
            f" {trained.tokenizer_sha256[:12]}...",
            "pass the tokenizer of that run with --tokenizer",
        )
    return tokenizer


def read_model_config(path: Path, content: Mapping[str, Any]) -> tuple[ModelConfig, str]:
    """Return the shape of a checkpoint's model and the sha256 of its tokenizer.

    Raises:
        CheckpointError: They are missing or invalid.
    """
    try:
        return ModelConfig.from_dict(content["config"]["model"]), str(content["config"]["tokenizer_sha256"])
    except (KeyError, TypeError, TinyEdgeError) as failure:
        raise CheckpointError(f"{path} has no valid config: {failure}", "train the model again") from None


def require_weights(path: Path, model: TinyTransformer, content: Mapping[str, Any]) -> None:
    """Check that a checkpoint's weights have the names, shapes and types of a model's, and are finite.

    Raises:
        CheckpointError: They do not.
    """
    if mismatch := find_mismatch(content["model_state_dict"], model.state_dict()):
        raise _mismatch_error(path, mismatch)
    require_finite(str(path), {"model_state_dict": content["model_state_dict"]})


def require_finite(what: str, content: Mapping[str, Any]) -> None:
    """Check that no tensor at any depth of a checkpoint's content contains NaN or infinity.

    Args:
        what: Subject of the error message.
        content: Content of the checkpoint.

    Raises:
        CheckpointError: A tensor does.
    """
    for name, value in content.items():
        if isinstance(value, dict):
            require_finite(what, value)
        elif isinstance(value, torch.Tensor) and not torch.isfinite(value).all():
            raise CheckpointError(
                f"{what} has NaN or infinity in {name}",
                "use an earlier checkpoint, or train with a lower --learning-rate",
            )


def find_newest(folder: Path, warn: Callable[[str], None]) -> Path:
    """Return the valid checkpoint with the most steps.

    Args:
        folder: Run folder.
        warn: Receives a message for each damaged checkpoint.

    Raises:
        CheckpointError: There is no checkpoint, or all are damaged.
    """
    found: list[tuple[int, int, Path]] = []
    failures: list[CheckpointError] = []
    for path in list_resumable(folder):
        try:
            found.append((*_read_position(path), path))
        except CheckpointError as failure:
            failures.append(failure)
    if not found:
        failures.append(no_checkpoint_error(folder))
        raise failures[0]
    for skipped in failures:
        warn(f"warning: {skipped.message}; it is skipped")
    return max(found)[2]


def describe_run(
    model: ModelConfig, training: TrainConfig, shards: Shards, tokenizer: Tokenizer
) -> dict[str, Any]:
    """Return what determines the weights of a run. A checkpoint can be resumed only if its own is equal."""
    return {
        "corpus_sha256": shards.corpus_sha256,  # first: with other text the tokenizer differs too
        "model": model.to_dict(),
        "training": training.to_dict(),
        "tokenizer_sha256": tokenizer.sha256,
    }


def require_same_run(path: Path, content: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Check that a checkpoint belongs to a run.

    Args:
        path: The checkpoint file.
        content: What `load` returned for it.
        run: What `describe_run` returns for the run.

    Raises:
        UsageError: Settings differ.
        CheckpointError: Corpus or tokenizer differ.
    """
    for section, wanted in run.items():
        saved = content["config"].get(section)
        if saved == wanted:
            continue
        if isinstance(saved, dict) and isinstance(wanted, dict):
            names = [name for name in {**wanted, **saved} if saved.get(name) != wanted.get(name)]
            differences = [
                f"{name} is {saved.get(name, 'off')} there, {wanted.get(name, 'off')} here" for name in names
            ]
            raise UsageError(
                f"{path} belongs to another run: {'; '.join(differences)}",
                "resume with the flags of that run, or start a new run with --restart",
                names,
            )
        if section == "corpus_sha256":
            raise CheckpointError(
                f"{path} was trained on another text: --input, --source or the files there have changed",
                "omit --input and --source to continue on the text of that run, or start a new run with"
                " --restart",
            )
        raise CheckpointError(
            f"{path} was trained with another tokenizer than the one in {path.parent}",
            "use the tokenizer of that run, or start a new run with --restart",
        )


def has_checkpoint(folder: Path) -> bool:
    """Whether the folder has any checkpoint, of a finished or an unfinished run."""
    has_model = any((folder / name).exists() for name in (BEST_FILE, FINAL_FILE))
    return has_model or bool(list_resumable(folder)) or has_teachers(folder)


def no_checkpoint_error(folder: Path) -> CheckpointError:
    """Return the error for a folder without any checkpoint."""
    return CheckpointError(f"{folder} has no checkpoint to resume from", "omit --resume to start a new run")


def remove_old_periodic(folder: Path, keep: int) -> None:
    """Remove all except the newest `keep` periodic checkpoints."""
    for path in list_periodic(folder)[keep:]:
        path.unlink()


def remove_resume_files(folder: Path) -> None:
    """Remove what only an unfinished run needs, and incomplete files of a killed one."""
    incomplete = (f".checkpoint_*.pt{files.TEMPORARY_SUFFIX}", f".*_model.pt{files.TEMPORARY_SUFFIX}")
    for pattern in (LAST_FILE, BEFORE_LAST_FILE, *incomplete):
        for path in folder.glob(pattern):
            path.unlink()


def _read_position(path: Path) -> tuple[int, int]:
    """Return epoch and step of a checkpoint. Raise CheckpointError if it cannot be resumed."""
    try:
        state = State.from_dict(load_resumable(path)["state"])
    except ValueError as failure:
        raise CheckpointError(f"{path} cannot be resumed: {failure}", "use another checkpoint") from None
    return state.epoch, state.step


def _mismatch_error(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path} does not contain this model, size mismatch: {what}",
        "pass the --vocab-size, --d-model and other shape flags that it was trained with",
    )


def _count_stored_bytes(weights: object) -> int:
    """Return the memory of a mapping's tensors. Memory that several tensors share counts once."""
    tensors = weights.values() if isinstance(weights, dict) else ()
    storages = [value.untyped_storage() for value in tensors if isinstance(value, torch.Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def _is_plain_json(value: Any) -> bool:
    """Whether a value is JSON within the size limits of a config."""
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
