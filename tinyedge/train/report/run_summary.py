"""Facts about a run that go into its checkpoints and into the bundles made from them.

In: the run's configuration, state and data. Out: a plain mapping. It has no times: equal runs write equal
files, and times are in training_metrics.json.
"""

from collections.abc import Mapping
from typing import Any

from tinyedge import __version__
from tinyedge.text.shards import Shards
from tinyedge.train.recipe import TrainConfig
from tinyedge.train.state import State


def summarize(config: TrainConfig, state: State, shards: Shards, precision: str) -> dict[str, Any]:
    """Return the summary of a run after its last finished epoch."""
    last: Mapping[str, Any] = state.history[-1] if state.history else {}
    return {
        "recipe": config.recipe,
        "epochs": state.epoch,
        "train_tokens": shards.train_tokens,
        "train_loss": last.get("train_loss"),
        "val_loss": last.get("val_loss"),
        "val_bits_per_byte": last.get("val_bits_per_byte", {}),
        "held_out": shards.held_out,
        **({"chat": {"template": shards.template, "turns": shards.turns}} if shards.template else {}),
        **({"init_from": config.init_from} if config.init_from else {}),
        "seed": config.seed,
        "precision": precision,
        "tinyedge": __version__,
    }
