"""`tinyedge export` from checkpoint to bundle, and all its errors."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs tinyedge[train]")
pytest.importorskip("onnx", reason="export needs tinyedge[train]")

from tinyedge.boards import DEFAULT_BOARD
from tinyedge.boards.load import board_names, load_board
from tinyedge.bundle.bundle import bundle_digest, load_bundle
from tinyedge.cli.export import export
from tinyedge.core.errors import (
    CheckpointError,
    ExportError,
    MissingDependencyError,
    TokenizerError,
    UsageError,
)
from tinyedge.core.files import sha256_file, write_json
from tinyedge.core.sampling import SamplingConfig
from tinyedge.export import mixed_precision, pipeline, quality
from tinyedge.export.head_rotation import rotate_heads
from tinyedge.export.pipeline import ExportOptions, export_bundle
from tinyedge.export.quantize import Int8Matrix, Quantization, quantize
from tinyedge.export.weights import Weights
from tinyedge.runtime.generator import Generator
from tinyedge.train.model_id import compute_model_id
from tinyedge.train.storage.checkpoint import load_model


@pytest.fixture
def fewer_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures quality on fewer tokens."""
    monkeypatch.setattr(pipeline, "choose_token_limit", lambda parameters: 500)


@pytest.fixture
def options(run: Any, tmp_path: Path, fewer_tokens: None) -> ExportOptions:
    return ExportOptions(run.checkpoint, tmp_path / "bundle", text=run.texts)


def ignore_report(line: str) -> None:
    """A `report` callback that does nothing."""


def read_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_checkpoint_gives_the_same_bundle_at_any_time(
    options: ExportOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_files(export_bundle(options, ignore_report))
    assert "created" not in json.loads(first["manifest.json"])
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_400)
    copy = tmp_path / "elsewhere" / "best_model.pt"
    shutil.copytree(options.checkpoint.parent, copy.parent)
    os.utime(copy, (1, 1))
    again = dataclasses.replace(options, checkpoint=copy, output_dir=tmp_path / "again")
    assert read_files(export_bundle(again, ignore_report)) == first


def test_int8_and_fp32_share_the_id_of_the_model_but_not_the_digest(
    options: ExportOptions, tmp_path: Path
) -> None:
    int8 = load_bundle(export_bundle(options, ignore_report))
    other = dataclasses.replace(options, output_dir=tmp_path / "fp32", quantize="none")
    fp32 = load_bundle(export_bundle(other, ignore_report))
    trained = load_model(options.checkpoint)
    expected = compute_model_id(trained.model.state_dict(), trained.config, trained.tokenizer_sha256)
    assert int8.model_id == fp32.model_id == expected
    assert bundle_digest(int8) != bundle_digest(fp32)
    assert expected in int8.card.decode()


