"""The trained model that a new run goes on from: `tinyedge train --init-from`.

In: a checkpoint, or the folder of a run. Out: its weights, shape, vocabulary, and the text that its own run
held out. Does not train.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from tinyedge.bundle.manifest import MANIFEST_FILE
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import CheckpointError, CorpusError, TokenizerError, UsageError
from tinyedge.core.run_files import BEST_FILE, FINAL_FILE
from tinyedge.text.shards import FOLDER as SHARDS_FOLDER
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer, model_name
from tinyedge.train.model_id import compute_model_id
from tinyedge.train.storage.checkpoint import load_model, load_tokenizer


@dataclass(frozen=True)
class InitialModel:
    """A trained model, read into memory."""

    path: Path
    """The checkpoint."""

    model_id: str
    """Id of the model."""

    config: ModelConfig
    """Its shape."""

    weights: Mapping[str, Tensor]
    """fp32 tensors by the names of TinyTransformer."""

    tokenizer: Tokenizer
    """The vocabulary that it was trained with."""

    tokenizer_path: Path
    """File of the vocabulary."""

    held_out: Shards | None
    """Token files of the model's own run; None where they are gone."""


def load_initial_model(path: Path, output_dir: Path, nhead: int | None = None) -> InitialModel:
    """Read the model that a run goes on from.

    Args:
        path: A checkpoint, or a run folder, of which its best model is taken.
        output_dir: Folder of the new run.
        nhead: Attention heads, for a plain checkpoint that does not record them.

    Raises:
        CheckpointError: There is no checkpoint, or it cannot be read.
        TokenizerError: Its vocabulary is not next to it.
        UsageError: The new run would replace the checkpoint.
    """
    checkpoint = _find_checkpoint(path)
    if checkpoint.resolve().is_relative_to(output_dir.resolve()):
        raise UsageError(
            f"--init-from {path} is in --output-dir {output_dir}, where the new run would replace it",
            "pass another --output-dir for the new run",
        )
    trained = load_model(checkpoint, nhead)
    try:
        tokenizer = load_tokenizer(checkpoint, trained)
    except (CheckpointError, TokenizerError) as failure:
        raise type(failure)(
            f"--init-from: {failure.message}",
            f"keep the vocabulary that the model was trained with next to it, as in its run folder:"
            f" {model_name(trained.config.vocab_size)}",
        ) from None
    weights = trained.model.state_dict()
    return InitialModel(
        checkpoint,
        compute_model_id(weights, trained.config, tokenizer.sha256),
        trained.config,
        weights,
        tokenizer,
        checkpoint.parent / model_name(trained.config.vocab_size),
        _find_held_out(checkpoint.parent, tokenizer),
    )


def adopt_shape(initial: InitialModel, given: Mapping[str, int]) -> ModelConfig:
    """Return the shape of the initial model.

    Args:
        initial: The model.
        given: The fields of ModelConfig that the user chose, by name.

    Raises:
        UsageError: The user chose another shape.
    """
    shape = dataclasses.asdict(initial.config)
    if different := {name: value for name, value in given.items() if shape[name] != value}:
        listed = "; ".join(
            f"{name} is {shape[name]} there, {value} here" for name, value in different.items()
        )
        raise UsageError(
            f"--init-from {initial.path} is a model of another shape: {listed}",
            "omit these flags: the model keeps its shape",
            tuple(different),
        )
    return initial.config


def _find_checkpoint(path: Path) -> Path:
    """Return the checkpoint at a path: a file, or the best or final model of a run folder."""
    if not path.is_dir():
        return path
    if (path / MANIFEST_FILE).exists():
        raise CheckpointError(
            f"--init-from {path} is a bundle, which has no weights to train on",
            "pass the checkpoint that it was exported from, such as data/best_model.pt",
        )
    for name in (BEST_FILE, FINAL_FILE):
        if (path / name).exists():
            return path / name
    raise CheckpointError(
        f"--init-from {path} has neither {BEST_FILE} nor {FINAL_FILE}",
        "pass a checkpoint, or the folder of a finished run",
    )


def _find_held_out(folder: Path, tokenizer: Tokenizer) -> Shards | None:
    """Return the token files of a run folder, if they are there and of this vocabulary."""
    try:
        shards = Shards.load(folder / SHARDS_FOLDER, tokenizer)
    except CorpusError:
        return None
    return shards if shards.tokenizer_sha256 == tokenizer.sha256 else None
