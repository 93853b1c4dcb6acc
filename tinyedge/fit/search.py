"""The largest shapes that meet a budget: a few different ones, not a list to search in.

In: a cost model and a budget. Out: a `FitResult`. `tinyedge.fit.cost_model` computes what a shape costs.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tinyedge.boards.board import Board
from tinyedge.core.config import MODEL_RANGES, PRESETS, ModelConfig, resolve_shape
from tinyedge.core.errors import FitError, UsageError
from tinyedge.core.settings import check_settings, flag, setting
from tinyedge.fit.cost_model import CostModel
from tinyedge.ngram import DEFAULT_NGRAM_MB, MAX_NGRAM_MB

MB = 1 << 20
MAX_TOKENS_RANGE = (1, 1000)  # that of `tinyedge bench`
DEFAULTS = ModelConfig()
CONTEXTS = (128, 256, 512)  # the guide's and longer ones; a shorter context has to be asked for
D_MODELS = (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)
DIM_FEEDFORWARDS = (128, 256, 384, 512, 640, 768, 1024)
MAX_FEEDFORWARD_RATIO = 4  # dim_feedforward / d_model; wider ones are not usual
# A single layer of attention cannot look up what followed an earlier occurrence (Olsson et al. 2022).
MIN_LAYERS = 2
# As in the presets: heads 16 to 64 wide, in multiples of eight.
FEW_HEADS, MANY_HEADS, MANY_HEADS_FROM = 4, 8, 320


@dataclass(frozen=True)
class FitBudget:
    """Limits that a shape has to meet, and the sizes that the user chose."""

    max_p95_ms: float = setting(none="the board's", help="Maximum p95 of a response, in ms.")
    """For a response of `max_tokens` tokens; the modelled time x the margin has to meet it."""
    max_rss_mb: float = setting(none="the board's", help="Maximum peak memory, in MB of 2^20 bytes.")
    """For the peak memory of the process, in MB of 2^20 bytes."""
    max_tokens: int = setting(
        20, help="Tokens of each response.", low=MAX_TOKENS_RANGE[0], high=MAX_TOKENS_RANGE[1]
    )
    """Tokens of each response."""
    max_seq_length: int | None = setting(
        None,
        help="Context that the shape must have, in tokens.",
        low=MODEL_RANGES["max_seq_length"][0],
        high=MODEL_RANGES["max_seq_length"][1],
    )
    """Context in tokens; None where the search may choose."""
    vocab_size: int | None = setting(
        None,
        help="Pieces of the tokenizer.",
        low=MODEL_RANGES["vocab_size"][0],
        high=MODEL_RANGES["vocab_size"][1],
    )
    """Pieces of the tokenizer; None for the default of `ModelConfig`."""
    ngram_mb: float = setting(
        DEFAULT_NGRAM_MB,
        help="Largest size of the table of n-grams, in MB, as in `tinyedge export`; 0: none.",
        low=0,
        high=MAX_NGRAM_MB,
        unit="MB",
    )
    """Largest size of the table of n-grams that is mixed with the model, in MB of 2^20 bytes; 0 for none."""

    def __post_init__(self) -> None:
        for name in ("max_p95_ms", "max_rss_mb"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{name} {value:g} is not a positive number", parameters=(name,))
        check_settings(self)

    @classmethod
    def from_board(
        cls,
        board: Board,
        max_p95_ms: float | None = None,
        max_rss_mb: float | None = None,
        max_tokens: int = 20,
        max_seq_length: int | None = None,
        vocab_size: int | None = None,
        ngram_mb: float = DEFAULT_NGRAM_MB,
    ) -> "FitBudget":
        """The budget of a board, except for limits that are given.

        Raises:
            UsageError: For a value outside its range.
        """
        return cls(
            float(board.budgets.max_p95_ms) if max_p95_ms is None else max_p95_ms,
            float(board.budgets.max_rss_mb) if max_rss_mb is None else max_rss_mb,
            max_tokens,
            max_seq_length,
            vocab_size,
            ngram_mb,
        )


@dataclass(frozen=True)
class SizedShape:
    """A shape and what it costs."""

    name: str
    """Why it is suggested, or the name of a preset."""
    config: ModelConfig
    """The shape."""
    p95_ms: float
    """Modelled p95 of the benchmark's prompts, in ms."""
    bound_ms: float
    """The same x the margin."""
    full_ms: float | None
    """Modelled time for the longest prompt that leaves room for its answer; None if there is none."""
    peak_rss: float
    """Peak memory in bytes."""
    fits: bool
    """Whether it meets the budget."""

    @property
    def block_parameters(self) -> int:
        """Weights that are neither embeddings nor output."""
        return self.config.block_parameters

    @property
    def flags(self) -> str:
        """Flags for `tinyedge train`."""
        if self.name in PRESETS:
            preset = PRESETS[self.name].to_dict()
            changed = [(key, value) for key, value in self.config.to_dict().items() if preset[key] != value]
            return " ".join([f"--preset {self.name}", *(f"{flag(key)} {value}" for key, value in changed)])
        return " ".join(f"{flag(key)} {value}" for key, value in self.config.to_dict().items())


@dataclass(frozen=True)
class FitResult:
    """Shapes that meet the budget, and the presets, whether or not they do."""

    model: CostModel = field(repr=False)
    """What the shapes were sized with."""
    budget: FitBudget
    """What they were compared with."""
    shapes: tuple[SizedShape, ...]
    """Suggested shapes; all fit."""
    presets: tuple[SizedShape, ...]
    """The presets, with the context and vocabulary that the user chose."""


