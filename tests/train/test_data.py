"""Batches are a pure function of (seed, epoch, step), and cover the text."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.errors import CorpusError  # noqa: E402
from tinyedge.train.data import Batches  # noqa: E402

TOKENS = np.arange(1000, dtype=np.uint16)


def test_same_arguments_same_batch_whatever_came_before() -> None:
    one, other = (Batches(TOKENS, 4, 32, 0, seed=3) for _ in range(2))
    one.batch(0, 0), one.batch(5, 2)
    for epoch, step in ((2, 1), (0, 0), (2, 1)):
        for a, b in zip(one.batch(epoch, step), other.batch(epoch, step), strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(one.batch(0, 0)[0], one.batch(1, 0)[0])
    assert not torch.equal(one.batch(0, 0)[0], Batches(TOKENS, 4, 32, 0, seed=4).batch(0, 0)[0])


def test_targets_are_inputs_moved_by_one() -> None:
    inputs, targets = Batches(TOKENS, 4, 32, 0, seed=0).batch(0, 0)
    assert inputs.shape == (4, 32)
    assert torch.equal(inputs + 1, targets)


def test_windows_do_not_overlap_and_cover_an_epoch() -> None:
    batches = Batches(TOKENS, 4, 32, 0, seed=0)
    for epoch in range(3):
        seen = torch.cat([batches.batch(epoch, s)[0].flatten() for s in range(batches.steps_per_epoch)])
        assert len(seen) == len(set(seen.tolist())) == 32 * batches.windows
        assert len(seen) > len(TOKENS) - 2 * 32 - 1
    assert {int(batches.batch(e, 0)[0][0, 0]) % 32 for e in range(8)} != {0}  # a new offset each epoch


def test_stride_one_is_the_guides_sliding_window() -> None:
    assert Batches(TOKENS, 32, 128, 1, seed=0).windows == 1000 - 128


def test_too_little_text_is_said() -> None:
    with pytest.raises(CorpusError, match="has 40 training tokens, a window of 32 needs 64"):
        Batches(TOKENS[:40], 4, 32, 0, seed=0)
    assert Batches(TOKENS[:64], 4, 32, 0, seed=0).windows == 1
