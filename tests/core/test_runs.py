"""Runs are read and compared without torch, whatever the state of their files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import tinyedge
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import TinyEdgeError
from tinyedge.core.runs import (
    are_comparable,
    find_runs,
    find_started_runs,
    list_differing_fields,
    read_run,
    sort_best_first,
)

Make = Callable[..., Path]


def metrics(bits: float, epochs: int = 2, **training: Any) -> dict[str, Any]:
    """Return metrics as training writes them; the last epoch is the best."""
    history = [
        {
            "epoch": epoch,
            "train_loss": 5.0 - epoch,
            "val_loss": 4.0 + epochs - epoch,
            "lr": 0.001,
            "val_bits_per_byte": {"all": bits + epochs - epoch, "en": bits - 0.1, "es": bits + 0.1},
            "tokens_per_second": 9000.0,
            "elapsed_s": 60.0 * epoch,
            "tokens": 1000 * epoch,
        }
        for epoch in range(1, epochs + 1)
    ]
    return {
        "schema": "tinyedge.training/1",
        "tinyedge": "0.2.0",
        "status": "finished",
        "ended_by": "epochs",
        "configuration": {
            "vocab_size": 8000,
            "num_epochs": epochs,
            "model": ModelConfig().to_dict(),
            "training": {"recipe": "fast", "epochs": epochs, "learning_rate": 0.003, **training},
            "hardware": "cpu, 2 threads, fp32",
            "corpus_sha256": "c" * 64,
            "tokenizer_sha256": "d" * 64,
        },
        "tokens_per_second": 9000.0,
        "epoch_history": history,
        "trace": [{"tokens": 500, "elapsed_s": 30.0, "train_loss": 6.0, "lr": 0.001}],
    }


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(name: str, value: object) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "training_metrics.json").write_text(json.dumps(value))
        return folder

    return make


def test_a_run_is_read_as_it_was_written(make: Make) -> None:
    run = read_run(make("a", metrics(1.9)))
    assert run.best is run.last
    assert run.best.bits_per_byte == pytest.approx({"all": 1.9, "en": 1.8, "es": 2.0})
    assert run.parameters == 2_327_552
    assert run.status == "finished"
    assert run.configuration["learning_rate"] == 0.003
    assert run.configuration["hardware"] == "cpu, 2 threads, fp32"
    assert "num_epochs" not in run.configuration  # the guide's other name for epochs
    assert [point.tokens for point in run.trace] == [500]


@pytest.mark.parametrize(
    ("status", "ended_by", "shown"),
    [
        ("finished", "max-minutes", "max-minutes"),
        ("finished", "pruned", "pruned"),
        ("stopped", None, "stopped"),
        ("running", None, "running"),
    ],
)
def test_the_status_gives_the_reason_why_a_run_ended(
    make: Make, status: str, ended_by: str | None, shown: str
) -> None:
    assert read_run(make("a", metrics(1.9) | {"status": status, "ended_by": ended_by})).status == shown


def test_a_file_of_the_first_version_can_be_read(make: Make) -> None:
    value = metrics(1.9)
    del value["status"], value["ended_by"], value["trace"]
    for record in value["epoch_history"]:
        del record["tokens"]
    run = read_run(make("a", value))
    assert run.status == "finished"
    assert run.last.tokens is None
    assert run.trace == ()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda v: v.pop("configuration"), "lacks configuration"),
        (lambda v: v["configuration"]["model"].pop("nhead"), "nhead"),
        (lambda v: v["epoch_history"].clear(), "epoch_history is empty"),
        (lambda v: v["epoch_history"][0].update(train_loss="low"), "train_loss is 'low'"),
        (lambda v: v["epoch_history"][0].update(val_loss=None), "val_loss is None"),
        (lambda v: v["epoch_history"][0]["val_bits_per_byte"].pop("all"), "has no 'all'"),
        (lambda v: v["trace"][0].update(tokens=float("nan")), "NaN is not JSON"),
        (lambda v: v.update(epoch_history=[1]), "damaged"),
        (lambda v: v.update(configuration=[]), "damaged"),
        (lambda v: v.update(schema="tinyedge.training/9"), "tinyedge.training/9"),
    ],
)
def test_a_damaged_file_is_named(make: Make, damage: Callable[[Any], Any], message: str) -> None:
    value = metrics(1.9)
    damage(value)
    folder = make("a", value)
    with pytest.raises(TinyEdgeError) as caught:
        read_run(folder)
    assert caught.value.message.startswith(str(folder / "training_metrics.json"))
    assert message in caught.value.message


def test_runs_are_found_at_any_depth(make: Make, tmp_path: Path) -> None:
    folders = [make(name, metrics(1.9)) for name in ("a", "b/c", "a/previous/20260101")]
    assert find_runs(folders[0], previous=False) == [folders[0]]
    assert find_runs(tmp_path, previous=False) == folders[:2]
    assert find_runs(tmp_path, previous=True) == sorted(folders)
    (tmp_path / "none").mkdir()
    for nothing in (tmp_path / "none", tmp_path / "missing"):
        with pytest.raises(TinyEdgeError, match=nothing.name):
            find_runs(nothing, previous=True)


def test_only_differing_fields_are_listed(make: Make) -> None:
    runs = [
        read_run(make("a", metrics(2.1))),
        read_run(make("b", metrics(1.9, learning_rate=0.01))),
        read_run(make("c", metrics(2.0, dropout=0.1))),
    ]
    assert [run.folder.name for run in sort_best_first(runs)] == ["b", "c", "a"]
    assert list_differing_fields(runs) == ["learning_rate", "dropout"]
    assert list_differing_fields(runs[:1]) == []
    assert are_comparable(runs)
    other = metrics(1.0)
    other["configuration"]["corpus_sha256"] = "e" * 64
    assert not are_comparable([*runs, read_run(make("d", other))])


def test_the_table(make: Make, tmp_path: Path) -> None:
    make("worse", metrics(2.1, epochs=3))
    make("better", metrics(1.9, learning_rate=0.01))
    make("broken", [])
    make("better/previous/1", metrics(1.8))
    done = tinyedge("runs", tmp_path / "runs", "--no-previous", "--json", tmp_path / "runs.json")
    assert done.returncode == 0, done.stderr
    head, *rows = (line.split() for line in done.stdout.splitlines())
    assert [row[0] for row in rows] == ["better", "worse"]
    assert dict(zip(head, rows[0], strict=True)) == {
        "run": "better",
        "bits/byte": "1.9000",
        "en": "1.8000",
        "es": "2.0000",
        "best": "2",
        "done": "2/2",
        "tokens": "2,000",
        "minutes": "2.0",
        "tokens/s": "9,000",
        "parameters": "2,327,552",
        "status": "finished",
        "epochs": "2",
        "learning_rate": "0.01",
    }
    (warning,) = done.stderr.splitlines()
    assert warning.startswith("warning: ")
    assert "broken" in warning
    table = json.loads((tmp_path / "runs.json").read_text())
    assert table["schema"] == "tinyedge.runs/1"
    assert table["comparable"] is True
    assert table["differing"] == ["epochs", "learning_rate"]
    assert [run["run"] for run in table["runs"]] == ["better", "worse"]
    assert table["runs"][0]["bits_per_byte"] == pytest.approx({"all": 1.9, "en": 1.8, "es": 2.0})


def test_earlier_runs_are_listed_and_can_be_exported(make: Make, tmp_path: Path) -> None:
    make("data", metrics(2.1))
    earlier = make("data/previous/1", metrics(1.8))
    done = tinyedge("runs", tmp_path / "runs/data")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["run", "data/previous/1", "data"]
    assert f"export {earlier}/best_model.pt --output-dir bundle" in done.stderr
    assert "previous" not in tinyedge("runs", tmp_path / "runs/data", "--no-previous").stdout


def test_bytes_behind_unk_are_shown_and_earlier_runs_are_marked(make: Make, tmp_path: Path) -> None:
    make("drops", metrics(2.1) | {"val_unknown_bytes": {"all": 0.058, "en": 0.0, "es": 0.116}})
    make("keeps", metrics(1.9) | {"val_unknown_bytes": {"all": 0.0, "en": 0.0, "es": 0.0}})
    shown = tinyedge("runs", tmp_path / "runs", "--json", tmp_path / "runs.json")
    head, *rows = (line.split() for line in shown.stdout.splitlines())
    assert [row[head.index("unknown")] for row in rows] == ["0.000%", "5.800%"]
    assert "5.8% of drops (bytes behind UNK)" in shown.stderr
    table = json.loads((tmp_path / "runs.json").read_text())
    assert table["runs"][1]["unknown_bytes"] == {"all": 0.058, "en": 0.0, "es": 0.116}
    make("earlier", metrics(1.5))
    shown = tinyedge("runs", tmp_path / "runs")
    assert shown.stdout.splitlines()[1].split()[4] == "-"
    assert "earlier version" in shown.stderr


def test_a_stopped_run_shows_its_progress(make: Make, tmp_path: Path) -> None:
    value = metrics(1.9, epochs=3) | {"status": "stopped", "ended_by": None}
    value["epoch_history"].pop()
    make("a", value)
    head, row = (line.split() for line in tinyedge("runs", tmp_path / "runs").stdout.splitlines())
    shown = dict(zip(head, row, strict=True))
    assert (shown["best"], shown["done"], shown["status"]) == ("2", "2/3", "stopped")


def test_a_run_without_a_finished_epoch_is_reported(make: Make, tmp_path: Path) -> None:
    (make("whole", metrics(1.9)) / "checkpoint_epoch_5.pt").touch()
    for folder in ("runs/trial-0001", "runs/whole/previous/1"):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("checkpoint_last.pt", "checkpoint_before_last.pt"):
            (tmp_path / folder / name).touch()
    assert find_started_runs(tmp_path, previous=False) == [tmp_path / "runs/trial-0001"]
    assert len(find_started_runs(tmp_path, previous=True)) == 2
    done = tinyedge("runs", tmp_path, "--no-previous")
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert "trial-0001: no epoch is finished" in line


def test_a_comparison_of_different_texts_gives_a_warning(make: Make, tmp_path: Path) -> None:
    make("a", metrics(2.1))
    other = metrics(1.0)
    other["configuration"]["corpus_sha256"] = "e" * 64
    make("b", other)
    done = tinyedge("runs", tmp_path / "runs")
    assert done.returncode == 0
    assert "not comparable" in done.stderr
    assert "corpus_sha256" in done.stdout.splitlines()[0]


def test_no_run_is_an_error(tmp_path: Path) -> None:
    done = tinyedge("runs", tmp_path, tmp_path / "missing")
    assert done.returncode == 1
    assert done.stdout == ""
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "warning",
        "warning",
        "error",
        "hint",
    ]


def test_the_curves_are_plotted_in_one_picture(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra `train`")
    make("costs $5", metrics(1.9))
    make("other", metrics(2.1))
    picture = tmp_path / "runs.svg"
    assert tinyedge("runs", tmp_path / "runs", "--plot", picture).returncode == 0
    text = picture.read_text()
    assert "1.900 costs $5" in text
    assert "2.100 other" in text
