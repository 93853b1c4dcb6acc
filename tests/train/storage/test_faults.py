"""A disk that fails at any call of a save, once or permanently, leaves the old state or the new one."""

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.faults import Disk

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch

from tinyedge.cli import main
from tinyedge.train.state import State
from tinyedge.train.storage import checkpoint


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def make_content_at(step: int) -> dict[str, Any]:
    return {
        "epoch": 0,
        "model_state_dict": {"weight": torch.full((50_000,), float(step))},
        "train_loss": None,
        "val_loss": None,
        "config": {"summary": {}},
        "state": State(step=step, loss_tokens=step).to_dict(),
        **dict.fromkeys(("optimizer_state_dict", "tables", "rng")),
    }


def read_step(path: Path) -> int:
    content = checkpoint.load(path)
    step = int(content["state"]["step"])
    assert torch.equal(content["model_state_dict"]["weight"], torch.full((50_000,), float(step)))
    return step


FAULTS = [(errno.EIO, False), (errno.ENOSPC, False), (errno.ENOSPC, True)]


@pytest.mark.parametrize("forever", [False, True])
@pytest.mark.parametrize(("error", "short"), FAULTS, ids=["EIO", "ENOSPC", "short write"])
def test_a_save_that_fails_at_any_call_leaves_a_valid_state(
    disk: Disk, tmp_path: Path, capsys: pytest.CaptureFixture[str], error: int, short: bool, forever: bool
) -> None:
    def save(step: int) -> None:
        """Save as at the end of an epoch."""
        checkpoint.save(tmp_path / checkpoint.BEST_FILE, make_content_at(step))
        checkpoint.save_last(tmp_path, make_content_at(step))

    save(1)
    disk.mend()
    save(2)
    calls = disk.calls
    kinds = [call.split()[0] for call in calls]
    assert (kinds.count("rename"), kinds.count("fsync"), kinds.count("open")) == (3, 4, 4)
    assert kinds.count("write") >= 4
    for bad in range(1, len(calls) + 1):
        disk.mend()
        save(1)
        save(2)
        disk.mend()
        disk.error, disk.short, disk.forever = error, short, forever
        disk.bad = lambda number, call, bad=bad: number == bad  # type: ignore[misc]
        with pytest.raises(OSError, match=os.strerror(error)) as caught:
            save(3)
        assert main.explain(caught.value) == 1
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(":")[0] for line in lines] == ["error", "hint"]
        assert str(tmp_path) in lines[0]
        assert read_step(tmp_path / checkpoint.BEST_FILE) in (2, 3), calls[bad - 1]
        warnings: list[str] = []
        assert read_step(checkpoint.find_newest(tmp_path, warnings.append)) in (2, 3), calls[bad - 1]
        assert warnings == []
        assert not list(tmp_path.glob(".*"))
        disk.mend()
        save(4)
        assert read_step(checkpoint.find_newest(tmp_path, warnings.append)) == 4


def test_a_short_write_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system call may write less than requested without an error."""

    class ShortWriter(io.FileIO):
        def write(self, data: Any) -> int:
            return super().write(memoryview(data).cast("B")[:1000])

    real = Path.open

    def open_short(path: Path, mode: str = "r") -> Any:
        return io.BufferedWriter(ShortWriter(str(path), mode)) if mode == "xb" else real(path, mode)

    monkeypatch.setattr(Path, "open", open_short)
    checkpoint.save_last(tmp_path, make_content_at(7))
    monkeypatch.undo()
    assert read_step(tmp_path / checkpoint.LAST_FILE) == 7


@contextlib.contextmanager
def restored_sigterm() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_a_run_on_a_failing_disk_ends_with_one_error_and_can_be_finished(
    disk: Disk,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "data"

    def train(*more: str) -> int:
        words = f"train --input {corpus} --output-dir {folder} --vocab-size 1000 --d-model 64 --nhead 2"
        words += " --num-layers 1 --dim-feedforward 128 --max-seq-length 32 --stride 1000 --epochs 2"
        words += " --precision fp32"  # not compiled: in this process torch's warnings are errors
        monkeypatch.setattr(sys, "argv", ["tinyedge", *words.split(), *more])
        with restored_sigterm(), pytest.raises(SystemExit) as ended:
            main.main()
        return int(str(ended.value.code))

    assert train() == 0
    expected = torch.load(folder / "final_model.pt", weights_only=True)["model_state_dict"]
    capsys.readouterr()
    again = ["--restart"]
    places = [
        ("write .best_model.pt.tmp", errno.ENOSPC, True),
        ("rename .checkpoint_last.pt.tmp", errno.EIO, False),
        ("fsync .training_metrics.json.tmp", errno.EIO, True),
        ("open .final_model.pt.tmp", errno.EROFS, False),
        ("write .training_curve.png.tmp", errno.ENOSPC, False),
    ]
    for place, error, forever in places:
        disk.mend()
        disk.error, disk.forever = error, forever
        disk.bad = lambda number, call, place=place: call == place  # type: ignore[misc]
        assert train(*again) == 1, place
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, place
        assert os.strerror(error) in errors[0]
        assert not list(folder.glob(".*"))
        again = ["--resume"] if checkpoint.list_resumable(folder) else []
    disk.mend()
    assert train(*again) == 0
    found = torch.load(folder / "final_model.pt", weights_only=True)["model_state_dict"]
    assert all(torch.equal(found[name], value) for name, value in expected.items())
