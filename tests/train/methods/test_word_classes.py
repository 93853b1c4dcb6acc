"""Word classes: similar neighbours, same class; reproducible; and the features built from them."""

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.text.shards import Shards  # noqa: E402
from tinyedge.text.tokenizer import BOS_ID, Tokenizer  # noqa: E402
from tinyedge.train.methods.features import build_features  # noqa: E402
from tinyedge.train.methods.word_classes import CLASS_COUNTS, cluster_pieces  # noqa: E402
from tinyedge.train.recipe import FAST, GUIDE  # noqa: E402


def test_pieces_with_similar_neighbours_share_a_class() -> None:
    """A language with two alternating kinds of words, ten of each."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.arange(20_000) % 2
    tokens = torch.randint(0, 10, (20_000,), generator=generator) + 10 * kinds
    coarse = cluster_pieces(tokens, 1000)[0]
    assert not set(coarse[:10].tolist()) & set(coarse[10:20].tolist())


def test_classes_are_reproducible(shards: Shards, tokenizer: Tokenizer) -> None:
    tokens = torch.from_numpy(shards.training()[0 : len(shards.training())].astype("int64"))
    once, again = (cluster_pieces(tokens, tokenizer.vocab_size) for _ in range(2))
    for size, a, b in zip(CLASS_COUNTS, once, again, strict=True):
        assert a.shape == (tokenizer.vocab_size,)
        assert 0 <= int(a.min()) <= int(a.max()) < size
        assert len(a.unique()) > size // 2
        assert torch.equal(a, b)


def test_features_cover_spelling_and_class(shards: Shards, tokenizer: Tokenizer) -> None:
    features = build_features(shards, FAST, tokenizer)
    assert features is not None
    assert len(features.index) == tokenizer.vocab_size
    assert int(features.index.max()) < features.count
    assert (features.share[BOS_ID] == 0).all()
    a_word = tokenizer.encode("yesterday")[0]
    shares = features.share[a_word]
    assert (shares**2).sum().item() == pytest.approx(1.0)
    assert build_features(shards, GUIDE, tokenizer) is None
