"""Sampled segmentations: the same text in other pieces, determined by seed and epoch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.text.shards import Shards  # noqa: E402
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, UNK_ID, Tokenizer  # noqa: E402
from tinyedge.train.data import AugmentedTokens, Batches  # noqa: E402
from tinyedge.train.methods.subword_regularization import SegmentationSampler  # noqa: E402


def test_the_text_stays_the_same_and_its_pieces_change(shards: Shards, tokenizer: Tokenizer) -> None:
    tokens = shards.training()
    drawn = SegmentationSampler(tokens, tokenizer, alpha=0.3, seed=0).sample(0)
    likeliest = tokens[0 : len(tokens)]
    assert len(drawn) > 1.05 * len(likeliest)  # the most likely one has few, long pieces
    assert (drawn == BOS_ID).sum() == (likeliest == BOS_ID).sum()
    assert (
        tokenizer.decode(drawn[:2000].tolist())[:1000] == tokenizer.decode(likeliest[:2000].tolist())[:1000]
    )


def test_segmentations_depend_on_seed_and_epoch_alone(shards: Shards, tokenizer: Tokenizer) -> None:
    tokens = shards.training()
    one = SegmentationSampler(tokens, tokenizer, alpha=1.0, seed=3)
    first, second = one.sample(0), one.sample(1)
    assert not np.array_equal(first, second)
    assert np.array_equal(one.sample(0), first)
    assert np.array_equal(SegmentationSampler(tokens, tokenizer, alpha=1.0, seed=3).sample(1), second)
    assert not np.array_equal(SegmentationSampler(tokens, tokenizer, alpha=1.0, seed=4).sample(0), first)


def test_an_unknown_piece_keeps_its_place(tokenizer: Tokenizer) -> None:
    tokens = np.array(
        [BOS_ID, *tokenizer.encode("Hello, my"), UNK_ID, *tokenizer.encode("sister"), EOS_ID], dtype=np.uint16
    )
    sampler = SegmentationSampler(tokens, tokenizer, alpha=0.1, seed=0)
    drawn = [sampler.sample(epoch).tolist() for epoch in range(20)]
    assert len({len(line) for line in drawn}) > 1
    assert {tokenizer.decode(line) for line in drawn} == {tokenizer.decode(tokens.tolist())}


def test_segmentations_are_drawn_by_their_probability(tokenizer: Tokenizer) -> None:
    """Segmentations of a word occur as often as the tokenizer's probabilities predict."""
    word = tuple(tokenizer.encode("yesterday"))
    (segmentations,) = tokenizer.find_segmentations(["yesterday"], 8)
    assert segmentations[0][0] == word
    tokens = np.array(word * 20_000, dtype=np.uint16)
    drawn = SegmentationSampler(tokens, tokenizer, alpha=0.2, seed=0).sample(0)
    weights = np.exp(0.2 * np.array([score for _, score in segmentations]))
    expected = (
        sum(
            len(segmentation) * weight
            for (segmentation, _), weight in zip(segmentations, weights, strict=True)
        )
        / weights.sum()
    )
    assert len(drawn) / 20_000 == pytest.approx(expected, rel=0.02)


def test_an_epoch_has_as_many_batches_either_way(shards: Shards, tokenizer: Tokenizer) -> None:
    tokens = shards.training()
    sampler = SegmentationSampler(tokens, tokenizer, alpha=0.3, seed=0)
    batches = Batches(tokens, 8, 32, 0, 0, lambda epoch: AugmentedTokens(sampler.sample(epoch)))
    last = batches.steps_per_epoch - 1
    assert batches.can_augment
    assert batches.batch(0, last, augmented=True).inputs.shape == batches.batch(0, last).inputs.shape
    first, other = batches.batch(0, 0, augmented=True), batches.batch(1, 0, augmented=True)
    assert not torch.equal(first.inputs, other.inputs)
    again = batches.batch(0, 0, augmented=True)  # epochs may be read in any order
    assert torch.equal(again.inputs, first.inputs)
    assert not Batches(tokens, 8, 32, 0, 0).can_augment
