"""Distributed runs: equal losses, resume with any number of processes, one error line if one dies."""

import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tests.support.program import tinyedge  # noqa: E402
from tinyedge.cli import main  # noqa: E402
from tinyedge.core.config import ModelConfig  # noqa: E402
from tinyedge.core.errors import TrainingError  # noqa: E402
from tinyedge.corpus import phrasebook  # noqa: E402
from tinyedge.text.shards import Shards  # noqa: E402
from tinyedge.text.tokenizer import Tokenizer  # noqa: E402
from tinyedge.train.data import Batch, Batches  # noqa: E402
from tinyedge.train.distributed import SINGLE_PROCESS, Group, join_process_group  # noqa: E402
from tinyedge.train.hardware import choose_hardware  # noqa: E402
from tinyedge.train.limits import RunLimits  # noqa: E402
from tinyedge.train.model import TinyTransformer  # noqa: E402
from tinyedge.train.recipe import GUIDE, SMALL_STEPS, TrainConfig  # noqa: E402
from tinyedge.train.report.reporter import Progress  # noqa: E402
from tinyedge.train.step import TrainStep  # noqa: E402
from tinyedge.train.storage import checkpoint  # noqa: E402
from tinyedge.train.trainer import Trainer  # noqa: E402

Make = Callable[..., tuple[Trainer, Any]]
SMALL = ModelConfig(
    vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
)
SHAPE = "--vocab-size 1000 --d-model 64 --nhead 2 --num-layers 1 --dim-feedforward 128 --max-seq-length 32"

TAUGHT = ("--teachers", "2", "--epochs", "2", "--batch-size", "64")