def search(model: CostModel, budget: FitBudget) -> FitResult:
    """Find the best shapes in four respects.

    "largest" has the most weights in its blocks; "deep" the most layers, then weights; "wide" the largest
    d_model, then weights; "long context" the longest context that meets the budget even if a prompt fills it.
    A shape of a single layer is suggested only if no deeper one fits.

    Raises:
        FitError: If no shape fits; it tells by how much the closest one exceeds the budget.
    """

    def size(name: str, config: ModelConfig) -> SizedShape:
        return size_shape(model, budget, name, config)

    candidates = [size("", config) for config in list_shapes(budget)]
    fitting = [shape for shape in candidates if shape.fits]
    if not fitting:
        raise _budget_error(model, budget, candidates)
    fitting = [shape for shape in fitting if shape.config.num_layers >= MIN_LAYERS] or fitting
    shortest = min(shape.config.max_seq_length for shape in fitting)
    usual = [shape for shape in fitting if shape.config.max_seq_length == shortest]
    chosen = {
        "largest": max(usual, key=_rank_by_size),
        "deep": max(usual, key=lambda shape: (shape.config.num_layers, *_rank_by_size(shape))),
        "wide": max(usual, key=lambda shape: (shape.config.d_model, *_rank_by_size(shape))),
    }
    full_fits = [
        shape
        for shape in fitting
        if shape.full_ms and model.latency.margin * shape.full_ms <= budget.max_p95_ms
    ]
    if full_fits and budget.max_seq_length is None:
        chosen["long context"] = max(
            full_fits, key=lambda shape: (shape.config.max_seq_length, *_rank_by_size(shape))
        )
    flags = {"max_seq_length": budget.max_seq_length, "vocab_size": budget.vocab_size}
    names: dict[ModelConfig, list[str]] = {}
    for name, shape in chosen.items():
        names.setdefault(shape.config, []).append(name)
    return FitResult(
        model,
        budget,
        tuple(size(", ".join(parts), config) for config, parts in names.items()),
        tuple(size(name, resolve_shape(name, flags)) for name in PRESETS),
    )


def _rank_by_size(shape: SizedShape) -> tuple[int, float]:
    """Sort key: more weights in the blocks first, then less time."""
    return shape.block_parameters, -shape.p95_ms


def choose_heads(d_model: int) -> int:
    """Return the attention heads of a width."""
    return FEW_HEADS if d_model < MANY_HEADS_FROM else MANY_HEADS


def list_shapes(budget: FitBudget) -> Iterator[ModelConfig]:
    """All shapes that are considered."""
    contexts = (budget.max_seq_length,) if budget.max_seq_length else CONTEXTS
    vocab_size = budget.vocab_size or DEFAULTS.vocab_size
    low, high = MODEL_RANGES["num_layers"]
    for d_model in D_MODELS:
        heads = choose_heads(d_model)
        for width in DIM_FEEDFORWARDS:
            if not d_model <= width <= MAX_FEEDFORWARD_RATIO * d_model:
                continue
            for layers in range(low, high + 1):
                for context in contexts:
                    yield ModelConfig(vocab_size, d_model, heads, layers, width, context)


def size_shape(model: CostModel, budget: FitBudget, name: str, config: ModelConfig) -> SizedShape:
    """Compute what a shape costs, and compare it with the budget."""
    tokens, is_mixed = budget.max_tokens, budget.ngram_mb > 0
    p95 = model.p95_ms(config, tokens, is_mixed=is_mixed)
    longest_prompt = config.max_seq_length - tokens
    full = None
    if longest_prompt > 0:
        full = model.response_ms(config, longest_prompt, tokens, is_mixed=is_mixed)
    peak = model.peak_rss(config, budget.ngram_mb * MB)
    bound = model.latency.margin * p95
    fits = bound <= budget.max_p95_ms and peak <= budget.max_rss_mb * MB
    return SizedShape(name, config, p95, bound, full, peak, fits)


def _budget_error(model: CostModel, budget: FitBudget, candidates: Sequence[SizedShape]) -> FitError:
    """The limit that the closest shape exceeds, and by how much."""

    def excess(shape: SizedShape) -> tuple[float, float]:
        return shape.bound_ms - budget.max_p95_ms, shape.peak_rss / MB - budget.max_rss_mb

    closest = min(candidates, key=lambda shape: (sum(over > 0 for over in excess(shape)), max(excess(shape))))
    slow, big = excess(closest)
    without = f", or {flag('ngram_mb')} 0 for no n-grams" if budget.ngram_mb else ""
    if slow > 0:
        return FitError(
            f"--max-p95-ms {budget.max_p95_ms:g} is too small by {slow:.1f}: the closest shape takes"
            f" {closest.p95_ms:.1f} ms, modelled, and {model.latency.margin:g} times that must fit",
            f"pass --max-p95-ms {math.ceil(closest.bound_ms)}, a smaller --vocab-size or fewer --max-tokens"
            + without,
        )
    return FitError(
        f"--max-rss-mb {budget.max_rss_mb:g} is too small by {big:.1f}: the closest shape peaks at"
        f" {closest.peak_rss / MB:.1f} MB",
        f"pass --max-rss-mb {math.ceil(closest.peak_rss / MB)} or a smaller --vocab-size{without}",
    )
