"""`bench.training.presets`: shapes that are trained or given, what they cost, and the picture."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("torch", reason="runs are exported")

from bench.training import presets
from bench.training.presets import format_table, list_flags, main, make_report, parse_shape
from bench.training.presets_picture import draw_presets
from tests.support.program import tinyedge
from tinyedge.core.config import PRESETS, ModelConfig
from tinyedge.core.errors import UsageError
from tinyedge.fit.search import MB
from tinyedge.fit.training_shapes import BoardShapes

RunBench = Callable[..., str]
BOARD = "pi-zero-2w"


def test_a_finished_run_becomes_a_dot(
    tiny_run: Path, unseen: dict[str, Path], tmp_path: Path, run_bench: RunBench
) -> None:
    texts = [f"{name}={path}" for name, path in unseen.items()]
    assert run_bench(main, "--run", f"mine={tiny_run}", "--text", *texts, "--output-dir", tmp_path) == ""
    report = json.loads((tmp_path / "presets.json").read_text())
    assert report["schema"] == "tinyedge.presets/1"
    (run,) = report["runs"]
    bundle = tmp_path / "bundles" / "mine"
    assert run["bundle_bytes"] == sum(file.stat().st_size for file in bundle.iterdir())
    sized = BoardShapes.from_board(BOARD).size(ModelConfig(**run["model"]), run["ngrams_bytes"] / MB)
    assert (run["p95_modelled_ms"], run["peak_modelled_bytes"]) == (sized.p95_ms, sized.peak_rss)
    printed = tinyedge("eval", bundle, *(word for text in texts for word in ("--text", text))).stdout
    for name, bits in run["bits_per_byte"].items():
        assert [line for line in printed.splitlines() if line.split()[:2] == [name, f"{bits:.4f}"]]
    assert run["mean_bits_per_byte"] == pytest.approx(sum(run["bits_per_byte"].values()) / 2)
    assert run["bits_per_byte"]["en"] < run["model_bits_per_byte"]["en"]
    assert "| mine |" in (tmp_path / "presets.md").read_text()
    assert (tmp_path / "presets.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "presets.svg").exists()


def test_presets_and_the_board_s_shape_are_trained(
    tiny_run: Path,
    unseen: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_bench: RunBench,
) -> None:
    commands = []

    def train(*words: object) -> None:
        commands.append(" ".join(map(str, words)))
        shutil.copytree(tiny_run, str(words[4]))

    def measure(name: str, *arguments: Any) -> dict[str, Any]:
        return make_run(name, len(commands) * 10.0, 2.0)

    monkeypatch.setattr(presets, "run_shown", train)
    monkeypatch.setattr(presets, "measure_run", measure)
    words = ("--input", unseen["en"], "--minutes", "3", "--text", f"en={unseen['en']}", "--shape", "320/4")
    assert run_bench(main, *words, "--output-dir", tmp_path, "--", "--vocab-size", "1000") == ""
    start = f"train --input {unseen['en']} --output-dir {tmp_path}/runs"
    end = "--vocab-size 1000"
    shape = "--d-model 320 --num-layers 4 --dim-feedforward 640 --nhead 8"
    assert commands == [
        f"{start}/tiny --max-minutes 3.0 --preset tiny {end}",
        f"{start}/small --max-minutes 3.0 --preset small {end}",
        f"{start}/base --max-minutes 3.0 --preset base {end}",
        f"{start}/budget --max-minutes 3.0 --budget {BOARD} {end}",
        f"{start}/320-4 --max-minutes 3.0 {shape} {end}",
    ]


def test_shapes_have_usual_proportions() -> None:
    assert parse_shape("128/2") == PRESETS["tiny"]
    assert list(list_flags(BOARD, ["192/3"])) == ["tiny", "small", "base", "budget", "192/3"]
    with pytest.raises(UsageError, match="is not D_MODEL/LAYERS"):
        parse_shape("192x3")
    with pytest.raises(UsageError, match="num_layers 9"):
        parse_shape("192/9")


def make_run(name: str, milliseconds: float, bits: float) -> dict[str, Any]:
    return {
        "name": name,
        "parameters": 2_327_552,
        "minutes": 10.0,
        "bits_per_byte": {"en": bits - 0.1, "es": bits + 0.1},
        "model_bits_per_byte": {"en": 2.0, "es": 2.0},
        "mean_bits_per_byte": bits,
        "p95_modelled_ms": milliseconds,
        "p95_bound_ms": 1.1 * milliseconds,
        "peak_modelled_bytes": 60 << 20,
        "bundle_bytes": 19_000_000,
        "ngrams_bytes": 16_000_000,
    }


def test_the_fastest_shape_comes_first_and_the_table_is_complete() -> None:
    shapes = BoardShapes.from_board(BOARD)
    report = make_report([make_run("small", 111.0, 1.7), make_run("tiny", 58.0, 1.8)], shapes, 16.0)
    rows = [line for line in format_table(report).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| tiny", "| small"]
    assert rows[2].endswith("| 2.000 | 2.000 | 1.700 | 1.900 | 58 ms | 64 ms | 60 MB | 19.0 MB |")


def test_the_picture_names_each_dot(tmp_path: Path) -> None:
    shapes = BoardShapes.from_board(BOARD)
    runs = [make_run("tiny", 58.0, 1.8), make_run("small $1", 111.0, 1.8), make_run("base", 400.0, 1.7)]
    path = tmp_path / "presets.svg"
    draw_presets(make_report(runs, shapes, 16.0), path)
    words = {element.text for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")}
    assert {
        "tiny",
        "small $1",
        "base",
        "1.80 · 2.3 M weights · 19 MB",
        "bits per byte with n-grams, mean of en, es",
    } <= words


def test_an_error_is_one_line(
    tiny_run: Path, unseen: dict[str, Path], tmp_path: Path, run_bench: RunBench
) -> None:
    given = ("--text", f"en={unseen['en']}", "--output-dir", tmp_path)
    for words, message in (
        ((), "--input and --minutes are missing, or --run"),
        (("--input", unseen["en"]), "--input and --minutes are missing, or --run"),
        (("--input", "missing.txt", "--minutes", "1"), "missing.txt does not exist"),
        (("--input", unseen["en"], "--minutes", "1", "--shape", "64"), "--shape 64 is not D_MODEL/LAYERS"),
        (("--run", tiny_run, "--minutes", "1"), "--run uses finished runs"),
        (("--run", tmp_path), "training_metrics.json does not exist"),
        (("--run", tiny_run, "--board", "no-board"), "no-board"),
    ):
        assert message in run_bench(main, *words, *given)
