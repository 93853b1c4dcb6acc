"""Validation equals the evaluator's result, for any batch size."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.core.config import ModelConfig  # noqa: E402
from tinyedge.text.evaluate import Passage, evaluate  # noqa: E402
from tinyedge.train import validation  # noqa: E402
from tinyedge.train.model import TinyTransformer  # noqa: E402

SMALL = ModelConfig(
    vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
)


def make_passages() -> list[tuple[str, Passage]]:
    random = np.random.default_rng(0)
    lengths = [2, 10, 33, 34, 70, 5, 100]
    return [
        ("en" if n % 2 else "es", Passage(random.integers(4, 1000, n).astype(np.uint16), 4 * n))
        for n in lengths
    ]


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_validation_equals_the_evaluator_without_overlap(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "BATCH_SIZE", batch)
    torch.manual_seed(0)
    model = TinyTransformer(SMALL)
    found = {q.name: q for q in validation.validate(model, make_passages(), torch.device("cpu"))}
    assert list(found) == ["all", "en", "es"]
    for name in found:
        mine = [passage for language, passage in make_passages() if name in ("all", language)]
        expected = evaluate(name, validation.CheckpointModel(model), mine, stride=32)
        assert found[name].bits_per_byte == pytest.approx(expected.bits_per_byte, rel=1e-5)
        assert (found[name].tokens, found[name].bytes) == (expected.tokens, expected.bytes)
    whole = found["all"]
    assert whole.bits_per_byte == pytest.approx(
        math.log2(whole.perplexity) * whole.tokens / whole.bytes, rel=1e-9
    )
