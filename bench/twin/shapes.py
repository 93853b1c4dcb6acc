"""Shapes of the sweep: the presets, `tiny` with one dimension changed, and mixtures, which are held out."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tinyedge.core.config import MODEL_RANGES, PRESETS, ModelConfig

TINY = PRESETS["tiny"]
# `tiny` with one dimension changed: to the ends of its range, for the fit, and in between, held out.
AXES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "d_model": ((64, 256, 512), (384,)),
    "num_layers": ((1, 4, 6), (3,)),
    "dim_feedforward": ((128, 1024), (512,)),
    "vocab_size": ((1000, 32000), (4000, 16000)),
    "max_seq_length": ((32, 64, 512), (256,)),
}
# Beyond the device's budget: it keeps the formula right where a user looks at shapes that are too large.
LARGEST = ModelConfig(
    vocab_size=16000, d_model=512, nhead=8, num_layers=6, dim_feedforward=1024, max_seq_length=512
)
# Several dimensions differ from `tiny`, so a formula that fits the axes may still miss them.
MIXTURES = (
    ModelConfig(vocab_size=2000, d_model=96, nhead=8, num_layers=6, dim_feedforward=512, max_seq_length=512),
    ModelConfig(vocab_size=4000, d_model=192, nhead=6, num_layers=4, dim_feedforward=768, max_seq_length=256),
    ModelConfig(vocab_size=12000, d_model=320, nhead=5, num_layers=2, dim_feedforward=640, max_seq_length=64),
    ModelConfig(vocab_size=32000, d_model=256, nhead=8, num_layers=1, dim_feedforward=1024),
    ModelConfig(vocab_size=16000, d_model=448, nhead=7, num_layers=3, dim_feedforward=896),
)
# Suggested by `tinyedge fit` for the default budget: here the formula must be right.
SUGGESTED = (
    ModelConfig(d_model=320, nhead=8, num_layers=2, dim_feedforward=640),
    ModelConfig(d_model=160, nhead=4, num_layers=6, dim_feedforward=384),
    ModelConfig(d_model=64, nhead=4, num_layers=2, dim_feedforward=256, max_seq_length=512),
)
# Counted with a table of n-grams too: those that the costs of one are fitted to, and held-out ones.
MIXED = {
    **dict.fromkeys(("tiny", "largest", "d_model 512", "vocab_size 1000", "vocab_size 32000"), False),
    **dict.fromkeys(("small", "base", "d_model 256", "vocab_size 16000", "drawn 4"), True),
}
MIXED_BOOTED = ("tiny", "vocab_size 32000")
DRAWN, SEED = 6, 1  # random shapes, which did not influence the choice of terms
BOOTED = {  # to measure memory; for the others it is computed
    *("tiny", "small", "base", "largest", "d_model 512", "num_layers 6", "dim_feedforward 1024"),
    *("vocab_size 1000", "vocab_size 32000", "max_seq_length 512", "mixture 1", "mixture 2", "mixture 5"),
    *("drawn 1", "drawn 2", "drawn 3"),
}


@dataclass(frozen=True)
class Shape:
    """One shape of the sweep."""

    name: str
    """Unique name."""
    config: ModelConfig
    """The shape."""
    held_out: bool
    """Whether the formula is checked on it and not fitted to it."""
    booted: bool
    """Whether its memory is measured."""
    is_mixed: bool = False
    """Whether it has a table of n-grams."""


def list_shapes() -> tuple[Shape, ...]:
    """All shapes, the presets first."""
    return tuple(
        Shape(name, config, held_out, name in BOOTED)
        for name, config, held_out in (*_named(), *_axes(), *_mixtures())
    )


def list_mixed_shapes() -> tuple[Shape, ...]:
    """The shapes that are counted with a table of n-grams."""
    configs = {shape.name: shape.config for shape in list_shapes()}
    return tuple(
        Shape(name, configs[name], held_out, name in MIXED_BOOTED, is_mixed=True)
        for name, held_out in MIXED.items()
    )


def _named() -> Iterator[tuple[str, ModelConfig, bool]]:
    for name, config in PRESETS.items():
        yield name, config, name != "tiny"  # documents promise their costs, so they are predicted
    yield "largest", LARGEST, False


def _axes() -> Iterator[tuple[str, ModelConfig, bool]]:
    for field, (fitted, held_out) in AXES.items():
        for value in sorted(fitted + held_out):
            yield f"{field} {value}", replace(TINY, **{field: value}), value in held_out


def _mixtures() -> Iterator[tuple[str, ModelConfig, bool]]:
    for kind, configs in (("mixture", MIXTURES), ("suggested", SUGGESTED), ("drawn", draw_shapes())):
        for number, config in enumerate(configs, 1):
            yield f"{kind} {number}", config, True


def draw_shapes() -> list[ModelConfig]:
    """Random shapes inside the ranges, unusual ones too; the same each time."""
    draw = random.Random(SEED)
    drawn = []
    for _ in range(DRAWN):
        sizes = {name: draw.randint(*ends) for name, ends in MODEL_RANGES.items()}
        drawn.append(ModelConfig(**{**sizes, "d_model": sizes["d_model"] // sizes["nhead"] * sizes["nhead"]}))
    return drawn
