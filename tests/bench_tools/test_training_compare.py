"""`bench.training.compare`: the loops of other projects, the n-grams alone, and the table of the report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the comparison trains")

from bench.training import compare
from bench.training.compare import TABLE, count_ngrams, draw_chart, format_table, judge, main, time_to_quality
from bench.training.loops import LLAMA2C, PLAIN, PlainLoop, train_loop
from bench.training.table_alone import count_table, measure_texts
from tests.support.program import tinyedge
from tinyedge.check.baselines import measure_table
from tinyedge.core.config import ModelConfig
from tinyedge.core.runs import read_run
from tinyedge.text.evaluate import read_passages
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer

SHAPE = ("vocab_size", "d_model", "nhead", "num_layers", "dim_feedforward", "max_seq_length")


@pytest.fixture(scope="module")
def config(tiny_run: Path) -> ModelConfig:
    configuration = read_run(tiny_run).configuration
    return ModelConfig(**{name: configuration[name] for name in SHAPE})


@pytest.fixture(scope="module")
def tokenizer(tiny_run: Path) -> Tokenizer:
    return Tokenizer.load(tiny_run / "bilingual_1k.model")


@pytest.fixture(scope="module")
def shards(tiny_run: Path, tokenizer: Tokenizer) -> Shards:
    return Shards.load(tiny_run / "shards", tokenizer)


@pytest.fixture(scope="module")
def loop(tiny_run: Path, config: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loops") / "llama2.c"
    train_loop(LLAMA2C, tiny_run, config, 1, folder)
    return folder


def test_learning_rates_rise_and_fall_as_in_the_projects() -> None:
    steps = 1100
    assert [PLAIN.rate_factor(step, steps) for step in (0, 99)] == pytest.approx([0.01, 1.0])
    assert PLAIN.rate_factor(steps, steps) == pytest.approx(0.1)
    assert [LLAMA2C.rate_factor(step, steps) for step in (0, 10, 11)] == pytest.approx([1 / 11, 1.0, 1.0])
    assert LLAMA2C.rate_factor(steps, steps) == 0.0
    assert LLAMA2C.rate_factor(0, 5) == 1.0


def test_only_matrices_decay(shards: Shards, config: ModelConfig) -> None:
    loop = PlainLoop(LLAMA2C, shards, config, epochs=1)
    matrices, vectors = loop._optimizer.param_groups
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)
    assert {p.dim() for p in matrices["params"]} == {2}
    assert {p.dim() for p in vectors["params"]} == {1}
    assert matrices["betas"] == (0.9, 0.95)
    assert loop.step() == 32 * config.max_seq_length
    assert 0 < loop.loss < 10


def test_a_finished_loop_is_reused_and_another_one_is_not(
    tiny_run: Path, config: ModelConfig, loop: Path
) -> None:
    before = (loop / "final_model.pt").stat().st_mtime_ns
    points = train_loop(LLAMA2C, tiny_run, config, 1, loop)
    assert (loop / "final_model.pt").stat().st_mtime_ns == before
    assert {*points[0]["bits_per_byte"]} == {"all", "en", "es"}
    train_loop(PLAIN, tiny_run, config, 1, loop.parent / "plain")
    other = train_loop(LLAMA2C, tiny_run, config, 1, loop.parent / "plain")
    assert other[0]["bits_per_byte"] == points[0]["bits_per_byte"]


def test_the_columns_are_what_eval_prints(loop: Path, unseen: dict[str, Path]) -> None:
    judged = judge(loop, unseen, 16.0)
    texts = [word for name, path in unseen.items() for word in ("--text", f"{name}={path}")]
    for key, model in (("judged", loop / "final_model.pt"), ("judged_with_ngrams", loop / "mixed")):
        printed = tinyedge("eval", model, *texts).stdout
        assert {*judged[key]} == {*unseen}
        for name, bits in judged[key].items():
            assert [line for line in printed.splitlines() if line.split()[:2] == [name, f"{bits:.4f}"]]
    assert judged["judged_with_ngrams"]["en"] < judged["judged"]["en"]


def test_the_minutes_of_a_run_with_teachers_begin_with_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = {"elapsed_s": 60.0, "tokens": 5, "val_bits_per_byte": {"all": 2.0}}
    for name, seconds in (("teachers/1", 120.0), ("teachers/2", 30.0), (".", 60.0)):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        metrics = {"elapsed_s": seconds, "epoch_history": [record]}
        (tmp_path / name / "training_metrics.json").write_text(json.dumps(metrics))
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(compare, "run_shown", lambda *words: calls.append(words))
    run = compare.train_recipe(tmp_path, tmp_path / "text.txt", "best", 20, "--max-minutes", "9")
    assert run["points"] == [{"minutes": 3.5, "tokens": 5, "bits_per_byte": {"all": 2.0}}]
    assert calls[0][-6:] == ("--recipe", "best", "--epochs", 20, "--max-minutes", "9")


def test_without_texts_nothing_is_exported(loop: Path, tmp_path: Path) -> None:
    assert judge(tmp_path, {}, 16.0) == {"judged": {}, "judged_with_ngrams": None}


def test_the_table_alone_is_judged_as_check_judges_it(
    shards: Shards, tokenizer: Tokenizer, config: ModelConfig, unseen: dict[str, Path]
) -> None:
    table = count_table(shards, tokenizer.vocab_size, 4, 16.0)
    assert table.tokens == shards.train_tokens
    found = measure_texts(table.file, unseen, tokenizer, config.max_seq_length)
    for name, path in unseen.items():
        expected = measure_table(table.file, config, list(read_passages(path, tokenizer)))
        assert found[name] == pytest.approx(expected, rel=1e-5)


def make_report(shards: Shards, tokenizer: Tokenizer, unseen: dict[str, Path]) -> dict[str, Any]:
    points = [
        {"minutes": 1.5 * epoch, "tokens": 100 * epoch, "bits_per_byte": {"all": 3 - epoch / 10, "en": 2.5}}
        for epoch in (1, 2)
    ]
    judged = {"en": 2.0, "es": 2.1}
    runs = {
        "fast": {"points": points, "judged": judged, "judged_with_ngrams": {"en": 1.9, "es": 2.0}},
        "fast-short": {"points": points[1:], "judged": judged, "judged_with_ngrams": None},
        "guide": {"points": points, "judged": judged, "judged_with_ngrams": None},
        TABLE: count_ngrams(shards, tokenizer, unseen, 32, 16.0),
    }
    return {
        "hardware": "cpu",
        "runs": runs,
        "throughput_ratios": [2.0, 2.5, 3.0],
        "time_to_guide_quality": time_to_quality(runs, "guide", "fast-short"),
    }


def test_the_table_has_a_column_with_ngrams_and_a_row_of_them(
    shards: Shards, tokenizer: Tokenizer, unseen: dict[str, Path], tmp_path: Path
) -> None:
    report = make_report(shards, tokenizer, unseen)
    lines = format_table(report).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    assert rows[0].endswith("| en, bits per byte | en with n-grams | es, bits per byte | es with n-grams |")
    assert "| fast | 1 | 1.5 | 2.900 |  |  |  |  |" in rows
    assert "| fast | 2 | 3.0 | 2.800 | 2.000 | 1.900 | 2.100 | 2.000 |" in rows
    assert "| guide | 2 | 3.0 | 2.800 | 2.000 |  | 2.100 |  |" in rows
    assert rows[-1].startswith(f"| {TABLE} | none | 0.0")
    assert any("Throughput of fast over plain: 2.50" in line for line in lines)
    draw_chart(report, tmp_path / "compare.png")
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--input", "missing.txt"), "missing.txt does not exist"),
        (("--input", __file__, "--text", "missing.txt"), "--text missing.txt is not NAME=FILE"),
        (("--input", __file__, "--text", "en=missing.txt"), "missing.txt does not exist"),
        (
            ("--input", __file__, "--output-dir", "{out}", "--", "--no-such-flag"),
            "tinyedge train ended with 2",
        ),
    ],
)
def test_an_error_is_one_line(
    words: tuple[str, ...], message: str, tmp_path: Path, run_bench: Callable[..., str]
) -> None:
    given = [word.replace("{out}", str(tmp_path)) for word in words]
    assert message in run_bench(main, *given)
