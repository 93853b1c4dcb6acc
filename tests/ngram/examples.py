"""Small texts for the tests of the n-gram table, and Kneser-Ney written as its definition."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tinyedge.core.arrays import TokenIds
from tinyedge.ngram.counts import count_ngrams
from tinyedge.ngram.estimate import estimate, estimate_discounts
from tinyedge.ngram.mapped_file import NgramFile
from tinyedge.ngram.table import NgramTable
from tinyedge.ngram.trie import NgramTrie
from tinyedge.ngram.write import encode_table
from tinyedge.text.tokenizer import BOS_ID, EOS_ID

VOCAB_SIZE = 40


def make_text(lines: int = 60, seed: int = 0) -> TokenIds:
    """Return lines of BOS ... EOS in which some tokens follow others more often than chance."""
    random = np.random.default_rng(seed)
    tokens: list[int] = []
    for _ in range(lines):
        line = [int(random.integers(4, VOCAB_SIZE - 1))]  # the last token never occurs
        for _ in range(int(random.integers(2, 12))):
            step = int(random.choice([1, 2, 7, 11], p=[0.5, 0.3, 0.15, 0.05]))
            line.append(4 + (line[-1] - 4 + step) % (VOCAB_SIZE - 5))
        tokens += [BOS_ID, *line, EOS_ID]
    return np.array(tokens, dtype=np.uint16)


def make_trie(text: "TokenIds | None" = None, order: int = 4) -> NgramTrie:
    return estimate(count_ngrams([make_text() if text is None else text], VOCAB_SIZE, order))


def make_table(trie: NgramTrie | None = None, weights: Sequence[float] = ()) -> NgramTable:
    return NgramTable(NgramFile(encode_table(make_trie() if trie is None else trie, weights)))


class SlowKneserNey:
    """Interpolated modified Kneser-Ney with dictionaries, as Chen and Goodman (1999) define it."""

    def __init__(self, tokens: Sequence[int], vocab_size: int, order: int) -> None:
        self._vocab_size, self._order = vocab_size, order
        self._counts: list[Counter[tuple[int, ...]]] = []
        grams = [
            Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)) for n in range(1, order + 1)
        ]
        for n in range(1, order + 1):
            own = grams[n - 1]
            neighbours = Counter(gram[1:] for gram in grams[n]) if n < order else Counter(own)
            keeps = {gram: own[gram] for gram in own if n == order or (n > 1 and gram[0] == BOS_ID)}
            self._counts.append(Counter({gram: keeps.get(gram, neighbours[gram]) for gram in own}))
        self._discounts = [estimate_discounts(np.array(list(counts.values()))) for counts in self._counts]

    def probability(self, context: tuple[int, ...], token: int) -> float:
        """Return p(token | context)."""
        context = context[max(0, len(context) - self._order + 1) :]
        counts, discounts = self._counts[len(context)], self._discounts[len(context)]
        row = [count for gram, count in counts.items() if gram[:-1] == context]
        lower = self.probability(context[1:], token) if context else 1 / self._vocab_size
        total = sum(row)
        if total == 0:
            return lower
        count = counts[(*context, token)]
        gamma = sum(discounts[min(c, 3)] for c in row) / total
        return (count - discounts[min(count, 3)]) / total + gamma * lower
