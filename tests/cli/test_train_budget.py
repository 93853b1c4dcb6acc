"""`tinyedge train --budget BOARD`: from text to a bundle that keeps the board's budgets."""

import json
from pathlib import Path

import pytest

from tests.support.phrases import write_phrases
from tests.support.program import tinyedge

pytest.importorskip("torch", reason="training needs the extra `train`")

FLAGS = ("--vocab-size", "1000", "--max-seq-length", "64", "--epochs", "1", "--budget", "pi-zero-2w")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phrases(tmp_path_factory.mktemp("text") / "mine.txt", 0, 400)


def test_text_becomes_a_bundle_with_its_cost_on_the_board(text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = tinyedge("train", "--input", text, "--output-dir", run, *FLAGS)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((run / "bundle" / "manifest.json").read_text())
    assert manifest["target"] == "pi-zero-2w"
    assert manifest["model"]["d_model"] == 96  # the smallest: the text is short
    assert manifest["model"]["max_seq_length"] == 64
    flags = "shape: --d-model 96 --nhead 4 --num-layers 2 --dim-feedforward 192"
    assert flags in " ".join(done.stderr.split())
    words = " ".join(done.stdout.split())
    assert "pi-zero-2w, modelled: 20 tokens in" in words
    assert "of 250 ms; peak" in words
    assert tinyedge("generate", run / "bundle", "--prompt", "The", "--max-tokens", "4").returncode == 0


def test_a_folder_that_is_no_bundle_is_refused_before_the_training(text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "bundle"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    done = tinyedge("train", "--input", text, "--output-dir", tmp_path / "run", *FLAGS)
    assert done.returncode != 0
    assert "bundle" in done.stderr
    assert done.stderr.count("error:") == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["bundle"]


def test_a_repeated_command_writes_a_missing_bundle(text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert tinyedge("train", "--input", text, "--output-dir", run, *FLAGS).returncode == 0
    (run / "bundle").rename(tmp_path / "first")
    again = tinyedge("train", "--input", text, "--output-dir", run, *FLAGS)
    assert again.returncode == 0, again.stderr
    assert "reused" in again.stderr
    resumed = tinyedge("train", "--input", text, "--output-dir", run, *FLAGS, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "reused" in resumed.stderr
    models = [(folder / "model.onnx").read_bytes() for folder in (run / "bundle", tmp_path / "first")]
    assert models[0] == models[1]
