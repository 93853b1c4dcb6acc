"""Recipes: named training settings. A recipe with the user's values is a TrainConfig, as checkpoints contain.

Does not know torch, because the commands read it for their help.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinyedge.core.errors import UsageError
from tinyedge.core.settings import check_settings, get_ranges, require_choice, setting

AUGMENTED_SHARE = 0.88  # of the run; the rest uses the segmentation that text is evaluated with
TEACHER_EPOCHS = 0.4  # of the run's epochs: a larger model learns in fewer
BATCH_CONTEXT = 128  # tokens in each of a recipe's windows
MAX_AUGMENTED_TOKENS = 2_000_000  # in memory, drawn again each epoch; a larger corpus does not need it


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that determines what a run computes: two runs with equal settings produce equal weights.

    Fields without a command-line flag are set by the recipe alone.

    Raises:
        UsageError: A value is outside its range; the message names the parameter.
    """

    recipe: str
    """Name of the recipe that the settings come from."""
    epochs: int = setting(low=1, high=10_000, section="Training", help="Passes over the training text.")
    """Passes over the training tokens."""
    batch_size: int = setting(
        low=1,
        high=4096,
        section="Training",
        help="Windows of text in a step; fast and best take 8 of 256 tokens, 4 of 512.",
    )
    """Windows in a step."""
    learning_rate: float = setting(
        low=1e-6,
        high=1.0,
        section="Training",
        help="Peak learning rate of AdamW; fast and best take 0.0012 for pairs and large texts. Muon's is"
        " 0.02, for these 0.008.",
    )
    """Peak learning rate of AdamW."""
    matrix_learning_rate: float = setting(low=0.0, high=1.0, flag=None, help="Peak learning rate of Muon.")
    """Peak learning rate of Muon, for the blocks' matrices; 0 leaves them to AdamW."""
    weight_decay: float = setting(low=0.0, high=10.0, flag=None, help="Weight decay of AdamW.")
    """Weight decay of AdamW: rate x decay x weight per step, never on norms."""
    matrix_weight_decay: float = setting(low=0.0, high=10.0, flag=None, help="Weight decay of Muon.")
    """Weight decay of Muon: rate x decay x weight per step."""
    scheduled_decay: bool = False
    """Whether weight decay falls with the learning rate, from the values above at its peak."""
    beta1: float
    """AdamW's decay of the first moment."""
    beta2: float
    """AdamW's decay of the second moment."""
    warmup_steps: int
    """Steps of linear warm-up from zero."""
    schedule: str = setting(choices=("cosine", "linear"), flag=None, help="Shape of the learning-rate decay.")
    """"cosine" changes once an epoch (the guide's); "linear" falls to zero at every step."""
    init_std: float
    """Standard deviation of the initial weights; 0 is torch's own initialization (the guide's)."""
    stride: int = setting(
        0,
        low=0,
        high=1 << 20,
        section="Training",
        help="Tokens between the starts of two windows; 0 is max-seq-length: no overlap.",
    )
    """Tokens between the starts of two windows; 0 is max_seq_length, so that windows do not overlap."""
    seed: int = setting(
        0, low=0, high=2**31 - 1, section="Training", help="Random seed for weights and data order."
    )
    """Random seed for weights and data order."""
    grad_accumulation: int = setting(
        1,
        low=1,
        high=4096,
        section="Training",
        help="Parts in which a step is computed, to reduce memory; the result is the same.",
    )
    """Parts in which a process computes a step, one after the other: less memory, same step."""
    clip_norm: float = setting(
        0.0, low=0.0, high=1e6, section="Training", help="Maximum norm of the gradient; 0 is off."
    )
    """Maximum norm of the gradient; 0 is off."""
    sampled_pieces: int = setting(
        0,
        low=0,
        high=32_000,
        flag=None,
        help="Pieces sampled in place of all infrequent ones in the softmax.",
    )
    """Pieces sampled in place of all infrequent ones in a step's softmax; 0 computes the full softmax."""
    shared_parts: bool = False
    """Whether pieces of one stem, ending or class share a part of their embedding during training, as in
    `train.methods.composed_rows`."""
    segmentation_alpha: float = setting(
        0.0, low=0.0, high=10.0, flag=None, help="Exponent of the sampled segmentations; 0 is off."
    )
    """Exponent of the sampled segmentations in all epochs but the last, as in
    `train.methods.subword_regularization`; 0 always uses the most likely segmentation."""
    smoothing: float = setting(
        0.0, low=0.0, high=1.0, flag=None, help="Share of a target given to other tokens of its context."
    )
    """Share of a target that other tokens of its context receive in those epochs, as in
    `train.methods.target_smoothing`; it decays with the learning rate."""
    local_heads: int = setting(
        0, low=0, high=8, flag=None, help="Heads of the first block initialized to look a few tokens back."
    )
    """Heads of the first block initialized to look a few tokens back, as in
    `train.methods.init_local_heads`."""
    average_exponent: float = setting(
        0.0, low=0.0, high=100.0, flag=None, help="Exponent of the average of the weights; 0 is off."
    )
    """Exponent of the average of the weights over the steps, as in `train.methods.weight_average`: the run's
    models are averages. 0 is off: they are the trained weights themselves."""
    replay: float = setting(
        0.0,
        low=0.0,
        high=10.0,
        section="Training",
        help="With --init-from: windows of the old text for each window of the new one; 0 is off.",
    )
    """Windows of the old text for each window of the new one, as in `train.replay`; 0 is off."""
    teachers: int = setting(
        0,
        low=0,
        high=16,
        section="Training",
        help="Larger models that are trained first, in a chain; the model learns from the last. 0 is off.",
    )
    """Models that are trained first; the last teaches the run's model, as in `train.teachers`. 0 is off."""
    taught_share: float = setting(
        0.5, low=0.0, high=1.0, flag=None, help="Share of each target that is the teacher's prediction."
    )
    """Share of each target that is the teacher's prediction, as in `train.methods.distillation`."""
    init_from: str = ""
    """Id of the trained model that the run goes on from; empty for a run that begins with random weights."""

    def __post_init__(self) -> None:
        check_settings(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a plain mapping, for JSON and checkpoints."""
        fields = dataclasses.asdict(self)
        # What is off is left out, so that the settings equal those of runs of earlier versions.
        if not self.init_from:
            del fields["init_from"], fields["replay"]
        if not self.teachers:
            del fields["teachers"], fields["taught_share"]
        for name in ("average_exponent", "scheduled_decay"):
            if not fields[name]:
                del fields[name]
        return fields

    def take_small_steps(self, flexible: frozenset[str]) -> "TrainConfig":
        """Return the settings for pairs and large texts. A run that goes on from a model keeps its own.

        Args:
            flexible: Settings that the user did not choose, so that they may change.
        """
        own = SMALL_STEPS if self.matrix_learning_rate and not self.init_from else {}
        return dataclasses.replace(self, **{name: own[name] for name in own.keys() & flexible})

    def make_teacher(self, number: int) -> "TrainConfig":
        """Return the settings of one of the run's teachers, numbered from 1."""
        epochs = max(1, round(TEACHER_EPOCHS * self.epochs))
        return dataclasses.replace(self, teachers=0, epochs=epochs, seed=(self.seed + number) % (1 << 31))

    def rate_factor(self, step: int, steps_per_epoch: int, elapsed: float = 0.0) -> float:
        """Return the share of the peak learning rates that a step uses: a pure function, without state.

        The schedule follows whichever has progressed further, the steps or the time, so that it ends when
        either does.

        Args:
            step: Number of the step, from 0.
            steps_per_epoch: Steps in an epoch.
            elapsed: Used share of the run's time limit; 0 where it has none.
        """
        total = self.epochs * steps_per_epoch
        warmup = min(self.warmup_steps, total // 2)
        rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
        if self.schedule == "cosine":
            progress = max(step // steps_per_epoch / self.epochs, min(elapsed, 1.0))
            return min(rising, (1 + math.cos(math.pi * progress)) / 2)
        progress = max(step / total, min(elapsed, 1.0))
        return min(rising, (1 - progress) / (1 - warmup / total))


# The guide's own settings (its phases 2 and 5), kept as the baseline for all other recipes.
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
    weight_decay=2.0,
    matrix_weight_decay=0.1,
    scheduled_decay=True,
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
    average_exponent=3.0,
)

# Larger models first, and one that learns from the last of them: for a night.
BEST = dataclasses.replace(FAST, recipe="best", epochs=24, teachers=3, taught_share=0.7)

# What a run changes that goes on from a trained model. The rates are a fraction of the recipe's, so that the
# model keeps what it knows, and methods that only make sense from random weights are off. docs/log.md has how
# they were chosen.
GOING_ON: dict[str, dict[str, Any]] = {
    "fast": {
        "epochs": 3,
        "replay": 0.5,
        "learning_rate": 5e-4,
        "matrix_learning_rate": 0.003,
        "weight_decay": 0.0,
        "matrix_weight_decay": 0.0,
        "shared_parts": False,
        "segmentation_alpha": 0.0,
        "smoothing": 0.0,
        "local_heads": 0,
        "scheduled_decay": False,
        "average_exponent": 0.0,
        "init_std": 0.0,
    },
    "guide": {"epochs": 3, "replay": 0.5, "learning_rate": 1e-4, "warmup_steps": 100},
}

# What pairs, and texts that are too large to be memorized, change in a recipe with Muon. A small text needs
# large steps, as the weight decay that they bring prevents memorizing (docs/log.md).
SMALL_STEPS: dict[str, Any] = {"learning_rate": 1.2e-3, "matrix_learning_rate": 0.008}

RECIPES = {recipe.recipe: recipe for recipe in (FAST, BEST, GUIDE)}
TRAIN_RANGES = get_ranges(TrainConfig)


def list_unset(values: Mapping[str, Any]) -> frozenset[str]:
    """Return the fields of TrainConfig that have no value, or None, in `values`."""
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    return frozenset(name for name in names if values.get(name) is None)


def resolve(
    recipe: str, values: Mapping[str, Any], init_from: str = "", context: int = BATCH_CONTEXT
) -> TrainConfig:
    """Return a recipe with the user's values in place of its own.

    Args:
        recipe: A key of RECIPES.
        values: Fields of TrainConfig by name; None keeps the recipe's value.
        init_from: Id of the trained model that the run goes on from, which changes the recipe's values.
        context: Tokens in a window. A recipe with Muon takes fewer windows of more than BATCH_CONTEXT tokens,
            so that its rates still fit its steps.

    Raises:
        UsageError: The recipe is unknown, or a value is invalid.
    """
    require_choice("recipe", recipe, tuple(RECIPES))
    given = {name: value for name, value in values.items() if value is not None}
    own = {**GOING_ON.get(recipe, {}), "init_from": init_from} if init_from else {}
    config = dataclasses.replace(RECIPES[recipe], **{**own, **given})
    if config.matrix_learning_rate and context > BATCH_CONTEXT and "batch_size" not in given:
        config = dataclasses.replace(config, batch_size=config.batch_size * BATCH_CONTEXT // context)
    if init_from and config.teachers:
        raise UsageError(
            "--init-from goes on from a model, and teachers begin with random weights",
            "pass --recipe fast, without --teachers",
            ("teachers",),
        )
    return config
