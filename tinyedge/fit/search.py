"""The largest shapes that keep a budget: a few different ones, never a list to search in.

In: a cost model and a budget. Out: an `FitResult`. What a shape costs, `tinyedge.fit.cost_model` says.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tinyedge.core.config import MODEL_RANGES, PRESETS, ModelConfig, flag, resolve_shape
from tinyedge.core.errors import FitError, UsageError
from tinyedge.fit.cost_model import CostModel
from tinyedge.fit.workload import parameters_of_blocks

MB = 1 << 20
MAX_TOKENS_RANGE = (1, 1000)  # as `tinyedge bench` has it
DEFAULTS = ModelConfig()
CONTEXTS = (128, 256, 512)  # the guide's and longer ones; a shorter context is for those who ask for it
D_MODELS = (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)
DIM_FEEDFORWARDS = (128, 256, 384, 512, 640, 768, 1024)
MOST_FEEDFORWARD = 4  # times d_model; nobody trains wider ones
# A single layer of attention cannot look up what followed an earlier occurrence (Olsson et al. 2022).
FEWEST_LAYERS = 2
FEW_HEADS, MANY_HEADS, MANY_FROM = 4, 8, 320  # as the presets have them: 16 to 64 wide, in whole eights


@dataclass(frozen=True)
class Budget:
    """What must not be exceeded.

    max_p95_ms: of a response of `max_tokens` tokens, which the model times its margin has to keep.
    max_rss_mb: of memory at its peak, in MB of 2^20 bytes. max_seq_length, vocab_size: where the user chose.
    """

    max_p95_ms: float = 250.0
    max_rss_mb: float = 400.0
    max_tokens: int = 20
    max_seq_length: int | None = None
    vocab_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_p95_ms", "max_rss_mb"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{flag(name)} {value:g} is not a positive number")
        low, high = MAX_TOKENS_RANGE
        if not low <= self.max_tokens <= high:
            raise UsageError(f"--max-tokens {self.max_tokens} is outside {low}-{high}")
        for name in ("max_seq_length", "vocab_size"):
            value, (low, high) = getattr(self, name), MODEL_RANGES[name]
            if value is not None and not low <= value <= high:
                raise UsageError(f"{flag(name)} {value} is outside {low}-{high}")


@dataclass(frozen=True)
class SizedShape:
    """A shape and what it costs.

    p95_ms: modelled, of the bench's prompts; bound_ms: with the margin. full_ms: modelled, of the longest
    prompt that leaves the context room for its answer; None where there is no such. peak_rss: bytes.
    """

    name: str
    config: ModelConfig
    p95_ms: float
    bound_ms: float
    full_ms: float | None
    peak_rss: float
    fits: bool

    @property
    def block_parameters(self) -> int:
        """Weights that are neither embeddings nor output."""
        return parameters_of_blocks(self.config)

    @property
    def flags(self) -> str:
        """For `tinyedge train`."""
        if self.name in PRESETS:
            preset = PRESETS[self.name].to_dict()
            changed = [(key, value) for key, value in self.config.to_dict().items() if preset[key] != value]
            return " ".join([f"--preset {self.name}", *(f"{flag(key)} {value}" for key, value in changed)])
        return " ".join(f"{flag(key)} {value}" for key, value in self.config.to_dict().items())


@dataclass(frozen=True)
class FitResult:
    """Shapes that keep the budget, and the presets, whether or not they do."""

    model: CostModel = field(repr=False)
    budget: Budget
    shapes: tuple[SizedShape, ...]
    presets: tuple[SizedShape, ...]


def search(model: CostModel, budget: Budget) -> FitResult:
    """Finds them; one of a single layer only where no deeper one fits. Raises FitError where none fits.

    largest: the most weights in the blocks. deep, wide: the most layers, the largest d_model, then the same.
    long context: the longest one that keeps the budget even where a prompt fills it.
    """

    def size(name: str, config: ModelConfig) -> SizedShape:
        return sized(model, budget, name, config)

    candidates = [size("", config) for config in shapes(budget)]
    fitting = [one for one in candidates if one.fits]
    if not fitting:
        raise too_small(model, budget, candidates)
    fitting = [one for one in fitting if one.config.num_layers >= FEWEST_LAYERS] or fitting
    shortest = min(one.config.max_seq_length for one in fitting)
    usual = [one for one in fitting if one.config.max_seq_length == shortest]
    chosen = {
        "largest": max(usual, key=by_size),
        "deep": max(usual, key=lambda one: (one.config.num_layers, *by_size(one))),
        "wide": max(usual, key=lambda one: (one.config.d_model, *by_size(one))),
    }
    roomy = [one for one in fitting if one.full_ms and model.margin * one.full_ms <= budget.max_p95_ms]
    if roomy and budget.max_seq_length is None:
        chosen["long context"] = max(roomy, key=lambda one: (one.config.max_seq_length, *by_size(one)))
    flags = {"max_seq_length": budget.max_seq_length, "vocab_size": budget.vocab_size}
    names: dict[ModelConfig, list[str]] = {}
    for name, one in chosen.items():
        names.setdefault(one.config, []).append(name)
    return FitResult(
        model,
        budget,
        tuple(size(", ".join(some), config) for config, some in names.items()),
        tuple(size(name, resolve_shape(name, flags)) for name in PRESETS),
    )


def by_size(one: SizedShape) -> tuple[int, float]:
    """More weights in the blocks first, then less time."""
    return one.block_parameters, -one.p95_ms


def shapes(budget: Budget) -> Iterator[ModelConfig]:
    """All that are considered."""
    contexts = (budget.max_seq_length,) if budget.max_seq_length else CONTEXTS
    vocabulary = budget.vocab_size or DEFAULTS.vocab_size
    low, high = MODEL_RANGES["num_layers"]
    for d_model in D_MODELS:
        heads = FEW_HEADS if d_model < MANY_FROM else MANY_HEADS
        for width in DIM_FEEDFORWARDS:
            if not d_model <= width <= MOST_FEEDFORWARD * d_model:
                continue
            for layers in range(low, high + 1):
                for context in contexts:
                    yield ModelConfig(vocabulary, d_model, heads, layers, width, context)


def sized(model: CostModel, budget: Budget, name: str, config: ModelConfig) -> SizedShape:
    """What a shape costs, held against the budget."""
    p95 = model.p95_ms(config, budget.max_tokens)
    room = config.max_seq_length - budget.max_tokens
    full = model.response_ms(config, room, budget.max_tokens) if room > 0 else None
    peak = model.peak_rss(config)
    bound = model.margin * p95
    fits = bound <= budget.max_p95_ms and peak <= budget.max_rss_mb * MB
    return SizedShape(name, config, p95, bound, full, peak, fits)


def too_small(model: CostModel, budget: Budget, candidates: Sequence[SizedShape]) -> FitError:
    """Which limit the shape that comes closest does not keep, and by how much."""

    def excess(one: SizedShape) -> tuple[float, float]:
        return one.bound_ms - budget.max_p95_ms, one.peak_rss / MB - budget.max_rss_mb

    closest = min(candidates, key=lambda one: (sum(over > 0 for over in excess(one)), max(excess(one))))
    slow, big = excess(closest)
    if slow > 0:
        return FitError(
            f"--max-p95-ms {budget.max_p95_ms:g} is too small by {slow:.1f}: the closest shape takes"
            f" {closest.p95_ms:.1f} ms, modelled, and {model.margin:g} times that has to fit",
            f"pass --max-p95-ms {math.ceil(closest.bound_ms)}, a smaller --vocab-size or fewer --max-tokens",
        )
    return FitError(
        f"--max-rss-mb {budget.max_rss_mb:g} is too small by {big:.1f}: the closest shape peaks at"
        f" {closest.peak_rss / MB:.1f} MB",
        f"pass --max-rss-mb {math.ceil(closest.peak_rss / MB)} or a smaller --vocab-size",
    )
