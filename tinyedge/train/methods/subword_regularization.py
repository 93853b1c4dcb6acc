"""Subword regularization: training on segmentations other than the most likely one (Kudo, 2018).

A unigram tokenizer knows the probability of each segmentation (Kudo, "Subword Regularization: Improving
Neural Network Translation Models with Multiple Subword Candidates"). A model that sees "walk|ed" as well as
"walked" memorizes a small corpus less. Evaluation, and the last epochs of training, use the most likely
segmentation.

No piece crosses a space, so the segmentation of each word of a line is drawn separately, from its few most
likely ones. SentencePiece can sample too, but its random generator gives other results in each process.
"""

import functools
import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tinyedge.core.arrays import TokenIds
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import WORD_BOUNDARY, Tokenizer
from tinyedge.train.data import Tokens
from tinyedge.train.recipe import MAX_AUGMENTED_TOKENS, TrainConfig

MAX_SEGMENTATIONS = 8  # for each word; others are improbable

Segmentation = tuple[tuple[int, ...], float]  # pieces and their log probability


class SegmentationSampler:
    """Draws a segmentation of a text for each epoch.

    Args:
        tokens: The text in its most likely segmentation.
        tokenizer: The unigram tokenizer that made it.
        alpha: Exponent of the probabilities. 1 samples by the tokenizer's own; lower values flatten them.
        seed: Seed of the draws.
    """

    def __init__(self, tokens: Tokens, tokenizer: Tokenizer, alpha: float, seed: int) -> None:
        self._seed = seed
        spellings = tokenizer.spellings()
        words = _split_words(tokens[0 : len(tokens)], spellings)
        number = {word: place for place, word in enumerate(dict.fromkeys(words))}
        self._words = np.fromiter((number[word] for word in words), dtype=np.int64, count=len(words))
        found = _segment_words(list(number), spellings, tokenizer)
        # The segmentations of all words one after the other, as one array of tokens.
        self._flat = np.array([t for of_word in found for ids, _ in of_word for t in ids], dtype=np.uint16)
        self._lengths = np.array([len(ids) for of_word in found for ids, _ in of_word])
        self._starts = np.cumsum(self._lengths) - self._lengths
        # The segmentations of word n share the interval [n, n + 1) by their probabilities. Each entry is the
        # end of one, so that a search for n plus a number in [0, 1) draws one.
        self._ends = np.concatenate(
            [n + _cumulative_shares(of_word, alpha) for n, of_word in enumerate(found)]
        )

    def sample(self, epoch: int) -> TokenIds:
        """Return the tokens of an epoch, from 0. They depend only on the text, the seed and the epoch."""
        draws = self._words + np.random.default_rng([self._seed, epoch]).random(len(self._words))
        drawn = np.searchsorted(self._ends, draws, side="right")
        lengths = self._lengths[drawn]
        ends = np.cumsum(lengths)
        places = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)  # of each token in its word
        tokens: TokenIds = self._flat[np.repeat(self._starts[drawn], lengths) + places]
        return tokens


def make_segmentation_sampler(
    shards: Shards, config: TrainConfig, tokenizer: Tokenizer
) -> Callable[[int], TokenIds] | None:
    """Return a function from an epoch, counted from 0, to its tokens.

    Segmenting all words takes seconds, so it is done at the first call.

    Returns:
        The function, or None for recipes without subword regularization and for texts too large to need it.
    """
    if not config.segmentation_alpha or shards.train_tokens > MAX_AUGMENTED_TOKENS:
        return None

    @functools.cache
    def sampler() -> SegmentationSampler:
        return SegmentationSampler(shards.training(), tokenizer, config.segmentation_alpha, config.seed)

    return lambda epoch: sampler().sample(epoch)


def _split_words(tokens: TokenIds, spellings: list[str]) -> list[tuple[int, ...]]:
    """Split tokens into words. A special piece is a word of its own, and so is what follows it."""
    special = np.array([not text for text in spellings])
    begins = special | np.array([text.startswith(WORD_BOUNDARY) for text in spellings])
    borders = begins[tokens]
    borders[1:] |= special[tokens[:-1]]
    places = [0, *(np.flatnonzero(borders[1:]) + 1).tolist(), len(tokens)]
    plain = tokens.tolist()
    return [tuple(plain[a:b]) for a, b in itertools.pairwise(places)]


def _segment_words(
    words: list[tuple[int, ...]], spellings: list[str], tokenizer: Tokenizer
) -> list[list[Segmentation]]:
    """Return each word's segmentations, the most likely first. Special pieces have only their own."""
    texts = ["".join(spellings[token] for token in word) for word in words]
    found = tokenizer.find_segmentations(
        [text.removeprefix(WORD_BOUNDARY) for text in texts], MAX_SEGMENTATIONS
    )
    result = []
    for word, text, candidates in zip(words, texts, found, strict=True):
        same_text = [each for each in candidates if "".join(spellings[token] for token in each[0]) == text]
        result.append(same_text if same_text and same_text[0][0] == word else [(word, 0.0)])
    return result


def _cumulative_shares(segmentations: list[Segmentation], alpha: float) -> npt.NDArray[np.float64]:
    """Return where the share of each segmentation in [0, 1) ends."""
    weights = np.exp(alpha * np.array([score - segmentations[0][1] for _, score in segmentations]))
    ends = np.cumsum(weights / weights.sum())
    ends[-1] = 1.0  # in spite of rounding
    return ends
