"""A board of one's own is one JSON file: `fit`, `export` and `bench` use its budgets and its cost model."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.syllables import syllable_lines
from tinyedge.boards.load import board_file, load_board

BUDGETS = {"max_rss_mb": 390, "max_peak_mb": 391.5, "max_p95_ms": 60_000}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board half as fast as the Pi Zero 2 W, with another margin, other budgets and another Debian."""
    value = json.loads(board_file("pi-zero-2w").read_text())
    value |= {"name": "made-up", "title": "Made up", "budgets": BUDGETS, "debian": {"forky": "3.14"}}
    value["wheels"]["newest_glibc"] = "2.41"
    value["cost_model"]["source"]["board"] = "made-up"
    latency = value["cost_model"]["latency_model"]
    latency["clock_mhz"] /= 2
    for name, nanoseconds in value["cost_model"]["memory_ns"].items():
        value["cost_model"]["memory_ns"][name] = 2 * nanoseconds
    latency |= {"error_percent": 12, "margin": 1.5}
    path = tmp_path_factory.mktemp("boards") / "my-board.json"
    path.write_text(json.dumps(value))
    return path


def tinyedge(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tinyedge", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def fit(*words: object) -> dict[str, Any]:
    done = tinyedge("fit", "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(json.loads(done.stdout))


def test_fit_uses_its_budgets_and_its_cost_model(board: Path) -> None:
    own, known = fit("--target", board), fit()
    assert own["target"] == "made-up"
    assert (own["budget"]["max_p95_ms"], own["budget"]["max_rss_mb"]) == (60_000, 390)
    assert own["latency_model"] == {"error_percent": 12, "margin": 1.5, "threads": 1}
    for slow, fast in zip(own["presets"], known["presets"], strict=True):
        assert slow["p95_modelled_ms"] == pytest.approx(2 * fast["p95_modelled_ms"], abs=0.02)
        assert slow["p95_bound_ms"] == pytest.approx(1.5 * slow["p95_modelled_ms"], abs=0.02)
        assert slow["fits"]  # base does not fit the budget of the Pi Zero 2 W
    assert fit("--target", board, "--max-p95-ms", 300)["budget"]["max_p95_ms"] == 300


def test_export_promises_its_budgets_and_bench_checks_them(board: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the export needs the extra `train`")
    from tinyedge.bundle.bundle import load_bundle

    text = tmp_path / "text.txt"
    text.write_text("\n".join(list(syllable_lines())[:20]) + "\n")
    bundle, report = tmp_path / "bundle", tmp_path / "report.json"
    exported = tinyedge(
        *("export", make_checkpoint(tmp_path), "--output-dir", bundle, "--target", board),
        *("--quantize", "none", "--text", f"en={text}"),
    )
    assert exported.returncode == 0, exported.stderr
    manifest = load_bundle(bundle).manifest
    assert (manifest["target"], manifest["budgets"]) == ("made-up", BUDGETS)
    assert "`made-up`" in (bundle / "README.md").read_text()

    measured = tinyedge("bench", bundle, "--samples", 5, "--max-tokens", 2, "--json", report)
    found = json.loads(report.read_text())
    assert found["limits"] == BUDGETS, measured.stderr
    assert set(found["limits_from"].values()) == {"bundle"}
    limits = {gate["name"]: gate["limit"] for gate in found["gates"]}
    assert (limits["rss"], limits["peak"], limits["p95"]) == tuple(BUDGETS.values())


def make_checkpoint(folder: Path) -> Path:
    """An untrained model with its tokenizer, as `tinyedge train` would save them."""
    import torch

    from tinyedge.core.config import ModelConfig
    from tinyedge.text.tokenizer import Tokenizer, model_name
    from tinyedge.text.train_tokenizer import TokenizerConfig, train
    from tinyedge.train.model import TinyTransformer
    from tinyedge.train.storage import checkpoint

    pieces = train(syllable_lines(), "the tests' lines", TokenizerConfig(1100, byte_fallback=True))
    (folder / model_name(1100)).write_bytes(pieces)
    torch.manual_seed(0)
    model = TinyTransformer(
        ModelConfig(1100, d_model=64, num_layers=1, dim_feedforward=128, max_seq_length=32)
    )
    with torch.no_grad():
        for parameter in model.parameters():  # logits far enough apart that greedy tokens are certain
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (parameter.dim() == 1))
    config = {
        "model": model.config.to_dict(),
        "tokenizer_sha256": Tokenizer(pieces).sha256,
        "summary": {"recipe": "test", "epochs": 1, "train_tokens": 1},
    }
    losses = {"epoch": 1, "train_loss": 1.0, "val_loss": 1.0}
    path = folder / "best_model.pt"
    checkpoint.save(path, {**losses, "model_state_dict": model.state_dict(), "config": config})
    return path


def test_its_kit_gets_the_wheels_of_its_debian(board: Path) -> None:
    platform = load_board(str(board)).wheel_platform
    assert platform.pythons == ("3.14",)
    assert platform.platforms[0] == "manylinux_2_41_aarch64"
