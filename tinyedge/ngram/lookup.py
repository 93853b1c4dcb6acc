"""The probabilities of the next token, from a table of n-grams.

In: a table and the tokens so far. Out: a probability for each token of the vocabulary. Does not know models.
Numpy is all that it needs.

One definition, for every implementation to give the same bits. All arithmetic is in single precision, without
fused operations, except gamma (see `NgramRow`):

    p = the unigram probabilities
    for n = 1 ... order - 1, with the last n tokens as the context, if the context has a row:
        p[w] = gamma * p[w]        for each token w
        p[w] = p[w] + alpha[w]     for each token w of the row
"""

from collections.abc import Sequence

import numpy as np

from tinyedge.core.arrays import Logits
from tinyedge.ngram.table import NgramRow, NgramTable


def distribution(table: NgramTable, context: Sequence[int]) -> tuple[Logits, int]:
    """Compute the probabilities of the next token.

    Args:
        table: The table.
        context: The tokens so far; the last `order - 1` of them count.

    Returns:
        Probabilities, (V,), and the number of matched tokens: the length of the longest context with a row.

    Raises:
        BundleError: The file is damaged.
    """
    probabilities = table.unigrams.copy()
    matched = 0
    for length in range(1, min(table.order - 1, len(context)) + 1):
        row = find_row(table, context[len(context) - length :])
        if row is not None:
            probabilities *= row.gamma
            probabilities[row.tokens] += row.alphas
            matched = length
    return probabilities, matched


def find_row(table: NgramTable, context: Sequence[int]) -> NgramRow | None:
    """Find the continuations of a context of 1 to order - 1 tokens; None if it has none."""
    first = int(context[0])
    row = table.row(2, first) if 0 <= first < table.vocab_size else None
    for order, token in enumerate(context[1:], start=3):
        if row is None:
            return None
        position = int(np.searchsorted(row.tokens, token))
        if position == len(row.tokens) or row.tokens[position] != token:
            return None
        row = table.row(order, row.first + position)
    return row