def test_the_date_in_a_bundle_is_that_of_its_sources(
    options: ExportOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    manifest = load_bundle(export_bundle(options, ignore_report)).manifest
    assert manifest["created"] == "2023-11-14T22:13:20+00:00"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
    lines: list[str] = []
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH=today"):
        export_bundle(options, lines.append)
    assert lines == []  # before the work


def test_bundle_is_complete_and_has_the_measurements(options: ExportOptions) -> None:
    lines: list[str] = []
    path = export_bundle(options, lines.append)
    steps = [line.split()[0] for line in lines if "/8 " in line]  # the others are about the texts
    assert steps == [f"{step}/8" for step in range(1, 9)]
    manifest = load_bundle(path).manifest
    assert manifest["precision"] == "int8"
    assert manifest["quantization"]["kept_fp32"] == []
    assert manifest["budgets"] == {"max_rss_mb": 400, "max_peak_mb": 512, "max_p95_ms": 250}
    assert manifest["parity"]["max_abs_logit_difference"] < 1e-4
    assert manifest["parity"]["prompts"] == 50
    assert set(manifest["parity"]) == {
        "prompts",
        "positions",
        "max_abs_logit_difference",
        "greedy_tokens_equal",
        "tokens_compared",
        "ties",
        "tolerance",
    }
    assert list(manifest["quality"]) == ["en", "es"]
    for name, openings in manifest["openings"].items():
        held_out = options.text[name].read_text().splitlines()
        assert all(any(line.startswith(opening) for line in held_out) for opening in openings)
    assert list(manifest["openings"]) == ["en", "es"]
    without = export_bundle(dataclasses.replace(options, openings=False), ignore_report)
    assert "openings" not in load_bundle(without).manifest
    assert all(abs(row["change_percent"]) < 1 for row in manifest["quality"].values())
    assert manifest["training"]["recipe"] == "test"
    assert manifest["training"]["checkpoint_sha256"] == sha256_file(options.checkpoint)
    assert f"{manifest['parameters']:,}" in (path / "README.md").read_text()
    completion = Generator.load(path).generate("bada", max_tokens=40, sampling=SamplingConfig(temperature=0))
    assert completion.tokens


def test_an_older_manifest_with_the_standard_graphs_parity_loads(options: ExportOptions) -> None:
    path = export_bundle(options, ignore_report)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["parity"]["standard"] = dict(manifest["parity"])
    write_json(path / "manifest.json", manifest)
    assert load_bundle(path).manifest["parity"]["standard"]["prompts"] == 50


def test_export_imports_no_onnxscript(options: ExportOptions, run: Any) -> None:
    """Only torch's own exporter needs it, which is a test oracle."""
    code = "import sys; sys.modules['onnxscript'] = None\nfrom tinyedge.__main__ import main; main()"
    texts = [part for name, path in options.text.items() for part in ("--text", f"{name}={path}")]
    command = [sys.executable, "-c", code, "export", options.checkpoint, "--output-dir", options.output_dir]
    done = subprocess.run([*map(str, command), *texts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_fp32_bundle_is_larger_and_loses_nothing(options: ExportOptions) -> None:
    manifest = load_bundle(
        export_bundle(dataclasses.replace(options, quantize="none"), ignore_report)
    ).manifest
    assert manifest["precision"] == "fp32"
    assert manifest["quantization"] is None
    assert {row["change_percent"] for row in manifest["quality"].values()} == {0}


def test_a_bad_int8_model_leaves_no_bundle(options: ExportOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    def ruin(weights: Weights, kept: Collection[str] = ()) -> Quantization:
        done = quantize(weights, kept)
        output = done.matrices["output"]
        rolled = Int8Matrix(np.roll(output.values, 1, axis=1), output.scale)
        return dataclasses.replace(
            done, matrices={"output": rolled}
        )  # one is left, so no other can be kept in fp32

    monkeypatch.setattr(mixed_precision, "quantize", ruin)
    with pytest.raises(ExportError, match=r"int8 costs en .* --max-quality-loss allows 1%"):
        export_bundle(options, ignore_report)
    assert not options.output_dir.exists()


def test_what_loses_too_much_stays_in_fp32(options: ExportOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a goal that cannot be met, matrices go back to fp32, the one with the largest error first."""
    monkeypatch.setattr(pipeline, "GOAL_PERCENT", -100.0)
    monkeypatch.setattr(quality, "NEGLIGIBLE_BITS", -100.0)
    done = load_bundle(export_bundle(options, ignore_report)).manifest["quantization"]
    kept, left = done["kept_fp32"], list(done["relative_errors"])
    assert len(left) == 1
    weights = Weights.from_model(load_model(options.checkpoint).model)
    errors = quantize(rotate_heads(weights)).relative_errors
    assert [*kept, *left] == sorted(errors, key=errors.__getitem__, reverse=True)


@pytest.fixture
def make_run_with_shards(options: ExportOptions, run: Any, tmp_path: Path) -> Callable[[str], ExportOptions]:
    """A function that makes a training run whose shards have the given tokenizer hash."""

    def place(tokenizer_sha256: str) -> ExportOptions:
        for file in run.folder.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        folder = tmp_path / "shards"
        folder.mkdir()
        np.tile(np.arange(10, dtype="<u2"), 100).tofile(folder / "train.bin")
        np.tile(np.arange(10, dtype="<u2"), 20).tofile(folder / "validation.bin")
        entry = {"language": "es", "start": 0, "tokens": 200, "bytes": 300}
        index: dict[str, Any] = {
            "corpus_sha256": "",
            "tokenizer_sha256": tokenizer_sha256,
            "held_out": "documents",
        }
        index |= {"train_tokens": 1000, "train_bytes": 1500, "validation": [entry]}
        index |= {f"{name}_sha256": sha256_file(folder / f"{name}.bin") for name in ("train", "validation")}
        write_json(folder / "shards.json", {"schema": "tinyedge.shards/1", **index})
        return dataclasses.replace(
            options, checkpoint=tmp_path / run.checkpoint.name, text={}, max_quality_loss=100
        )

    return place


def test_held_out_text_is_the_training_runs_by_default(
    make_run_with_shards: Callable[[str], ExportOptions], run: Any
) -> None:
    options = make_run_with_shards(sha256_file(run.folder / "bilingual_1100.model"))
    manifest = load_bundle(export_bundle(options, ignore_report)).manifest
    assert {name: row["bytes"] for name, row in manifest["quality"].items()} == {"es": 300}


def test_shards_of_another_tokenizer_are_refused(
    make_run_with_shards: Callable[[str], ExportOptions],
) -> None:
    with pytest.raises(ExportError, match=r"shards was made with tokenizer 0000"):
        export_bundle(make_run_with_shards("0" * 64), ignore_report)


def test_no_held_out_text_names_both_ways(options: ExportOptions) -> None:
    with pytest.raises(ExportError, match="no held-out text") as refusal:
        export_bundle(dataclasses.replace(options, text={}), ignore_report)
    assert "--text NAME=FILE" in refusal.value.hint
    assert "training folder" in refusal.value.hint


def test_wrong_or_missing_tokenizer_is_refused(
    options: ExportOptions, tmp_path: Path, micro_bundle: Path
) -> None:
    other = dataclasses.replace(options, tokenizer=micro_bundle / "tokenizer.model")
    with pytest.raises(CheckpointError, match=r"has sha256 .* was trained with"):
        export_bundle(other, ignore_report)
    with pytest.raises(TokenizerError, match="does not exist"):
        export_bundle(dataclasses.replace(options, tokenizer=tmp_path / "none"), ignore_report)


def test_a_target_is_a_promise_and_the_graph_is_the_same(options: ExportOptions, tmp_path: Path) -> None:
    bundles = {
        name: load_bundle(
            export_bundle(
                dataclasses.replace(options, output_dir=tmp_path / name, target=name), ignore_report
            )
        )
        for name in board_names()
    }
    for name, bundle in bundles.items():
        assert bundle.manifest["target"] == name
        assert bundle.manifest["budgets"] == load_board(name).budgets.to_dict()
        assert bundle.model == bundles[DEFAULT_BOARD].model
    server = bundles["x86-64"]
    assert server.manifest["target"] == "x86-64"
    assert server.manifest["budgets"] == {"max_rss_mb": 400, "max_peak_mb": 512, "max_p95_ms": 100}
    card = (server.path / "README.md").read_text()
    assert "`x86-64`" in card
    assert "100 ms a response" in card


def test_an_unknown_target_says_which_there_are() -> None:
    with pytest.raises(UsageError, match="target toaster is unknown") as failure:
        ExportOptions(target="toaster")
    assert ", ".join(board_names()) in failure.value.hint


@pytest.mark.parametrize(
    "change",
    [{"quantize": "int4"}, {"max_quality_loss": float("nan")}, {"max_quality_loss": -1.0}],
)
def test_an_invalid_option_names_its_parameter(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        ExportOptions(**change)


def test_command_prints_steps_aside_and_a_summary(
    options: ExportOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [f"{name}={path}" for name, path in options.text.items()]
    export(options.checkpoint, options.output_dir, text=texts)
    out, err = capsys.readouterr()
    assert sum("/8 " in line for line in err.splitlines()) == 8
    assert "int8 model" in out
    assert "tokenizer.model" in out
    export(options.checkpoint, options.output_dir, text=texts, json="-")
    result = json.loads(capsys.readouterr().out)
    assert result["schema"] == "tinyedge.export/1"
    assert list(result["manifest"]["quality"]) == ["en", "es"]


@pytest.mark.parametrize("text", [["en"], ["=file"], ["en="], ["en=a", "en=b"]])
def test_command_refuses_texts_it_cannot_name(text: list[str]) -> None:
    with pytest.raises(UsageError, match="--text"):
        export(text=text)


@pytest.mark.parametrize("package", ["torch", "onnx"])
def test_command_says_which_extra_is_missing(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else name)
    with pytest.raises(MissingDependencyError, match=f"{package} is not installed"):
        export()
