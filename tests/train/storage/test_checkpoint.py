"""Checkpoints: saving, loading, validation, and which one a run resumes from."""

import dataclasses
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.forgery import SMALL, forge, make_content

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.core.errors import CheckpointError  # noqa: E402
from tinyedge.train.model import TinyTransformer  # noqa: E402
from tinyedge.train.state import EpochRecord, State  # noqa: E402
from tinyedge.train.storage import checkpoint  # noqa: E402


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "best_model.pt"
    checkpoint.save(path, make_content())
    return path


def test_a_checkpoint_is_read_by_tinyedge_and_by_plain_torch(path: Path) -> None:
    trained = checkpoint.load_model(path)
    assert trained.config == SMALL
    assert not trained.model.training
    assert set(torch.load(path, weights_only=True)) > {"model_state_dict", "config"}
    with zipfile.ZipFile(path) as archive:
        assert archive.comment.startswith(b"tinyedge-sha256:")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"config": {}}, "has no valid config"),
        ({"config": None}, "has no valid config"),
        (
            {"config": {"model": {**SMALL.to_dict(), "nhead": 3}, "tokenizer_sha256": "", "summary": {}}},
            "nhead 3 does not divide",
        ),
        ({"model_state_dict": {}}, "does not contain this model"),
        ({"model_state_dict": {"output.weight": torch.zeros(1)}}, "does not contain this model"),
        ({"format": 99}, "format 99, this version reads 1"),
    ],
)
def test_invalid_content_is_refused(path: Path, changes: dict[str, Any], words: str) -> None:
    checkpoint.save(path, make_content(**changes))
    with pytest.raises(CheckpointError, match=words):
        checkpoint.load_model(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_neither_written_nor_read(path: Path, value: float) -> None:
    before = path.read_bytes()
    state = TinyTransformer(SMALL).state_dict()
    state["blocks.0.linear1.weight"][3, 4] = value
    words = r"NaN or infinity in blocks\.0\.linear1\.weight"
    with pytest.raises(CheckpointError, match=f"was not written.*{words}"):
        checkpoint.save(path, make_content(model_state_dict=state))
    with pytest.raises(CheckpointError, match="NaN or infinity in exp_avg"):
        checkpoint.save_last(
            path.parent, make_content(optimizer={"state": {0: {"exp_avg": torch.tensor(value)}}})
        )
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    path.write_bytes(forge(make_content(format=1, model_state_dict=state)))
    with pytest.raises(CheckpointError, match=words):
        checkpoint.load_model(path)


def make_state_at(epoch: int, step: int) -> dict[str, Any]:
    """Return what a run saves at an epoch and step."""
    records = [EpochRecord(n + 1, 5.0, 5.0, 0.1, {"all": 2.0}, 1.0, 1.0, 1) for n in range(epoch)]
    history = [dataclasses.asdict(record) for record in records]
    state = State(epoch=epoch, step=step, loss_tokens=step, history=history).to_dict()
    return make_content(state=state, optimizer_state_dict={}, tables={}, rng=torch.get_rng_state())


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_the_most_advanced_checkpoint_is_resumed_whatever_its_name(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "best_model.pt", make_state_at(30, 0))  # never used
    for epoch in (5, 10):
        checkpoint.save(tmp_path / checkpoint.epoch_file_name(epoch), make_state_at(epoch, 0))
    checkpoint.save(tmp_path / "checkpoint_epoch_x.pt", make_state_at(40, 0))
    warnings: list[str] = []
    checkpoint.save(
        tmp_path / checkpoint.LAST_FILE, make_state_at(9, 0)
    )  # the run was killed before the next save
    assert checkpoint.find_newest(tmp_path, warnings.append).name == "checkpoint_epoch_10.pt"
    checkpoint.save(tmp_path / checkpoint.LAST_FILE, make_state_at(10, 3))
    assert checkpoint.find_newest(tmp_path, warnings.append).name == checkpoint.LAST_FILE
    assert warnings == []


def test_a_damaged_checkpoint_causes_a_warning_and_the_one_before_is_used(tmp_path: Path) -> None:
    names = ["checkpoint_last.pt", "checkpoint_before_last.pt", "checkpoint_epoch_5.pt"]
    for name, (epoch, step) in zip(names, ((7, 0), (6, 0), (5, 0)), strict=True):
        checkpoint.save(tmp_path / name, make_state_at(epoch, step))
    for number, name in enumerate(names):
        warnings: list[str] = []
        assert checkpoint.find_newest(tmp_path, warnings.append).name == name
        assert len(warnings) == number
        assert all(f"{names[i]} is damaged" in warning for i, warning in enumerate(warnings))
        damage(tmp_path / name)
    with pytest.raises(CheckpointError, match=r"checkpoint_last\.pt is damaged"):
        checkpoint.find_newest(tmp_path, warnings.append)


def test_a_folder_without_checkpoints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no checkpoint to resume from"):
        checkpoint.find_newest(tmp_path, print)


def test_the_checkpoint_before_the_last_is_kept_unless_damaged(tmp_path: Path) -> None:
    last, before = tmp_path / checkpoint.LAST_FILE, tmp_path / checkpoint.BEFORE_LAST_FILE

    def step(path: Path) -> int:
        return int(checkpoint.load(path)["state"]["step"])

    checkpoint.save_last(tmp_path, make_state_at(0, 1))
    assert not before.exists()
    checkpoint.save_last(tmp_path, make_state_at(0, 2))
    assert (step(last), step(before)) == (2, 1)
    damage(last)
    checkpoint.save_last(tmp_path, make_state_at(0, 3))
    assert (step(last), step(before)) == (3, 1)


def test_the_newest_periodic_checkpoints_are_kept(tmp_path: Path) -> None:
    others = ("best_model.pt", "final_model.pt", "checkpoint_last.pt", "checkpoint_epoch_.pt")
    for name in (*others, *(checkpoint.epoch_file_name(epoch) for epoch in (5, 10, 15, 100))):
        (tmp_path / name).write_bytes(b"x")
    checkpoint.remove_old_periodic(tmp_path, 2)
    kept = {path.name for path in tmp_path.iterdir()} - set(others)
    assert kept == {"checkpoint_epoch_15.pt", "checkpoint_epoch_100.pt"}
    assert all((tmp_path / name).exists() for name in others)


def test_a_finished_run_leaves_no_temporary_files(tmp_path: Path) -> None:
    temporary = (".checkpoint_last.pt.tmp", ".best_model.pt.tmp", ".checkpoint_epoch_5.pt.tmp")
    stay = {"best_model.pt", "final_model.pt", "checkpoint_epoch_5.pt", ".notes.tmp"}
    for name in (*temporary, *stay, "checkpoint_last.pt", "checkpoint_before_last.pt"):
        (tmp_path / name).write_bytes(b"x")
    checkpoint.remove_resume_files(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == stay
