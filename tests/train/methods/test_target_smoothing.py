"""Alternatives for targets: drawn by the counts of the rest of the text, determined by seed and epoch."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.text.shards import Shards
from tinyedge.train.methods.target_smoothing import DRAWS, KeyGroups, Trigrams, sample_alternatives


def test_groups_are_positions_with_equal_keys() -> None:
    keys = np.array([5, 2, 5, 9, 2, 5])
    groups = KeyGroups(keys)
    assert groups.size.tolist() == [3, 2, 3, 1, 2, 3]
    for place in range(6):
        start = groups.start[place]
        members = groups.order[start : start + groups.size[place]]
        assert (keys[members] == keys[place]).all()
        assert groups.order[groups.rank[place]] == place
    assert keys[groups.first].tolist() == [2, 5, 9]
    assert keys[groups.first][groups.number].tolist() == keys.tolist()


def test_alternatives_depend_on_seed_and_epoch_alone(shards: Shards) -> None:
    tokens = shards.training()[0 : len(shards.training())]
    one = sample_alternatives(tokens, seed=3, epoch=1)
    assert one.shape == (len(tokens), DRAWS)
    assert one.dtype == np.uint16
    assert np.array_equal(one, sample_alternatives(tokens, seed=3, epoch=1))
    assert not np.array_equal(one, sample_alternatives(tokens, seed=3, epoch=2))
    assert not np.array_equal(one, sample_alternatives(tokens, seed=4, epoch=1))


def test_alternatives_are_what_followed_the_context_elsewhere() -> None:
    """1 2 is followed by 3 in 60% of its occurrences and by 4 in 40%. The rest of the text is random."""
    random = np.random.default_rng(0)
    parts = []
    for following in random.permutation([3] * 600 + [4] * 400):
        parts += [1, 2, following, *random.integers(10, 500, 5)]
    tokens = np.array(parts, dtype=np.uint16)
    places = np.flatnonzero((tokens[:-2] == 1) & (tokens[1:-1] == 2)) + 2
    drawn = Trigrams(tokens).draw(np.random.default_rng(1))[places]
    assert np.isin(drawn, (3, 4)).mean() > 0.98  # a little goes to shorter contexts
    assert (drawn == 3).mean() == pytest.approx(0.6, abs=0.05)


def test_a_position_does_not_count_itself() -> None:
    """In a text without repeated contexts, nothing favours the token at its own position."""
    tokens = np.random.default_rng(0).permutation(5000).astype(np.uint16)
    drawn = Trigrams(tokens).draw(np.random.default_rng(1))
    assert (drawn == tokens).mean() < 0.01


@pytest.mark.parametrize("tokens", [[7], [7, 7], [7, 8, 7, 8, 7, 8], list(range(40))])
def test_the_smallest_texts_give_alternatives_from_their_own_tokens(tokens: list[int]) -> None:
    drawn = sample_alternatives(np.array(tokens, dtype=np.uint16), seed=0, epoch=0)
    assert set(drawn.flatten().tolist()) <= set(tokens)
