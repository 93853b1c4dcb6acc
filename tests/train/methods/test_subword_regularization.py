"""Drawn segmentations: the same text in other pieces, a function of seed and epoch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.text.shards import Shards  # noqa: E402
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, UNK_ID, Tokenizer  # noqa: E402
from tinyedge.train.data import Batches, Drawn  # noqa: E402
from tinyedge.train.methods.subword_regularization import Resegmented  # noqa: E402


def test_the_text_stays_and_its_pieces_change(shards: Shards, tokenizer: Tokenizer) -> None:
    tokens = shards.training()
    drawn = Resegmented(tokens, tokenizer, alpha=0.3, seed=0)(0)
    likeliest = tokens[0 : len(tokens)]
    assert len(drawn) > 1.05 * len(likeliest)  # the likeliest has few, long pieces
    assert (drawn == BOS_ID).sum() == (likeliest == BOS_ID).sum()
    assert (
        tokenizer.decode(drawn[:2000].tolist())[:1000] == tokenizer.decode(likeliest[:2000].tolist())[:1000]
    )


def test_is_a_function_of_seed_and_epoch(shards: Shards, tokenizer: Tokenizer) -> None:
    tokens = shards.training()
    one = Resegmented(tokens, tokenizer, alpha=1.0, seed=3)
    first, second = one(0), one(1)
    assert not np.array_equal(first, second)
    assert np.array_equal(one(0), first)
    assert np.array_equal(Resegmented(tokens, tokenizer, alpha=1.0, seed=3)(1), second)
    assert not np.array_equal(Resegmented(tokens, tokenizer, alpha=1.0, seed=4)(0), first)


def test_an_unknown_piece_stays_where_it_is(tokenizer: Tokenizer) -> None:
    tokens = np.array(
        [BOS_ID, *tokenizer.encode("Hello, my"), UNK_ID, *tokenizer.encode("sister"), EOS_ID], dtype=np.uint16
    )
    resegmented = Resegmented(tokens, tokenizer, alpha=0.1, seed=0)
    drawn = [resegmented(epoch).tolist() for epoch in range(20)]
    assert len({len(line) for line in drawn}) > 1
    assert {tokenizer.decode(line) for line in drawn} == {tokenizer.decode(tokens.tolist())}


def test_draws_by_probability(tokenizer: Tokenizer) -> None:
    """Each way to cut a word is drawn as often as the tokenizer's own probabilities say."""
    word = tuple(tokenizer.encode("yesterday"))
    (ways,) = tokenizer.segmentations(["yesterday"], 8)
    assert ways[0][0] == word
    drawn = Resegmented(np.array(word * 20_000, dtype=np.uint16), tokenizer, alpha=0.2, seed=0)(0)
    weights = np.exp(0.2 * np.array([score for _, score in ways]))
    expected = sum(len(way) * weight for (way, _), weight in zip(ways, weights, strict=True)) / weights.sum()
    assert len(drawn) / 20_000 == pytest.approx(expected, rel=0.02)


def test_an_epoch_has_as_many_batches_either_way(shards: Shards, tokenizer: Tokenizer) -> None:
    tokens = shards.training()
    resegmented = Resegmented(tokens, tokenizer, alpha=0.3, seed=0)
    batches = Batches(tokens, 8, 32, 0, 0, lambda epoch: Drawn(resegmented(epoch)))
    last = batches.steps_per_epoch - 1
    assert batches.can_draw
    assert batches.batch(0, last, drawn=True).inputs.shape == batches.batch(0, last).inputs.shape
    first, other = batches.batch(0, 0, drawn=True), batches.batch(1, 0, drawn=True)
    assert not torch.equal(first.inputs, other.inputs)
    again = batches.batch(0, 0, drawn=True)  # epochs may be asked for in any order
    assert torch.equal(again.inputs, first.inputs)
    assert not Batches(tokens, 8, 32, 0, 0).can_draw
