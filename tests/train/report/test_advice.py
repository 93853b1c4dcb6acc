"""Each detectable row of the guide's problem-solution matrix has its advice."""

import errno
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.core.config import ModelConfig  # noqa: E402
from tinyedge.core.errors import CheckpointError, TokenizerError  # noqa: E402
from tinyedge.text.tokenizer import Tokenizer  # noqa: E402
from tinyedge.train.model import TinyTransformer  # noqa: E402
from tinyedge.train.report.advice import advise, divergence_error, out_of_memory_error  # noqa: E402
from tinyedge.train.storage import checkpoint  # noqa: E402


def make_history(
    train: list[float], val: list[float] | None = None, lr: float = 3e-4
) -> list[dict[str, Any]]:
    """Return a history with these losses."""
    return [
        {"epoch": n, "train_loss": t, "val_loss": v, "lr": lr, "tokens_per_second": 1000.0}
        for n, (t, v) in enumerate(zip(train, val or train, strict=True), 1)
    ]


FALLING = [6.9, 6.0, 5.5, 5.2, 5.0, 4.9, 4.8, 4.7, 4.6, 4.5]
SLOW_FALL = [8 - 0.2 * n for n in range(10)]
STUCK = [6.0, 5.9, 5.9, 5.901, 5.899]


def advice_kinds(history: list[dict[str, Any]], eta_s: float = 60) -> list[str]:
    return [advice.kind for advice in advise(history, eta_s, 1000.0)]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], []),
        (make_history(FALLING), []),
        (make_history(SLOW_FALL[:9]), []),
        (make_history(SLOW_FALL), ["high-loss"]),
        (make_history(STUCK[:4]), []),
        (make_history(STUCK), ["stuck"]),
        (make_history([3.0, 2.9, 2.8], [3.0, 3.1, 3.2]), ["overfitting"]),
        (make_history([3.0, 2.9, 2.8], [3.0, 3.1, 3.1]), []),
        (make_history([3.0, 3.1, 3.2], [3.0, 3.1, 3.2]), []),
    ],
)
def test_problems_are_detected_from_the_history(history: list[dict[str, Any]], expected: list[str]) -> None:
    assert advice_kinds(history) == expected


@pytest.mark.parametrize(("speed", "expected"), [(499.0, ["slowed"]), (501.0, []), (None, [])])
def test_a_slower_machine_is_detected(speed: float | None, expected: list[str]) -> None:
    found = advise(make_history([3.0, 2.9]), None, speed)
    assert [advice.kind for advice in found] == expected
    assert all("499 tokens/s now, 1,000 at first" in advice.sentence for advice in found)


def test_the_end_of_a_schedule_is_not_stuck() -> None:
    history = make_history(STUCK)
    history[-1]["lr"] = history[0]["lr"] / 20
    assert advice_kinds(history) == []


def test_a_long_run_is_announced() -> None:
    assert advice_kinds([], 2.9 * 3600) == []
    (advice,) = advise([], 7 * 3600, None)
    assert "about 7 hours left" in advice.sentence
    assert "--max-minutes" in advice.sentence
    assert "--device cuda" in advice.sentence


@pytest.mark.parametrize(
    ("history", "words"),
    [
        (make_history(SLOW_FALL), ["6.20 after epoch 10", "--learning-rate to 0.001"]),
        (make_history(SLOW_FALL, lr=3e-3), ["6.20 after epoch 10", "--d-model"]),
        (make_history(STUCK), ["for 3 epochs", "--learning-rate", "--recipe fast"]),
        (
            make_history([3.0, 2.9, 2.8], [3.0, 3.1, 3.2]),
            ["best_model.pt keeps epoch 1", "--epochs", "--patience"],
        ),
    ],
)
def test_advice_names_a_remedy(history: list[dict[str, Any]], words: list[str]) -> None:
    (advice,) = advise(history, 60, None)
    assert all(word in advice.sentence for word in words), advice.sentence
    assert "\n" not in advice.sentence


@pytest.mark.parametrize(("rate", "lower"), [(3e-3, "0.0001"), (1e-4, "1e-05")])
def test_divergence_has_the_guides_remedy(rate: float, lower: str) -> None:
    error = divergence_error(float("nan"), 3, 17, rate)
    assert "the loss is nan in epoch 3, step 17" in error.message
    assert f"--learning-rate {lower}" in error.hint
    assert "--clip-norm" in error.hint
    assert error.exit_code == 1


@pytest.mark.parametrize(
    "failure",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you ..."
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1000 bytes."),
    ],
)
def test_out_of_memory_has_the_guides_remedy(failure: Exception) -> None:
    error = out_of_memory_error(failure, 32, 128)
    assert error is not None
    assert "--batch-size 32" in error.message
    assert "--batch-size 16 or --max-seq-length 64" in error.hint


def test_torchs_own_message_is_recognized() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert out_of_memory_error(caught.value, 1, 32) is not None


def test_other_failures_are_not_out_of_memory() -> None:
    assert out_of_memory_error(RuntimeError("mat1 and mat2 shapes cannot be multiplied"), 32, 128) is None


def test_a_size_mismatch_names_the_weight_and_the_flags(tmp_path: Path) -> None:
    model = ModelConfig(1000, 64, 2, 1, 128, 32)
    path = tmp_path / "best_model.pt"
    config = {"model": {**model.to_dict(), "max_seq_length": 48}, "tokenizer_sha256": "", "summary": {}}
    weights = TinyTransformer(model).state_dict()
    weights["position_embedding.weight"] = torch.zeros(32 + 32, 64)
    content = {"epoch": 1, "model_state_dict": weights, "train_loss": 1.0, "val_loss": 1.0, "config": config}
    checkpoint.save(path, content)
    with pytest.raises(
        CheckpointError, match=r"size mismatch: position_embedding\.weight is \(64, 64\)"
    ) as caught:
        checkpoint.load_model(path)
    assert "--d-model" in caught.value.hint


def test_a_missing_tokenizer_has_a_hint(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"bilingual_8k\.model does not exist") as caught:
        Tokenizer.load(tmp_path / "bilingual_8k.model")
    assert "tinyedge tokenizer" in caught.value.hint


def test_a_full_disk_is_not_out_of_memory() -> None:
    assert out_of_memory_error(OSError(errno.ENOSPC, "No space left on device"), 32, 128) is None
