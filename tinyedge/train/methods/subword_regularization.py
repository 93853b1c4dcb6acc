"""The training text, cut into pieces in other ways than the likeliest: subword regularization.

A unigram tokenizer knows how likely each segmentation is (Kudo, "Subword Regularization", 2018). A model that
sees "walk|ed" beside "walked" learns a small corpus less by heart. Text is judged, and the last epochs are
trained, with the likeliest segmentation.

No piece reaches over a space, so the words of a line are drawn one by one, from the best few segmentations of
each. SentencePiece could draw by itself, but its generator does not repeat from one process to the next.
"""

import functools
import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import WORD_BOUNDARY, Tokenizer
from tinyedge.train.data import Tokens
from tinyedge.train.recipe import TrainConfig

LARGEST = 2_000_000  # tokens that are held in memory and drawn anew; a larger corpus needs no such help
WAYS = 8  # segmentations of a word to draw from; what lies beyond is improbable

Ids = npt.NDArray[np.uint16]
Way = tuple[tuple[int, ...], float]  # pieces and their log probability


class Resegmented:
    """The words of a token file, from whose segmentations each epoch draws.

    alpha: the probabilities' exponent; 1 draws by the tokenizer's own, less is bolder.
    """

    def __init__(self, tokens: Tokens, tokenizer: Tokenizer, alpha: float, seed: int) -> None:
        self._seed = seed
        spellings = tokenizer.spellings()
        words = _words(tokens[0 : len(tokens)], spellings)
        number = {word: place for place, word in enumerate(dict.fromkeys(words))}
        self._words = np.fromiter((number[word] for word in words), dtype=np.int64, count=len(words))
        ways = _ways(list(number), spellings, tokenizer)
        self._flat = np.array([t for of_word in ways for ids, _ in of_word for t in ids], dtype=np.uint16)
        self._lengths = np.array([len(ids) for of_word in ways for ids, _ in of_word])
        self._starts = np.cumsum(self._lengths) - self._lengths
        # Word n's ways share the interval [n, n + 1) by their probabilities; each entry is where one ends.
        self._ends = np.concatenate([n + _shares(of_word, alpha) for n, of_word in enumerate(ways)])

    def __call__(self, epoch: int) -> Ids:
        """The tokens of an epoch, from 0: a function of (seed, epoch) and the text."""
        draws = self._words + np.random.default_rng([self._seed, epoch]).random(len(self._words))
        ways = np.searchsorted(self._ends, draws, side="right")
        lengths = self._lengths[ways]
        ends = np.cumsum(lengths)
        places = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)  # of each token in its word
        drawn: Ids = self._flat[np.repeat(self._starts[ways], lengths) + places]
        return drawn


def resegmented_for(shards: Shards, config: TrainConfig, tokenizer: Tokenizer) -> Callable[[int], Ids] | None:
    """For recipes that draw segmentations, where the corpus is small enough to need it.

    Words and ways take seconds to collect, so they are collected when the first epoch asks.
    """
    if not config.segmentation_alpha or shards.train_tokens > LARGEST:
        return None

    @functools.cache
    def collected() -> Resegmented:
        return Resegmented(shards.training(), tokenizer, config.segmentation_alpha, config.seed)

    return lambda epoch: collected()(epoch)


def _words(tokens: Ids, spellings: list[str]) -> list[tuple[int, ...]]:
    """The tokens' words, in order; a special piece is a word of its own, and so is what follows it."""
    special = np.array([not text for text in spellings])
    begins = special | np.array([text.startswith(WORD_BOUNDARY) for text in spellings])
    borders = begins[tokens]
    borders[1:] |= special[tokens[:-1]]
    places = [0, *(np.flatnonzero(borders[1:]) + 1).tolist(), len(tokens)]
    plain = tokens.tolist()
    return [tuple(plain[a:b]) for a, b in itertools.pairwise(places)]


def _ways(words: list[tuple[int, ...]], spellings: list[str], tokenizer: Tokenizer) -> list[list[Way]]:
    """Each word's segmentations, its own first and the likeliest; special pieces have that one alone."""
    texts = ["".join(spellings[token] for token in word) for word in words]
    found = tokenizer.segmentations([text.removeprefix(WORD_BOUNDARY) for text in texts], WAYS)
    ways = []
    for word, text, candidates in zip(words, texts, found, strict=True):
        kept = [way for way in candidates if "".join(spellings[token] for token in way[0]) == text]
        ways.append(kept if kept and kept[0][0] == word else [(word, 0.0)])
    return ways


def _shares(ways: list[Way], alpha: float) -> npt.NDArray[np.float64]:
    """Where each way's share of [0, 1) ends."""
    weights = np.exp(alpha * np.array([score - ways[0][1] for _, score in ways]))
    ends = np.cumsum(weights / weights.sum())
    ends[-1] = 1.0  # whatever the rounding
    return ends
