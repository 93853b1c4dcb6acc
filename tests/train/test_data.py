"""Batches are a pure function of (seed, epoch, step), and cover the text."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.core.errors import CorpusError  # noqa: E402
from tinyedge.train.data import Batches, Drawn  # noqa: E402
from tinyedge.train.permutation import Permutation  # noqa: E402

TOKENS = np.arange(1000, dtype=np.uint16)


def test_same_arguments_same_batch_whatever_came_before() -> None:
    one, other = (Batches(TOKENS, 4, 32, 0, seed=3) for _ in range(2))
    one.batch(0, 0), one.batch(5, 2)
    for epoch, step in ((2, 1), (0, 0), (2, 1)):
        a, b = one.batch(epoch, step), other.batch(epoch, step)
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.targets, b.targets)
    assert not torch.equal(one.batch(0, 0).inputs, one.batch(1, 0).inputs)
    assert not torch.equal(one.batch(0, 0).inputs, Batches(TOKENS, 4, 32, 0, seed=4).batch(0, 0).inputs)


def test_targets_are_inputs_moved_by_one() -> None:
    batch = Batches(TOKENS, 4, 32, 0, seed=0).batch(0, 0)
    assert batch.inputs.shape == (4, 32)
    assert torch.equal(batch.inputs + 1, batch.targets)


def test_windows_do_not_overlap_and_cover_an_epoch() -> None:
    batches = Batches(TOKENS, 4, 32, 0, seed=0)
    for epoch in range(3):
        seen = torch.cat([batches.batch(epoch, s).inputs.flatten() for s in range(batches.steps_per_epoch)])
        assert len(seen) == len(set(seen.tolist())) == 32 * batches.windows
        assert len(seen) > len(TOKENS) - 2 * 32 - 1
    assert {int(batches.batch(e, 0).inputs[0, 0]) % 32 for e in range(8)} != {0}  # a new offset each epoch


def test_stride_one_is_the_guides_sliding_window() -> None:
    assert Batches(TOKENS, 32, 128, 1, seed=0).windows == 1000 - 128


def test_what_could_have_stood_there_stands_beside_its_target() -> None:
    others = np.stack((TOKENS + 1000, TOKENS + 2000), axis=1)
    batches = Batches(TOKENS, 4, 32, 0, 0, lambda epoch: Drawn(TOKENS, others))
    batch = batches.batch(0, 1, drawn=True)
    assert batch.others is not None
    assert torch.equal(batch.others - batch.targets[..., None], torch.tensor([1000, 2000]).expand(4, 32, 2))
    parts = (batch.inputs, batch.targets, batch.others)
    assert set(batch.tokens.tolist()) == {token for part in parts for token in part.flatten().tolist()}
    renamed = batch.renamed(torch.arange(5000) + 7)
    assert renamed.others is not None
    assert torch.equal(renamed.others, batch.others + 7)
    assert torch.equal(renamed.inputs, batch.inputs + 7)
    part = batch.part(slice(1, 3), torch.device("cpu"))
    assert part.others is not None
    assert torch.equal(part.others, batch.others[1:3])
    assert batches.batch(0, 1).others is None


def test_too_little_text_is_said() -> None:
    with pytest.raises(CorpusError, match="has 40 training tokens, a window of 32 needs 64"):
        Batches(TOKENS[:40], 4, 32, 0, seed=0)
    assert Batches(TOKENS[:64], 4, 32, 0, seed=0).windows == 1


def order(size: int, *seed: int) -> "np.ndarray":
    return Permutation(size, np.random.default_rng(seed))(np.arange(size))


@pytest.mark.parametrize("size", [*range(1, 70), 1000, 65_536, 65_537, 100_003])
def test_an_order_holds_every_index_once(size: int) -> None:
    assert np.array_equal(np.sort(order(size, 0)), np.arange(size))


def test_an_order_is_its_seeds_and_is_the_same_piece_by_piece() -> None:
    assert np.array_equal(order(1000, 1, 2), order(1000, 1, 2))
    assert (order(1000, 1, 2) == order(1000, 1, 3)).sum() < 10
    assert (order(1000, 1, 2) == order(1000, 2, 2)).sum() < 10
    permutation = Permutation(1000, np.random.default_rng([1, 2]))
    pieces = [permutation(np.arange(start, min(start + 32, 1000))) for start in range(0, 1000, 32)]
    assert np.array_equal(np.concatenate(pieces), order(1000, 1, 2))


def test_every_order_of_four_comes_about_as_often() -> None:
    orders = [tuple(order(4, seed).tolist()) for seed in range(2400)]
    counts = [orders.count(each) for each in set(orders)]
    assert len(counts) == 24
    assert sum((count - 100) ** 2 / 100 for count in counts) < 58  # chi-squared, 23 degrees: p = 0.0001


@pytest.mark.parametrize("seed", range(3))
def test_an_order_has_no_visible_structure(seed: int) -> None:
    """What numpy's own shuffle would pass too: where things go, what follows what, what stays."""
    size = 100_003
    places = order(size, seed)
    boxes, _, _ = np.histogram2d(np.arange(size), places, bins=16)
    assert 170 < ((boxes - size / 256) ** 2 / (size / 256)).sum() < 330  # chi-squared, 225 degrees
    standard = (places - places.mean()) / places.std()
    lags = [abs((standard[:-lag] * standard[lag:]).mean()) for lag in range(1, 50)]
    assert max(lags) < 4.5 / size**0.5
    steps = np.diff(places)
    assert (abs(steps) == 1).sum() < 12  # 2 are expected
    assert len(set(steps.tolist())) > 0.72 * size  # no step comes again and again
    assert (places == np.arange(size)).sum() < 8  # 1 is expected


def test_a_segmentation_without_a_window_gives_way_to_the_text() -> None:
    """Of a text with a window or two, one that comes out shorter has none."""
    text = TOKENS[:64]
    batches = Batches(text, 4, 32, 0, 0, lambda epoch: Drawn(text[:63]))
    assert torch.equal(batches.batch(1, 0, drawn=True).inputs, batches.batch(1, 0).inputs)
