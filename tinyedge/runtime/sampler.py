"""From logits to the next token: penalty, temperature, top-k, top-p, min-p, then one draw.

Knows numpy alone: no model, no tokenizer. Shapes: V vocabulary, K candidates left.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyedge.config import flag
from tinyedge.errors import UsageError

Ids = npt.NDArray[np.intp]
Logits = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]

GREEDY_BELOW = 1e-5  # a lower temperature would overflow the division, and is greedy anyway
SMALLEST_WEIGHT = np.finfo(np.float64).tiny  # relative to the likeliest; drops what has no chance at all
BLOCKS_PER_CANDIDATE = 4  # 40 candidates are looked for above 160 block maxima: some 45 logits are left


@dataclass(frozen=True)
class SamplingConfig:
    """How the next token is chosen. The steps apply in this order, each to what the one before left.

    repetition_penalty: positive logits of tokens in the text so far are divided by it, negative ones
    multiplied (CTRL, Keskar et al., 2019); 1 is off. temperature: logits are divided by it; 0 is greedy.
    top_k: that many likeliest tokens stay; 0 is off. top_p: the smallest set of likeliest tokens whose
    probability is at least this stays; 1 is off. min_p: tokens at least this times as likely as the
    likeliest stay; 0 is off. seed: same seed, same text; None draws a fresh one.
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        _within("temperature", self.temperature, 0, 100)
        _within("top_p", self.top_p, 0, 1)
        _within("min_p", self.min_p, 0, 1)
        _within("repetition_penalty", self.repetition_penalty, 0.01, 100)
        _whole("top_k", self.top_k, (1 << 31) - 1)
        if self.seed is not None:
            _whole("seed", self.seed, (1 << 63) - 1)


def _within(name: str, value: object, low: float, high: float) -> None:
    # NaN is in no range, and True is no number here
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{flag(name)} {value!r} is not a number")
    if not low <= value <= high:
        raise UsageError(f"{flag(name)} {value} is outside {low}-{high}")


def _whole(name: str, value: object, high: int) -> None:
    if type(value) is not int:
        raise UsageError(f"{flag(name)} {value!r} is not a whole number")
    if not 0 <= value <= high:
        raise UsageError(f"{flag(name)} {value} is outside 0-{high}")


class Sampler:
    """Draws tokens one after another; remembers its place in the random stream and the tokens so far."""

    def __init__(self, config: SamplingConfig, vocab_size: int) -> None:
        self.config = config
        self._random = np.random.Generator(np.random.PCG64(config.seed))
        self._seen = np.zeros(vocab_size, dtype=np.bool_)

    def note(self, tokens: Iterable[int]) -> None:
        """Adds to the text so far, which the repetition penalty looks at."""
        self._seen[list(tokens)] = True

    def sample(self, logits: Logits, never: Iterable[int] = ()) -> int:
        """The next token by `logits` (V,), none of `never`; it counts as text from then on."""
        allowed = logits.copy()  # the caller's array stays as it is
        for token in never:
            allowed[token] = -np.inf
        if self.config.repetition_penalty != 1.0:
            penalize(allowed, np.flatnonzero(self._seen), self.config.repetition_penalty)
        if self.config.temperature < GREEDY_BELOW:
            token = int(allowed.argmax())  # the first of equals, so the lowest id
        else:
            ids, probabilities = distribution(allowed, self.config)
            cumulative = np.cumsum(probabilities)
            point = self._random.random() * cumulative[-1]
            # rounding may put the point on the very end, one past the last candidate
            token = int(ids[min(int(cumulative.searchsorted(point, side="right")), len(ids) - 1)])
        self._seen[token] = True
        return token


def penalize(logits: Logits, seen: Ids, penalty: float) -> None:
    """Makes the tokens `seen` less likely, in place."""
    values = logits[seen]
    logits[seen] = np.where(values > 0, values / penalty, values * penalty)


def distribution(logits: Logits, config: SamplingConfig) -> tuple[Ids, Probabilities]:
    """The tokens that may be drawn and their probabilities: (V,) to twice (K,), K at least 1.

    Likeliest first where top_k or top_p is on, by id otherwise; of equals, lower ids are likelier. Expects
    no NaN, one finite logit at least and a temperature above zero; the penalty is the caller's.
    """
    ordered = 0 < config.top_k < len(logits)
    ids = largest(logits, config.top_k) if ordered else np.arange(len(logits))
    values = logits[ids].astype(np.float64)
    weights = np.exp((values - values.max()) / config.temperature)  # the likeliest weighs 1
    if config.top_p < 1.0:
        total = weights.sum()
        if not ordered:
            # All tokens below (1 - p) / V of the total make less than 1 - p together, so none of them is
            # needed to reach p: what is left to sort is short. The 2 is for rounding.
            few = np.flatnonzero(weights >= total * (1 - config.top_p) / (2 * len(weights)))
            few = few[np.argsort(-values[few], kind="stable")]
            ids, weights = ids[few], weights[few]
        reached = int(np.cumsum(weights).searchsorted(config.top_p * total, side="left"))
        ids, weights = ids[: reached + 1], weights[: reached + 1]
    keep = weights >= max(config.min_p, SMALLEST_WEIGHT)
    ids, weights = ids[keep], weights[keep]
    return ids, weights / weights.sum()


def largest(logits: Logits, k: int) -> Ids:
    """The ids of the `k` largest of at least `k` logits, largest first; of equals, the lowest ids."""
    candidates = np.flatnonzero(logits >= _lower_bound(logits, k))
    return candidates[np.argsort(-logits[candidates], kind="stable")[:k]]


def _lower_bound(logits: Logits, k: int) -> np.float32:
    """A value that at least `k` logits reach, and few more: the k-th largest of the maxima of blocks.

    The CPU vectorizes the maxima and the caller's comparison, which a partition of the whole it can't.
    """
    blocks = k * BLOCKS_PER_CANDIDATE
    width = len(logits) // blocks
    if width > 1:
        logits = logits[: width * blocks].reshape(width, blocks).max(axis=0)
    bound: np.float32 = np.partition(logits, len(logits) - k)[len(logits) - k]
    return bound
