"""A table of n-grams that has read one more text.

In: a table and the n-grams of a text. Out: the content of a new file, with the n-grams of both. Does not know
models.

For each context h that the text has, c(h) times with a continuation, the row becomes the mean of both rows:

    alpha_h(w) = (1 - k) alpha_h(w) of the table + k alpha_h(w) of the text,   k = c(h) / (c(h) + strength)

So a few occurrences change a row a little, and many replace it. Rows that the text does not have stay as they
are; single tokens are mixed in the same way. This is the count merging of Bacchiani et al., "MAP adaptation
of stochastic grammars" (2006), with the table as the prior.

A text is small and a table large, so nothing is computed for the n-grams of the table that are not in a
changed row: their tokens and codes are copied. The text's n-grams are found in the table first. Where the
table does not have one, it is inserted there, and what follows moves by one. Memory, beside both files: a few
bytes for each n-gram of one order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyedge.core.arrays import Booleans, Doubles, IndexArray, Logits
from tinyedge.ngram.counts import TOKEN_MASK
from tinyedge.ngram.layout import CODEBOOK_SIZE, CODEBOOKS_OFFSET, TableLayout
from tinyedge.ngram.table import Codes, NgramTable, RowStarts, TableLevel
from tinyedge.ngram.trie import NgramLevel, NgramTrie
from tinyedge.ngram.write import encode_alphas, hash_blocks, make_codebook, place, start_table

SMALL_ALPHA = 2.0**-16  # less than that may become 0: the shorter context gets it
LARGEST_SHARE = 0.95  # of the largest alpha that a codebook must reach; its steps are about as large


@dataclass(frozen=True)
class _Places:
    """Where the text's n-grams of one order are among those of the table."""

    index: IndexArray
    """Index in the table; of an n-gram that the table does not have, the index that it would have, (T,)."""

    is_known: Booleans
    """Whether the table has it, (T,)."""

    def merged(self) -> IndexArray:
        """Return the index of each in the new table: those inserted before it move it, (T,)."""
        is_new = ~self.is_known
        return self.index + np.cumsum(is_new) - is_new

    def inserted(self) -> IndexArray:
        """Return the indices of the table before which the new n-grams are inserted, in order."""
        return self.index[~self.is_known]


class TableAdapter:
    """A table and a text, prepared to be merged.

    Args:
        table: The table, all of which is checked; None stands for one where all tokens are equally probable.
        text: The text's n-grams, not pruned, of the same vocabulary, and of no lower order.

    Raises:
        BundleError: The table is damaged.
    """

    def __init__(self, table: NgramTable | None, text: NgramTrie) -> None:
        size = text.vocab_size
        self._unigrams = np.full(size, 1 / size) if table is None else table.unigrams.astype(np.float64)
        self._text = text
        self._levels: list[TableLevel] = []
        self._places = [_Places(np.arange(size), np.ones(size, dtype=np.bool_))]  # every token is a context
        contexts = size
        for order, new in enumerate(text.levels[1:], start=2):
            level = table.level(order) if table and order <= table.order else _make_empty_level(contexts)
            known = self._places[-1]
            found = level.find(
                known.index[new.parents], known.is_known[new.parents], (new.ngrams & TOKEN_MASK).astype("u2")
            )
            self._places.append(_Places(*found))
            self._levels.append(level)
            contexts = len(level.tokens)

    def encode(self, strength: float, weights: Sequence[float] = ()) -> bytearray:
        """Return the content of the new file.

        Args:
            strength: Number of occurrences of a context in the text that weigh as much as the table; above 0.
            weights: As in `write_table`.
        """
        counts = [
            len(level.tokens) + len(places.inserted())
            for level, places in zip(self._levels, self._places[1:], strict=True)
        ]
        layout = TableLayout(self._text.vocab_size, counts)
        data = start_table(layout, weights)
        new = self._text.levels[0]
        total = float(new.counts.sum())
        share = total / (total + strength * layout.vocab_size)
        unigrams = (1 - share) * self._unigrams + share * new.alphas
        place(data, layout.unigrams.offset, unigrams.astype("<f4"))
        for number, old in enumerate(self._levels):
            new, contexts, places = self._text.levels[number + 1], *self._places[number : number + 2]
            codes, codebook = _merge_codes(old, new, contexts, places, strength)
            tokens = (new.ngrams[~places.is_known] & TOKEN_MASK).astype("<u2")
            place(data, CODEBOOKS_OFFSET + 4 * CODEBOOK_SIZE * number, codebook.astype("<f4"))
            # The first row starts at 0, which the file has there already.
            place(data, layout.rows[number].offset + 4, _merge_row_ends(old, new, contexts, places))
            place(data, layout.tokens[number].offset, np.insert(old.tokens, places.inserted(), tokens))
            place(data, layout.codes[number].offset, codes)
        hash_blocks(data, layout)
        return data


