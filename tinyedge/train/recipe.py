"""Named ways to train. A recipe plus the user's flags is a TrainConfig, which every checkpoint carries.

Knows no torch: the commands read it for their help.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinyedge.core.config import flag
from tinyedge.core.errors import UsageError

TRAIN_RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1, 10_000),
    "batch_size": (1, 4096),
    "learning_rate": (1e-6, 1.0),
    "matrix_learning_rate": (0.0, 1.0),
    "weight_decay": (0.0, 10.0),
    "matrix_weight_decay": (0.0, 10.0),
    "stride": (0, 1 << 20),
    "seed": (0, 2**31 - 1),
    "grad_accumulation": (1, 4096),
    "clip_norm": (0.0, 1e6),
    "sampled_pieces": (0, 32_000),
    "segmentation_alpha": (0.0, 10.0),
    "smoothing": (0.0, 1.0),
    "local_heads": (0, 8),
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run computes; two runs with equal ones give equal weights.

    recipe: the name it came from.
    epochs: passes over the training tokens. batch_size: windows a step.
    learning_rate: AdamW's peak. matrix_learning_rate: Muon's, for the blocks' matrices; 0 leaves them to
        AdamW. weight_decay, matrix_weight_decay: of the two, rate x decay x weight a step, never on norms.
    beta1, beta2: AdamW's. warmup_steps: linear, from zero. schedule: "cosine" steps once an epoch (the
        guide's), "linear" falls to zero at every step.
    init_std: standard deviation of the first weights; 0 is torch's own initialization (the guide's).
    stride: tokens between the starts of two windows; 0 means max_seq_length, so that none overlap.
    seed: of weights and data order.
    grad_accumulation: parts that a process computes a step in, one after the other: less memory, same step.
    clip_norm: the gradient's norm is cut to it; 0 leaves it.
    sampled_pieces: how many pieces stand for all infrequent ones in a step's softmax; 0 computes it whole.
    shared_parts: whether pieces of one stem, ending or class share a part of their rows while they are
        learned, as `train.composition` says.
    segmentation_alpha: how the epochs but the last draw their segmentations, as `train.segmentation` says; 0
        takes the likeliest always. smoothing: the share of a target that other tokens of its context get in
        those epochs, as `train.smoothing` says; it falls with the learning rate.
    local_heads: heads of the first block that begin by looking a few tokens back, as `train.start` says.
    """

    recipe: str
    epochs: int
    batch_size: int
    learning_rate: float
    matrix_learning_rate: float
    weight_decay: float
    matrix_weight_decay: float
    beta1: float
    beta2: float
    warmup_steps: int
    schedule: str
    init_std: float
    stride: int = 0
    seed: int = 0
    grad_accumulation: int = 1
    clip_norm: float = 0.0
    sampled_pieces: int = 0
    shared_parts: bool = False
    segmentation_alpha: float = 0.0
    smoothing: float = 0.0
    local_heads: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in TRAIN_RANGES.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise UsageError(f"{flag(name)} {value} is outside {low}-{high}", "pass a value inside")

    def to_dict(self) -> dict[str, Any]:
        """As a plain mapping, for JSON and checkpoints."""
        return dataclasses.asdict(self)

    def rate_factor(self, step: int, steps_per_epoch: int, elapsed: float = 0.0) -> float:
        """What share of the peak learning rates step `step` (from 0) uses: a pure function, no state.

        elapsed: how much of the run's time limit is over, 0 where it has none. The schedule follows whichever
        is further, the steps or the time, so that it ends when either does.
        """
        total = self.epochs * steps_per_epoch
        warmup = min(self.warmup_steps, total // 2)
        rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
        if self.schedule == "cosine":
            progress = max(step // steps_per_epoch / self.epochs, min(elapsed, 1.0))
            return min(rising, (1 + math.cos(math.pi * progress)) / 2)
        progress = max(step / total, min(elapsed, 1.0))
        return min(rising, (1 - progress) / (1 - warmup / total))


# The guide's own settings (its phases 2 and 5), kept as the baseline that every other recipe must beat.
GUIDE = TrainConfig(
    recipe="guide",
    epochs=20,
    batch_size=32,
    learning_rate=3e-4,
    matrix_learning_rate=0.0,
    weight_decay=0.01,
    matrix_weight_decay=0.0,
    beta1=0.9,
    beta2=0.999,
    warmup_steps=0,
    schedule="cosine",
    init_std=0.0,
)

# Muon (Jordan et al., 2024) on the blocks' matrices, AdamW at ten times the guide's rate on the rest. The
# choice of each value is in docs/log.md.
FAST = TrainConfig(
    recipe="fast",
    epochs=10,
    batch_size=16,
    learning_rate=3e-3,
    matrix_learning_rate=0.02,
    weight_decay=1.2,
    matrix_weight_decay=0.1,
    beta1=0.9,
    beta2=0.95,
    warmup_steps=100,
    schedule="linear",
    init_std=0.02,
    sampled_pieces=500,
    shared_parts=True,
    segmentation_alpha=0.5,
    smoothing=0.25,
    local_heads=3,
)

RECIPES = {recipe.recipe: recipe for recipe in (FAST, GUIDE)}


def resolve(recipe: str, flags: Mapping[str, Any]) -> TrainConfig:
    """A recipe with the user's flags over it; flags that are None were not given."""
    if recipe not in RECIPES:
        raise UsageError(f"--recipe {recipe} is unknown", f"choose one of: {', '.join(RECIPES)}")
    return dataclasses.replace(RECIPES[recipe], **{k: v for k, v in flags.items() if v is not None})
