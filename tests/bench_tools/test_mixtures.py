"""`bench.training.mixtures`: finished runs alone, with their n-grams, and after learning."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="runs are exported")

from bench.training import mixtures
from bench.training.mixtures import LEARNED_BYTES, format_report, main, measure_learning, split_file
from tests.support.program import tinyedge
from tinyedge.bundle.bundle import load_bundle
from tinyedge.core.errors import BenchError, UsageError

RunBench = Callable[..., str]


def name_texts(texts: dict[str, Path]) -> list[str]:
    return [f"{name}={path}" for name, path in texts.items()]


def test_a_run_is_measured_by_the_commands(
    tiny_run: Path, unseen: dict[str, Path], letters: Path, tmp_path: Path, run_bench: RunBench
) -> None:
    out = tmp_path / "out"
    words = ("--run", tiny_run, "--text", *name_texts(unseen), "--learn", f"letters={letters}")
    assert run_bench(main, *words, "--output-dir", out) == ""
    report = json.loads((out / "mixtures.json").read_text())
    assert report["schema"] == "tinyedge.mixtures/1"
    (run,) = report["runs"]
    bundle = out / "tiny-run" / "bundle"
    ngrams = load_bundle(bundle).ngrams
    assert ngrams is not None
    assert (run["name"], run["ngrams_order"], run["ngrams_bytes"]) == ("tiny-run", 4, len(ngrams.data))
    assert run["weights"] == list(ngrams.weights)

    texts = [word for value in name_texts(unseen) for word in ("--text", value)]
    rows = (out / "mixtures.md").read_text().splitlines()
    for flags, field, label in (((), "mixed", "mixed"), (("--no-ngrams",), "model", "model alone")):
        printed = tinyedge("eval", bundle, *texts, *flags).stdout
        (row,) = [row for row in rows if f"| {label} |" in row]
        for name in unseen:
            figure = f"{run['texts'][name][field]:.4f}"
            assert [line for line in printed.splitlines() if line.split()[:2] == [name, figure]]
            assert figure in row
    assert all(text["mixed"] < text["model"] for text in run["texts"].values())

    learned = run["learned"]["letters"]
    assert LEARNED_BYTES / 2 < learned["learned_bytes"] <= LEARNED_BYTES + 1
    assert learned["learned_bytes"] + learned["judged_bytes"] in range(letters.stat().st_size - 2, 10**6)
    rest = f"rest={out / 'texts' / 'letters-rest.txt'}"
    printed = tinyedge("eval", out / "tiny-run" / "learned-letters", "--text", rest).stdout
    assert f"{learned['after']:.4f}" in printed
    assert learned["after"] < learned["before"]


def test_a_text_is_split_after_a_paragraph(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    line = "x" * 99 + "\n"
    path.write_text(line * 150 + "\n" + line * 100)
    first, rest = split_file(path, tmp_path, "a")
    assert first.read_text() == line * 150
    assert rest.read_text() == line * 100
    path.write_text(line * 250)
    first, rest = split_file(path, tmp_path, "a")
    assert first.read_text() == line * 210
    assert rest.read_text() == line * 40
    for short in (line * 200, line * 210, "x" * 30_000):
        path.write_text(short)
        with pytest.raises(UsageError, match="has no rest to judge"):
            split_file(path, tmp_path, "a")


def fail_to_learn(message: str) -> Callable[..., Any]:
    def run(*words: object) -> Any:
        raise BenchError(f"tinyedge learn: {message}")

    return run


def test_a_refusal_to_learn_is_a_result_and_another_failure_is_not(
    tiny_run: Path,
    micro_bundle: Path,
    unseen: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = (unseen["en"], unseen["es"])
    monkeypatch.setattr(
        mixtures, "run_json", fail_to_learn(f"nothing was learned, so {tmp_path}/learned was not written")
    )
    learned = measure_learning(micro_bundle, *parts, tmp_path / "learned")
    assert learned["after"] is None
    assert learned["refused"] == "tinyedge learn: nothing was learned, so learned was not written"
    monkeypatch.setattr(mixtures, "run_json", fail_to_learn("the text has 9 bytes"))
    with pytest.raises(BenchError, match="9 bytes"):
        measure_learning(micro_bundle, *parts, tmp_path / "learned")


def make_run(name: str, ngrams_bytes: int | None, after: float | None) -> dict[str, Any]:
    mixed = {"ngrams": 2.2, "mixed": 1.9} if ngrams_bytes else {"ngrams": None, "mixed": None}
    return {
        "name": name,
        "parameters": 2_327_552,
        "minutes": 6.0,
        "ngrams_bytes": ngrams_bytes,
        "ngrams_order": 4,
        "texts": {"en": {"model": 2.0, **mixed}, "es": {"model": 2.0, **mixed}},
        "learned": {
            "letters": {"judged_bytes": 90_000, "before": 2.0, "after": after},
            "diary": {"judged_bytes": 90_000, "before": 2.0, "after": 1.9},
        },
    }


def test_the_tables_have_a_row_a_text_and_their_mean() -> None:
    runs = [make_run("a", 8_200_000, 1.8), make_run("b", None, None)]
    text = format_report({"ngram_mb": 16.0, "learned_bytes": LEARNED_BYTES, "runs": runs})
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows == [
        "| run | | en | es |",
        "|---|---|---|---|",
        "| a, 2.3 M weights, 6.0 minutes | model alone | 2.0000 | 2.0000 |",
        "|  | 4-grams alone, 8.2 MB | 2.2000 | 2.2000 |",
        "|  | mixed | 1.9000 (-5.0%) | 1.9000 (-5.0%) |",
        "| b, 2.3 M weights, 6.0 minutes | model alone | 2.0000 | 2.0000 |",
        "|  | no table: it would bring too little |  |  |",
        "| text | rest | a | b |",
        "|---|---|---|---|",
        "| letters | 90 kB | 2.0000 to 1.8000 (-10.00%) | 2.0000, nothing learned |",
        "| diary | 90 kB | 2.0000 to 1.9000 (-5.00%) | 2.0000 to 1.9000 (-5.00%) |",
        "| mean of 2 | | -7.50% | -2.50% |",
    ]


def test_an_error_is_one_line(
    tiny_run: Path, unseen: dict[str, Path], tmp_path: Path, run_bench: RunBench
) -> None:
    text, out = f"en={unseen['en']}", ("--output-dir", tmp_path / "out")
    for words, message in (
        (("--run", tmp_path, "--text", text), "training_metrics.json does not exist"),
        (("--run", tiny_run, "--run", tiny_run, "--text", text), "--run tiny-run is given twice"),
        (("--run", tiny_run, "--text", "missing.txt"), "--text missing.txt is not NAME=FILE"),
        (("--run", tiny_run, "--text", "en=missing.txt"), "missing.txt does not exist"),
        (("--run", tiny_run, "--text", text, "--learn", f"a={unseen['en']}"), "has no rest to judge"),
        (
            ("--run", tiny_run, "--text", text, "--ngram-mb", "0.001"),
            "tinyedge export: --ngram-mb 0.001 is too",
        ),
    ):
        assert message in run_bench(main, *words, *out)
