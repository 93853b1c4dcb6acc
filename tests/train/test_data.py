"""Batches are determined by (seed, epoch, step), and cover the text."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.core.errors import CorpusError  # noqa: E402
from tinyedge.train.data import AugmentedTokens, Batches  # noqa: E402
from tinyedge.train.permutation import Permutation  # noqa: E402

TOKENS = np.arange(1000, dtype=np.uint16)


def test_a_batch_depends_only_on_its_arguments() -> None:
    one, other = (Batches(TOKENS, 4, 32, 0, seed=3) for _ in range(2))
    one.batch(0, 0), one.batch(5, 2)
    for epoch, step in ((2, 1), (0, 0), (2, 1)):
        a, b = one.batch(epoch, step), other.batch(epoch, step)
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.targets, b.targets)
    assert not torch.equal(one.batch(0, 0).inputs, one.batch(1, 0).inputs)
    assert not torch.equal(one.batch(0, 0).inputs, Batches(TOKENS, 4, 32, 0, seed=4).batch(0, 0).inputs)


def test_targets_are_inputs_shifted_by_one() -> None:
    batch = Batches(TOKENS, 4, 32, 0, seed=0).batch(0, 0)
    assert batch.inputs.shape == (4, 32)
    assert torch.equal(batch.inputs + 1, batch.targets)


def test_windows_do_not_overlap_and_cover_an_epoch() -> None:
    batches = Batches(TOKENS, 4, 32, 0, seed=0)
    for epoch in range(3):
        seen = torch.cat([batches.batch(epoch, s).inputs.flatten() for s in range(batches.steps_per_epoch)])
        assert len(seen) == len(set(seen.tolist())) == 32 * batches.windows
        assert len(seen) > len(TOKENS) - 2 * 32 - 1
    assert {int(batches.batch(e, 0).inputs[0, 0]) % 32 for e in range(8)} != {
        0
    }  # each epoch has a new offset


def test_stride_one_is_the_guides_sliding_window() -> None:
    assert Batches(TOKENS, 32, 128, 1, seed=0).windows == 1000 - 128


def test_alternatives_are_aligned_with_their_targets() -> None:
    alternatives = np.stack((TOKENS + 1000, TOKENS + 2000), axis=1)
    batches = Batches(TOKENS, 4, 32, 0, 0, lambda epoch: AugmentedTokens(TOKENS, alternatives))
    batch = batches.batch(0, 1, augmented=True)
    assert batch.alternatives is not None
    assert torch.equal(
        batch.alternatives - batch.targets[..., None], torch.tensor([1000, 2000]).expand(4, 32, 2)
    )
    parts = (batch.inputs, batch.targets, batch.alternatives)
    assert set(batch.tokens.tolist()) == {token for part in parts for token in part.flatten().tolist()}
    remapped = batch.remap(torch.arange(5000) + 7)
    assert remapped.alternatives is not None
    assert torch.equal(remapped.alternatives, batch.alternatives + 7)
    assert torch.equal(remapped.inputs, batch.inputs + 7)
    part = batch.select(slice(1, 3), torch.device("cpu"))
    assert part.alternatives is not None
    assert torch.equal(part.alternatives, batch.alternatives[1:3])
    assert batches.batch(0, 1).alternatives is None


def test_too_little_text_is_refused() -> None:
    with pytest.raises(CorpusError, match="has 40 training tokens, but a window of 32 needs 64"):
        Batches(TOKENS[:40], 4, 32, 0, seed=0)
    assert Batches(TOKENS[:64], 4, 32, 0, seed=0).windows == 1


def permute(size: int, *seed: int) -> "np.ndarray":
    return Permutation(size, np.random.default_rng(seed))(np.arange(size))


@pytest.mark.parametrize("size", [*range(1, 70), 1000, 65_536, 65_537, 100_003])
def test_a_permutation_contains_every_index_once(size: int) -> None:
    assert np.array_equal(np.sort(permute(size, 0)), np.arange(size))


def test_a_permutation_depends_on_its_seed_and_can_be_computed_in_parts() -> None:
    assert np.array_equal(permute(1000, 1, 2), permute(1000, 1, 2))
    assert (permute(1000, 1, 2) == permute(1000, 1, 3)).sum() < 10
    assert (permute(1000, 1, 2) == permute(1000, 2, 2)).sum() < 10
    permutation = Permutation(1000, np.random.default_rng([1, 2]))
    pieces = [permutation(np.arange(start, min(start + 32, 1000))) for start in range(0, 1000, 32)]
    assert np.array_equal(np.concatenate(pieces), permute(1000, 1, 2))


def test_all_permutations_of_four_are_equally_likely() -> None:
    orders = [tuple(permute(4, seed).tolist()) for seed in range(2400)]
    counts = [orders.count(each) for each in set(orders)]
    assert len(counts) == 24
    assert sum((count - 100) ** 2 / 100 for count in counts) < 58  # chi-squared, 23 degrees: p = 0.0001


@pytest.mark.parametrize("seed", range(3))
def test_a_permutation_has_no_visible_structure(seed: int) -> None:
    """Tests that numpy's own shuffle passes too: places, neighbours, fixed points."""
    size = 100_003
    places = permute(size, seed)
    boxes, _, _ = np.histogram2d(np.arange(size), places, bins=16)
    assert 170 < ((boxes - size / 256) ** 2 / (size / 256)).sum() < 330  # chi-squared, 225 degrees
    standard = (places - places.mean()) / places.std()
    lags = [abs((standard[:-lag] * standard[lag:]).mean()) for lag in range(1, 50)]
    assert max(lags) < 4.5 / size**0.5
    steps = np.diff(places)
    assert (abs(steps) == 1).sum() < 12  # 2 are expected
    assert len(set(steps.tolist())) > 0.72 * size  # no step dominates
    assert (places == np.arange(size)).sum() < 8  # 1 is expected


def test_augmented_tokens_without_a_window_are_not_used() -> None:
    """The segmentation of a very short text may have fewer tokens than one window."""
    text = TOKENS[:64]
    batches = Batches(text, 4, 32, 0, 0, lambda epoch: AugmentedTokens(text[:63]))
    assert torch.equal(batches.batch(1, 0, augmented=True).inputs, batches.batch(1, 0).inputs)
