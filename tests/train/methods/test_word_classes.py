"""Classes: pieces with the same neighbours are together; the features that come of it; always the same."""

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.text.shards import Shards  # noqa: E402
from tinyedge.text.tokenizer import BOS_ID, Tokenizer  # noqa: E402
from tinyedge.train.methods.features import features_for  # noqa: E402
from tinyedge.train.methods.word_classes import SIZES, classes_of  # noqa: E402
from tinyedge.train.recipe import FAST, GUIDE  # noqa: E402


def test_pieces_that_stand_alike_are_of_one_class() -> None:
    """A language of two kinds of words that alternate: ten of the one, ten of the other."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.arange(20_000) % 2
    tokens = torch.randint(0, 10, (20_000,), generator=generator) + 10 * kinds
    coarse = classes_of(tokens, 1000)[0]
    assert not set(coarse[:10].tolist()) & set(coarse[10:20].tolist())


def test_a_text_has_the_same_classes_again(shards: Shards, tokenizer: Tokenizer) -> None:
    tokens = torch.from_numpy(shards.training()[0 : len(shards.training())].astype("int64"))
    once, again = (classes_of(tokens, tokenizer.vocab_size) for _ in range(2))
    for size, a, b in zip(SIZES, once, again, strict=True):
        assert a.shape == (tokenizer.vocab_size,)
        assert 0 <= int(a.min()) <= int(a.max()) < size
        assert len(a.unique()) > size // 2
        assert torch.equal(a, b)


def test_features_are_of_spelling_and_class(shards: Shards, tokenizer: Tokenizer) -> None:
    features = features_for(shards, FAST, tokenizer)
    assert features is not None
    assert len(features.index) == tokenizer.vocab_size
    assert int(features.index.max()) < features.count
    assert (features.share[BOS_ID] == 0).all()
    a_word = tokenizer.encode("yesterday")[0]
    shares = features.share[a_word]
    assert (shares**2).sum().item() == pytest.approx(1.0)
    assert features_for(shards, GUIDE, tokenizer) is None
