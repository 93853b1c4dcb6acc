"""Which shapes the sweep counts: the presets, one dimension at a time from `tiny`, and mixtures, held out."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tinyedge.core.config import MODEL_RANGES, PRESETS, ModelConfig

TINY = PRESETS["tiny"]
# From `tiny`, one dimension moved: to the ends of its range, which are fitted, and between them, held out.
AXES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "d_model": ((64, 256, 512), (384,)),
    "num_layers": ((1, 4, 6), (3,)),
    "dim_feedforward": ((128, 1024), (512,)),
    "vocab_size": ((1000, 32000), (4000, 16000)),
    "max_seq_length": ((32, 64, 512), (256,)),
}
# No dimension of theirs is `tiny`'s alone, so that a formula that fits the axes may still miss them.
MIXTURES = (
    ModelConfig(vocab_size=2000, d_model=96, nhead=8, num_layers=6, dim_feedforward=512, max_seq_length=512),
    ModelConfig(vocab_size=4000, d_model=192, nhead=6, num_layers=4, dim_feedforward=768, max_seq_length=256),
    ModelConfig(vocab_size=12000, d_model=320, nhead=5, num_layers=2, dim_feedforward=640, max_seq_length=64),
    ModelConfig(vocab_size=32000, d_model=256, nhead=8, num_layers=1, dim_feedforward=1024),
    ModelConfig(vocab_size=16000, d_model=448, nhead=7, num_layers=3, dim_feedforward=896),
)
# What `tinyedge fit` suggested for the default budget: here it has to be right.
SUGGESTED = (
    ModelConfig(d_model=320, nhead=8, num_layers=2, dim_feedforward=640),
    ModelConfig(d_model=160, nhead=4, num_layers=6, dim_feedforward=384),
    ModelConfig(d_model=64, nhead=4, num_layers=2, dim_feedforward=256, max_seq_length=512),
)
DRAWN, SEED = 6, 1  # shapes drawn by lot, for which no term of the formula was chosen
BOOTED = {  # for memory; the others' is the formula's
    *("tiny", "small", "base", "d_model 512", "num_layers 6", "dim_feedforward 1024", "vocab_size 1000"),
    *("vocab_size 32000", "max_seq_length 512", "mixture 1", "mixture 2", "mixture 5"),
    *("drawn 1", "drawn 2", "drawn 3"),
}


@dataclass(frozen=True)
class Shape:
    """One shape. held_out: the formula is checked on it and not fitted. booted: its memory is measured."""

    name: str
    config: ModelConfig
    held_out: bool
    booted: bool


def shapes() -> tuple[Shape, ...]:
    """All of them, the presets first."""
    return tuple(
        Shape(name, config, held_out, name in BOOTED)
        for name, config, held_out in (*_presets(), *_axes(), *_mixtures())
    )


def _presets() -> Iterator[tuple[str, ModelConfig, bool]]:
    for name, config in PRESETS.items():
        yield name, config, name == "small"  # it is what the README promises, so what it costs is predicted


def _axes() -> Iterator[tuple[str, ModelConfig, bool]]:
    for field, (fitted, held_out) in AXES.items():
        for value in sorted(fitted + held_out):
            yield f"{field} {value}", replace(TINY, **{field: value}), value in held_out


def _mixtures() -> Iterator[tuple[str, ModelConfig, bool]]:
    for kind, configs in (("mixture", MIXTURES), ("suggested", SUGGESTED), ("drawn", drawn())):
        for number, config in enumerate(configs, 1):
            yield f"{kind} {number}", config, True


def drawn() -> list[ModelConfig]:
    """Any shapes of the guide's ranges, odd ones too; the same each time."""
    draw = random.Random(SEED)
    found = []
    for _ in range(DRAWN):
        sizes = {name: draw.randint(*ends) for name, ends in MODEL_RANGES.items()}
        found.append(ModelConfig(**{**sizes, "d_model": sizes["d_model"] // sizes["nhead"] * sizes["nhead"]}))
    return found