@contextlib.contextmanager
def torchrun(
    folder: Path, *flags: object, text: tuple[str, ...] = ("--skip-corpus",)
) -> Iterator["subprocess.Popen[str]"]:
    """Train with two processes in `folder`, on the corpus there unless the flags say otherwise."""
    words = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "tinyedge", "train"]
    words += [*text, "--precision", "fp32", *SHAPE.split()]
    process = subprocess.Popen(
        [sys.executable, *words, "--output-dir", str(folder), *map(str, flags)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


def find_ranks(launcher: int) -> dict[str, psutil.Process]:
    """Return the processes that torchrun has started, by rank."""
    return {child.environ()["RANK"]: child for child in psutil.Process(launcher).children()}


@pytest.fixture
def run_folder(tmp_path: Path, corpus: Path, shards: Shards) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(shards.folder, folder / "shards")
    shutil.copy(corpus, folder)
    return folder


@pytest.fixture
def last_batch_has_one_row(shards: Shards) -> int:
    """A batch size whose last batch of an epoch has one row, so that one of two processes has none."""
    windows = Batches(shards.training(), 1, SMALL.max_seq_length, 0, 0).windows
    return next(size for size in range(40, 2000) if windows % size == 1)


@pytest.fixture
def one_process(tmp_path: Path, run_folder: Path) -> Path:
    """A run with teachers in one process."""
    folder = tmp_path / "one"
    shutil.copytree(run_folder, folder)
    words = ["-m", "tinyedge", "train", "--skip-corpus", "--precision", "fp32", *SHAPE.split(), *TAUGHT]
    subprocess.run([sys.executable, *words, "--output-dir", str(folder)], check=True, capture_output=True)
    return folder


def test_two_processes_train_teachers_and_learn_from_them(one_process: Path, run_folder: Path) -> None:
    with torchrun(run_folder, *TAUGHT) as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    for name in ("teachers/1", "teachers/2", "."):
        (mine, expected) = (
            json.loads((folder / name / "training_metrics.json").read_text())
            for folder in (run_folder, one_process)
        )
        assert mine["status"] == "finished"
        assert losses(mine["epoch_history"]) == pytest.approx(losses(expected["epoch_history"]), abs=1e-3)


def test_two_processes_learn_pairs_as_one_does(tmp_path: Path) -> None:
    """Each process knows that they are pairs, for which the recipe has other rates."""
    pairs = tmp_path / "pairs.jsonl"
    documents = itertools.islice(phrasebook.generate_documents(), 250)
    records = [
        {"prompt": prompt, "completion": completion}
        for document in documents
        for prompt, completion in itertools.pairwise(document.sentences)
    ]
    pairs.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    text = ("--input", str(pairs))
    with torchrun(tmp_path / "two", "--epochs", "2", text=text) as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    words = ["--precision", "fp32", *SHAPE.split(), "--epochs", "2", "--output-dir", tmp_path / "one"]
    assert tinyedge("train", *text, *words).returncode == 0
    runs = [json.loads((tmp_path / name / "training_metrics.json").read_text()) for name in ("two", "one")]
    for run in runs:
        assert run["configuration"]["training"].items() >= SMALL_STEPS.items()
    mine, expected = (losses(run["epoch_history"]) for run in runs)
    assert mine == pytest.approx(expected, abs=1e-3)


def losses(history: list[dict[str, Any]]) -> list[float]:
    return [record[name] for record in history for name in ("train_loss", "val_loss") if name in record]


def test_two_processes_continue_with_the_same_losses_as_one(
    make_trainer: Make, tmp_path: Path, run_folder: Path, tokenizer: Tokenizer, last_batch_has_one_row: int
) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    reference, _ = make_trainer(whole, batch_size=last_batch_has_one_row)
    reference.run(RunLimits())
    begun, reporter = make_trainer(run_folder, batch_size=last_batch_has_one_row)
    reporter.on_step = lambda progress: os.kill(os.getpid(), signal.SIGINT)
    begun.run(RunLimits())
    with torchrun(run_folder, "--batch-size", last_batch_has_one_row, "--epochs", 2, "--resume") as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert errors.count("epoch 2:") == errors.count("2 processes") == 1  # only the main process prints
    metrics = json.loads((run_folder / "training_metrics.json").read_text())
    for mine, expected in (
        (metrics["epoch_history"], reference.state.history),
        (metrics["trace"], reference.state.trace),
    ):
        assert len(mine) == len(expected) > 1
        assert losses(mine) == pytest.approx(losses(expected), abs=1e-4)
    final = checkpoint.load_model(run_folder / "final_model.pt").model.state_dict()
    for name, value in reference.model.state_dict().items():
        assert torch.allclose(final[name], value, atol=1e-3), name


def test_a_dead_process_ends_all_with_one_error_and_one_process_resumes(
    make_trainer: Make, tmp_path: Path, run_folder: Path
) -> None:
    """The main process dies, so another one has to report it."""
    last = run_folder / checkpoint.LAST_FILE
    with torchrun(run_folder, "--epochs", 500, "--batch-size", 64, "--checkpoint-minutes", 1e-9) as process:
        deadline = time.monotonic() + 120
        while not last.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        processes = find_ranks(process.pid)
        assert set(processes) == {"0", "1"}
        processes["0"].kill()
        _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    said = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert said == ["error: another process of the run has died or no longer responds"], errors
    assert not any(each.is_running() for each in processes.values())

    def finish_first_epoch(folder: Path) -> float:
        trainer, reporter = make_trainer(folder, epochs=500)
        if checkpoint.list_resumable(folder):
            trainer.resume(checkpoint.find_newest(folder, reporter.note))
            assert trainer.state.step > 0

        def stop(progress: Progress) -> None:
            if progress.epoch == 2:
                os.kill(os.getpid(), signal.SIGINT)

        reporter.on_step = stop
        trainer.run(RunLimits())
        return float(trainer.state.history[0]["val_loss"])

    whole = tmp_path / "whole"
    whole.mkdir()
    assert finish_first_epoch(run_folder) == pytest.approx(finish_first_epoch(whole), abs=1e-4)


@pytest.fixture
def old_run(make_trainer: Make, tmp_path: Path, shards: Shards, tokenizer: Tokenizer) -> Path:
    folder = tmp_path / "old"
    shutil.copytree(shards.folder, folder / "shards")
    (folder / "bilingual_1k.model").write_bytes(tokenizer.content)
    trainer, _ = make_trainer(folder, epochs=1)
    trainer.run(RunLimits())
    return folder


def test_two_processes_go_on_from_a_model_with_the_same_losses_as_one(old_run: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.txt"
    documents = itertools.islice(phrasebook.generate_documents(), 250, 290)
    new.write_text("\n\n".join("\n".join(document.sentences) for document in documents))
    flags = ("--init-from", old_run, "--input", new, "--batch-size", 9, "--epochs", 1)
    alone = tinyedge("train", "--precision", "fp32", "--output-dir", tmp_path / "one", *flags)
    assert alone.returncode == 0, alone.stderr
    with torchrun(tmp_path / "two", *flags, text=()) as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    one, two = (
        json.loads((tmp_path / name / "training_metrics.json").read_text()) for name in ("one", "two")
    )
    assert losses(two["epoch_history"]) == pytest.approx(losses(one["epoch_history"]), abs=1e-4)
    for moment in ("before", "after"):
        for text in ("new", "old"):
            expected = one["init_from"][moment][text]
            assert two["init_from"][moment][text] == pytest.approx(expected, abs=1e-4)
    assert errors.count("of the old text, before and after") == 1


def test_only_one_process_reports_an_initial_model_that_is_missing(tmp_path: Path, corpus: Path) -> None:
    flags = ("--init-from", tmp_path / "missing.pt", "--input", corpus)
    with torchrun(tmp_path / "run", *flags, text=()) as process:
        _, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    said = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert said == [f"error: {tmp_path / 'missing.pt'} does not exist"], errors


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_processes_share_every_row_once(size: int) -> None:
    for rows in (1, 2, 3, 7, 8, 64):
        shares = [Group(rank, size).local_rows(rows) for rank in range(size)]
        assert [row for share in shares for row in range(rows)[share]] == list(range(rows))
        counts = [share.stop - share.start for share in shares]
        assert max(counts) - min(counts) <= 1


def test_a_single_process_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join_process_group(torch.device("cpu")) as group:
        assert group == SINGLE_PROCESS
        assert group.is_main
        assert (group.all_reduce_sum(1.5), group.all_reduce_max(1.5, 2.0), group.broadcast("mine")) == (
            1.5,
            [1.5, 2.0],
            "mine",
        )


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_main_process_reports_invalid_flags(
    rank: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tinyedge", "train", "--epochs", "0"])
    monkeypatch.setattr(main, "MAIN_PROCESS_WAIT_S", 0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        main.main()
    signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("error: ") == (rank == 0)


def run_steps(config: TrainConfig, rows: int = 7, steps: int = 4) -> tuple[list[float], dict[str, Any]]:
    """Return the losses of some steps on random batches, and the weights after them."""
    torch.manual_seed(0)
    model = TinyTransformer(SMALL)
    train_step = TrainStep(model, config, choose_hardware("cpu", "fp32"))
    found = []
    for step in range(steps):
        tokens = torch.randint(4, 1000, (rows, SMALL.max_seq_length + 1))
        found.append(train_step.run(Batch(tokens[:, :-1], tokens[:, 1:]), step, 1.0)[0])
    return found, {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("parts", [2, 3, 7, 100])
def test_gradient_accumulation_does_not_change_the_step(parts: int) -> None:
    config = dataclasses.replace(GUIDE, learning_rate=1e-3)
    expected, weights = run_steps(config)
    found, mine = run_steps(dataclasses.replace(config, grad_accumulation=parts))
    assert found == pytest.approx(expected, abs=1e-5)
    assert all(torch.allclose(mine[name], value, atol=1e-4) for name, value in weights.items())


def test_a_clipped_gradient_changes_weights_less() -> None:
    """A norm far below AdamW's epsilon suppresses the step; a norm never reached does not change it."""
    start = run_steps(GUIDE, steps=0)[1]["output.weight"]
    moved = {
        norm: (run_steps(dataclasses.replace(GUIDE, clip_norm=norm))[1]["output.weight"] - start).abs().max()
        for norm in (0.0, 1e-12, 1e6)
    }
    assert moved[1e-12] < 1e-5 < 1e-4 < moved[0.0]
    assert moved[0.0] == moved[1e6]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two', expected a number from 1"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE is ''"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is '0'"),
        ({"WORLD_SIZE": "9" * 5000}, "WORLD_SIZE is '999"),
        ({"WORLD_SIZE": "2"}, "RANK is not set, expected a number from 0 to 1"),
        ({"WORLD_SIZE": "2", "RANK": "x"}, "RANK is 'x'"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK is '2'"),
        ({"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "-1"}, "LOCAL_RANK is '-1'"),
        ({"WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": "99999"}, "MASTER_PORT is '99999'"),
        ({"WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": "29500"}, "cannot meet at MASTER_ADDR"),
        (
            {"WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": "29500", "MASTER_ADDR": "no.such.host.invalid"},
            "cannot meet at MASTER_ADDR 'no.such.host.invalid'",
        ),
    ],
)
def test_an_environment_that_torchrun_does_not_set_is_an_error(
    changes: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(TrainingError) as caught,
        join_process_group(torch.device("cpu")),
    ):
        pass
    assert expected in caught.value.message
    assert len(caught.value.message) < 300
    assert "torchrun" in caught.value.hint
