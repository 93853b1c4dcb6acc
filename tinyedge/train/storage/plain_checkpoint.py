"""The training guide's checkpoints: dictionaries that plain `torch.save` wrote.

In: the content of such a file. Out: weights, shape and a summary as in tinyedge's own checkpoints, for
evaluation and export. The shape follows from the weights, except for the number of attention heads: it is in
the dictionary's `config`, or the user gives it. Does not know files.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import CheckpointError, TinyEdgeError

WEIGHTS_KEY = "model_state_dict"  # the guide's
WRAPPERS = ("module.", "_orig_mod.")  # before the names of a model in DataParallel, or a compiled one
SUMMARY_NUMBERS = {"epoch": "epochs", "train_loss": "train_loss", "val_loss": "val_loss"}


@dataclass(frozen=True)
class PlainCheckpoint:
    """A model of a plain checkpoint."""

    weights: dict[str, Tensor]
    """Tensors by the names of TinyTransformer."""

    config: ModelConfig
    """Shape of the model."""

    tokenizer_sha256: str
    """Digest of the tokenizer; "" if the file does not record it."""

    summary: dict[str, Any]
    """Epochs and losses that the file records."""


def convert_plain_checkpoint(path: Path, content: object, nhead: int | None) -> PlainCheckpoint:
    """Find the model in the content of a plain checkpoint.

    Args:
        path: The file, for messages.
        content: A dictionary with WEIGHTS_KEY, or the weights themselves.
        nhead: Attention heads, if the user gave them.

    Raises:
        CheckpointError: The content is of another model, or its shape is unknown or invalid.
    """
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, not a dictionary of weights",
            f'save {{"{WEIGHTS_KEY}": model.state_dict(), ...}}',
        )
    weights = _find_weights(path, content)
    recorded = _read_settings(content)
    heads = recorded.get("nhead", nhead)
    if nhead is not None and heads != nhead:
        raise CheckpointError(f"{path} records nhead {heads!r:.20}, not {nhead}", "omit --nhead")
    if heads is None:
        raise CheckpointError(
            f"{path} does not record its number of attention heads", "pass --nhead (the guide's model has 4)"
        )
    vocab_size, d_model = weights["token_embedding.weight"].shape
    try:
        config = ModelConfig(
            vocab_size=vocab_size,
            d_model=d_model,
            nhead=heads,
            num_layers=len({name.split(".")[1] for name in weights if name.startswith("blocks.")}),
            dim_feedforward=weights["blocks.0.linear1.weight"].shape[0],
            max_seq_length=weights["position_embedding.weight"].shape[0],
        )
    except TinyEdgeError as failure:
        raise CheckpointError(f"{path} is of a model that tinyedge does not run: {failure}") from None
    digest = recorded.get("tokenizer_sha256")
    return PlainCheckpoint(
        weights,
        config,
        digest if isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) else "",
        {
            name: content[key]
            for key, name in SUMMARY_NUMBERS.items()
            if type(content.get(key)) in (int, float) and math.isfinite(content[key])
        },
    )


def _find_weights(path: Path, content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by their names in TinyTransformer, without wrappers' prefixes."""
    found = content.get(WEIGHTS_KEY, content)
    if not isinstance(found, dict) or not found:
        raise CheckpointError(
            f"{path} has no weights under {WEIGHTS_KEY}", f'save {{"{WEIGHTS_KEY}": model.state_dict(), ...}}'
        )
    weights = {_strip_wrappers(str(name)): value for name, value in found.items()}
    needed = ("token_embedding.weight", "position_embedding.weight", "blocks.0.linear1.weight")
    matrices = [weights.get(name) for name in needed]
    if not all(isinstance(value, Tensor) and value.dim() == 2 for value in matrices):
        raise CheckpointError(
            f"{path} is a torch checkpoint of another model: {len(found)} entries such as"
            f" {str(next(iter(found)))!a:.60}, no {needed[0]}",
            "tinyedge reads the weights of its TinyTransformer only; see docs/training.md",
        )
    return weights


def _strip_wrappers(name: str) -> str:
    while any(name.startswith(wrapper) for wrapper in WRAPPERS):
        name = name.partition(".")[2]
    return name


def _read_settings(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the entries of `config`, with those of its section `model`."""
    config = content.get("config")
    if not isinstance(config, dict):
        return {}
    section = config.get("model")
    return {**config, **section} if isinstance(section, dict) else config
