"""Validation equals the evaluator's result, for any batch size."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.core.config import ModelConfig  # noqa: E402
from tinyedge.text.evaluate import Passage, evaluate  # noqa: E402
from tinyedge.text.tokenizer import UNK_ID  # noqa: E402
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


@pytest.mark.parametrize("spacing", [2, 3, 7])
def test_spaced_windows_have_the_bytes_of_their_tokens(spacing: int) -> None:
    torch.manual_seed(0)
    model = TinyTransformer(SMALL)
    random = np.random.default_rng(1)
    passages = [("en", Passage(random.integers(4, 1000, 3201).astype(np.uint16), 6400, 0)) for _ in range(3)]
    (whole, _), (part, _) = (
        validation.validate(model, passages, torch.device("cpu"), every) for every in (1, spacing)
    )
    assert part.tokens / 32 == pytest.approx(300 / spacing, abs=2)
    assert part.bytes / part.tokens == pytest.approx(whole.bytes / whole.tokens)
    assert part.bits_per_byte == pytest.approx(whole.bits_per_byte, rel=0.05)


def test_bytes_behind_unk_count_where_a_window_has_unk() -> None:
    torch.manual_seed(0)
    tokens = np.full(129, 7, dtype=np.uint16)
    tokens[70:74] = UNK_ID  # in the third of four windows
    passage = Passage(tokens, 256, unknown_bytes=8)
    model = TinyTransformer(SMALL)
    chosen = {spacing: [n for n in range(4) if validation.is_chosen(n, spacing)] for spacing in (1, 2, 3)}
    assert chosen == {1: [0, 1, 2, 3], 2: [0, 2], 3: [0, 2]}
    for spacing, windows in chosen.items():
        found = validation.validate(model, [("en", passage)], torch.device("cpu"), spacing)[0]
        assert found.unknown_bytes == 8 / (64 * len(windows))
    last = Passage(tokens[:97], 192, unknown_bytes=8)  # the third window alone
    found = validation.validate(
        model, [("en", Passage(tokens[:33], 64)), ("en", last)], torch.device("cpu"), 9
    )[0]
    assert found.unknown_bytes == 0


@pytest.mark.parametrize("spacing", [2, 3, 8])
def test_no_language_and_no_part_of_documents_is_left_out(spacing: int) -> None:
    chosen = [n for n in range(1000) if validation.is_chosen(n, spacing)]
    assert len(chosen) == pytest.approx(1000 / spacing, rel=0.02)
    odd = sum(n % 2 for n in chosen)
    assert odd == pytest.approx(len(chosen) / 2, rel=0.05)
    torch.manual_seed(0)
    model = TinyTransformer(SMALL)
    random = np.random.default_rng(1)
    passages = [
        (name, Passage(random.integers(4, 1000, 20).astype(np.uint16), 40))
        for _ in range(30)
        for name in ("en", "es")
    ]
    found = validation.validate(model, passages, torch.device("cpu"), spacing)
    assert [quality.name for quality in found] == ["all", "en", "es"]
    assert found[1].tokens == found[2].tokens


def test_enough_tokens_are_evaluated() -> None:
    assert [validation.choose_spacing(held_out, 100) for held_out in (0, 99, 199, 200, 1000)] == [
        1,
        1,
        1,
        2,
        10,
    ]