def _merge_row_ends(old: TableLevel, new: NgramLevel, contexts: _Places, places: _Places) -> RowStarts:
    """Return where each row of the new table ends; a new context has a row of its own."""
    sizes = np.insert(np.diff(old.rows), contexts.inserted(), 0)
    added = np.bincount(new.parents[~places.is_known], minlength=len(contexts.index))
    sizes[contexts.merged()] += added.astype(np.uint32)
    return np.cumsum(sizes, dtype="<u4")


def _merge_codes(
    old: TableLevel, new: NgramLevel, contexts: _Places, places: _Places, strength: float
) -> tuple[Codes, Logits]:
    """Return the codes of the new table, and their codebook.

    Args:
        old: The table's n-grams of one order.
        new: The text's.
        contexts: Places of the text's n-grams of the order below.
        places: Places of the text's n-grams of this order.
        strength: As in `TableAdapter.encode`.
    """
    seen = np.bincount(new.parents, weights=new.counts, minlength=len(contexts.index))
    shares = seen / (seen + strength)
    is_changed = contexts.is_known & (seen > 0)
    changed, alphas = _scale_rows(old, contexts.index[is_changed], 1 - shares[is_changed])
    added = shares[new.parents] * new.alphas
    alphas[np.searchsorted(changed, places.index[places.is_known])] += added[places.is_known]
    added = added[~places.is_known]
    codebook, codes = old.codebook, old.codes.copy()
    if not _reaches(codebook, np.append(alphas, added)):
        is_same = np.ones(len(old.codes), dtype=np.bool_)
        is_same[changed] = False
        same = old.codebook.astype(np.float64)[np.unique(old.codes[is_same])]
        codebook = make_codebook(np.concatenate([same, alphas, added]))
        codes = encode_alphas(old.codebook.astype(np.float64), codebook)[old.codes]  # old code -> new code
    codes[changed] = encode_alphas(alphas, codebook)
    return np.insert(codes, places.inserted(), encode_alphas(added, codebook)), codebook


def _reaches(codebook: Logits, alphas: Doubles) -> bool:
    """Return whether a codebook can stay: rounding to it takes from no alpha more than a step or SMALL_ALPHA.

    With another codebook, all alphas of the table would be rounded down again, each time that it learns.
    """
    is_low_enough = 0 < codebook[1] <= SMALL_ALPHA
    return bool(is_low_enough and codebook[-1] >= LARGEST_SHARE * alphas.max(initial=0.0))


def _scale_rows(old: TableLevel, rows: IndexArray, factors: Doubles) -> tuple[IndexArray, Doubles]:
    """Return the indices of all n-grams of some rows, increasing, and their alphas times the row's factor."""
    firsts, ends = old.rows[rows].astype(np.intp), old.rows[rows + 1].astype(np.intp)
    sizes = ends - firsts
    before = np.cumsum(sizes) - sizes  # n-grams of the rows before
    index = np.repeat(firsts - before, sizes) + np.arange(int(sizes.sum()))
    return index, np.repeat(factors, sizes) * old.codebook.astype(np.float64)[old.codes[index]]


def _make_empty_level(contexts: int) -> TableLevel:
    """Return an order without n-grams, for a table that has not all orders."""
    return TableLevel(
        np.zeros(contexts + 1, dtype=np.uint32),
        np.zeros(0, dtype=np.uint16),
        np.zeros(0, dtype=np.uint8),
        np.zeros(CODEBOOK_SIZE, dtype=np.float32),
        np.ones(contexts, dtype=np.float32),
    )
