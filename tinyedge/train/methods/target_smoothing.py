"""What else could have stood where a token stands: draws from an n-gram model of the rest of the text.

A small corpus shows most contexts once, and a model that learns it by heart is sure of what followed. An
n-gram model with Kneser and Ney's smoothing (1995; discounts as in Chen and Goodman, 1999) knows better what
else is likely, so a part of each target goes to draws from one, as in Xie et al. ("Data Noising as Smoothing
in Neural Network Language Models", 2017); the inputs stay what they are. It is a trigram model, and counts
for each place all others: a place's own token would always be the likeliest.
"""

import numpy as np
import numpy.typing as npt

DRAWS = 3  # for each place; their mean stands for the whole distribution
NEARBY = 3000  # tokens; where no context helps, one of these: it is of the same language
STREAM = 1  # apart from the draws of segmentation and order, which have the same seed and epoch
MANY = 3  # from this count on the discount is the same

Ids = npt.NDArray[np.uint16]
Integers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


def other_tokens(tokens: Ids, seed: int, epoch: int) -> Ids:
    """For each of N tokens DRAWS others that its context could have had: (N,) to (N, DRAWS)."""
    trigrams = Trigrams(tokens)
    random = np.random.default_rng([seed, epoch, STREAM])
    return np.stack([trigrams.draw(random) for _ in range(DRAWS)], axis=1)


class Groups:
    """Places 0 ... N-1 with equal keys, (N,), side by side.

    order: (N,), the places by their keys. rank, start, size: (N,), of each place where it is in `order`,
    where its group begins there, and how many the group has. number: (N,), its group's; first: (groups,), a
    place of each.
    """

    def __init__(self, keys: Integers) -> None:
        self.order = np.argsort(keys, kind="stable")
        ordered = keys[self.order]
        begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        sizes = np.diff(begins, append=len(keys))
        self.first = self.order[begins]
        self.rank = np.empty_like(self.order)
        self.rank[self.order] = np.arange(len(keys))
        self.number = np.repeat(np.arange(len(begins)), sizes)[self.rank]
        self.start, self.size = begins[self.number], sizes[self.number]


class Trigrams:
    """The counts of a text, arranged so that one draw for all places is a few operations on arrays.

    A draw takes another place with the same two tokens before it, and what stands there; but the share that
    the discount takes from that one's count goes to shorter contexts: to the kinds of trigrams that agree in
    the middle token alone, each counted once, and from them likewise to any token nearby.
    """

    def __init__(self, tokens: Ids) -> None:
        text = self._text = tokens.astype(np.int64)
        base = 1 + int(text.max())
        last = np.concatenate((text[:1], text[:-1]))
        context = np.concatenate((text[:1], last[:-1])) * base + last
        self._contexts = Groups(context)
        self._trigrams = Groups(context * base + text)
        kinds = self._trigrams.first
        self._kind_text = text[kinds]
        self._kinds = Groups(last[kinds])
        self._endings = Groups(last[kinds] * base + self._kind_text)
        self._discounts = _discounts(self._trigrams)
        self._kind_discounts = _discounts(self._endings)

    def draw(self, random: np.random.Generator) -> Ids:
        """A token for each place, (N,)."""
        text, same, size = self._text, self._contexts, len(self._text)
        further = 1 + (random.random(size) * (same.size - 1)).astype(np.int64)
        other = same.order[same.start + (same.rank - same.start + further) % same.size]
        drawn = text[other]
        count = self._trigrams.size[other] - (drawn == text)  # the place itself does not count
        left = np.flatnonzero(~_keeps(count, self._discounts, random))

        own, kinds = self._trigrams.number[left], self._kinds
        kind = kinds.order[kinds.start[own] + (random.random(len(left)) * kinds.size[own]).astype(np.int64)]
        drawn[left] = self._kind_text[kind]
        alone = self._trigrams.size[left] == 1  # only this place makes its kind
        count = self._endings.size[kind] - (alone & (drawn[left] == text[left]))
        left = left[~_keeps(count, self._kind_discounts, random)]

        near = left + random.integers(-NEARBY, NEARBY, len(left), endpoint=True)
        drawn[left] = text[near.clip(0, size - 1)]
        found: Ids = drawn.astype(np.uint16)
        return found


def _keeps(count: Integers, discounts: Doubles, random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Whether a draw with this count stands: with what the discount leaves of it; never with none."""
    kept: npt.NDArray[np.bool_] = random.random(len(count)) * count >= discounts[np.minimum(count, MANY)]
    return kept & (count > 0)


def _discounts(groups: Groups) -> Doubles:
    """What a count of 0, 1, 2 and of MANY or more gives up (Chen and Goodman's equation 26)."""
    of_count = np.bincount(groups.size[groups.first], minlength=MANY + 2)
    share = of_count[1] / max(1, of_count[1] + 2 * of_count[2])
    counts = np.arange(MANY + 1)
    found = counts - (counts + 1) * share * of_count[counts + 1] / np.maximum(of_count[counts], 1)
    return np.asarray(found.clip(0, counts), dtype=np.float64)
