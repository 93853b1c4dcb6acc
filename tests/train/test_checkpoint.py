"""Checkpoints that are damaged, hostile or foreign are refused in one sentence."""

import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.config import ModelConfig  # noqa: E402
from tinyedge.errors import CheckpointError  # noqa: E402
from tinyedge.train import checkpoint  # noqa: E402
from tinyedge.train.model import TinyTransformer  # noqa: E402

SMALL = ModelConfig(
    vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
)


def content(**changes: Any) -> dict[str, Any]:
    value = {
        "epoch": 1,
        "model_state_dict": TinyTransformer(SMALL).state_dict(),
        "train_loss": 5.0,
        "val_loss": 5.0,
        "config": {"model": SMALL.to_dict(), "tokenizer_sha256": "0" * 64, "summary": {"epochs": 1}},
    }
    return value | changes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "best_model.pt"
    checkpoint.save(path, content())
    return path


def test_round_trip_and_plain_torch_reads_it(path: Path) -> None:
    trained = checkpoint.load_model(path)
    assert trained.config == SMALL
    assert not trained.model.training
    assert set(torch.load(path, weights_only=True)) > {"model_state_dict", "config"}
    with zipfile.ZipFile(path) as archive:
        assert archive.comment.startswith(b"tinyedge-sha256:")


def test_every_flipped_bit_and_cut_is_found(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    chance = random.Random(0)
    damaged = tmp_path / "damaged.pt"
    for _ in range(50):
        place, bit = chance.randrange(len(whole)), 1 << chance.randrange(8)
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        with pytest.raises(CheckpointError, match=r"damaged\.pt"):
            checkpoint.load(damaged)
    for _ in range(50):
        damaged.write_bytes(whole[: chance.randrange(1, len(whole))])
        with pytest.raises(CheckpointError, match="cut short"):
            checkpoint.load(damaged)


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_code_in_a_checkpoint_is_never_run(path: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(CheckpointError):
        checkpoint.load(plain)
    checkpoint.save(path, content(config=Evil(mark)))  # well-formed, digest and all
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        checkpoint.load(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"config": {}}, "has no usable config"),
        ({"config": None}, "has no usable config"),
        (
            {"config": {"model": {**SMALL.to_dict(), "nhead": 3}, "tokenizer_sha256": "", "summary": {}}},
            "--nhead 3",
        ),
        ({"model_state_dict": {}}, "does not hold this model"),
        ({"model_state_dict": {"output.weight": torch.zeros(1)}}, "does not hold this model"),
        ({"format": 99}, "format 99, this version reads 1"),
    ],
)
def test_foreign_content_is_named(path: Path, changes: dict[str, Any], words: str) -> None:
    checkpoint.save(path, content(**changes))
    with pytest.raises(CheckpointError, match=words):
        checkpoint.load_model(path)


def test_not_a_number_is_refused(path: Path) -> None:
    state = TinyTransformer(SMALL).state_dict()
    state["blocks.0.linear1.weight"][3, 4] = float("nan")
    checkpoint.save(path, content(model_state_dict=state))
    with pytest.raises(CheckpointError, match=r"NaN or infinity in blocks\.0\.linear1\.weight"):
        checkpoint.load_model(path)


def test_newest_first(tmp_path: Path) -> None:
    for name in ("checkpoint_epoch_5.pt", "checkpoint_epoch_10.pt", "best_model.pt", "checkpoint_epoch_x.pt"):
        (tmp_path / name).write_bytes(b"x")
    names = [p.name for p in checkpoint.resumable(tmp_path)]
    assert names == ["checkpoint_epoch_10.pt", "checkpoint_epoch_5.pt"]
    (tmp_path / "checkpoint_last.pt").write_bytes(b"x")
    assert checkpoint.resumable(tmp_path)[0].name == "checkpoint_last.pt"
