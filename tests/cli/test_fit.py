"""`tinyedge fit` as a shell sees it."""

import json
import subprocess
import sys

import pytest

from tests.support.program import tinyedge
from tinyedge.boards.load import default_board
from tinyedge.fit.cost_model import require_cost_data

LATENCY = require_cost_data(default_board()).latency_model


def fit(*words: object) -> "subprocess.CompletedProcess[str]":
    return tinyedge("fit", *words)


def test_the_screen_tells_what_is_modelled_and_how_well() -> None:
    done = fit()
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "20 tokens in 250 ms at p95, in 400 MB",
        f"Times are modelled, +-{LATENCY.error_percent:g}%."
        f" The bound, {LATENCY.margin:g} times the p95, must fit.",
        "Error of the formula without n-grams, compared with the emulated board on shapes that it was not",
        "at most",
        "tinyedge train --vocab-size 8000 --d-model",
    ):
        assert words in done.stdout.replace("\n", " ")
    ends = {line[:14].strip(): line for line in done.stdout.splitlines()}
    assert ends["--preset base"].endswith("  fits")
    assert "does not fit" in fit("--max-p95-ms", 100).stdout.partition("--preset base")[2].splitlines()[0]
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_json() -> None:
    value = json.loads(fit("--json", "--max-p95-ms", 100, "--vocab-size", 4000).stdout)
    assert value["schema"] == "tinyedge.fit/1"
    assert value["budget"] == {
        "max_p95_ms": 100, "max_rss_mb": 400, "max_tokens": 20, "max_seq_length": None, "vocab_size": 4000,
        "ngram_mb": 16,
    }  # fmt: skip
    assert value["latency_model"] == {
        "error_percent": LATENCY.error_percent, "margin": LATENCY.margin, "threads": 1
    }  # fmt: skip
    assert all(one["fits"] and one["p95_bound_ms"] <= 100 for one in value["shapes"])
    assert [one["name"] for one in value["presets"]] == ["tiny", "small", "base"]


def test_ngrams_are_included_unless_they_are_left_out() -> None:
    default, small, none = (fit(*words).stdout for words in ((), ("--ngram-mb", 4), ("--ngram-mb", 0)))
    assert "A table of n-grams of 16 MB is included; --ngram-mb 0 for none." in " ".join(default.split())
    assert "A table of n-grams of 4 MB is included" in " ".join(small.split())
    assert "Without a table of n-grams." in none
    with_table, without = (json.loads(fit("--json", *words).stdout) for words in ((), ("--ngram-mb", 0)))
    assert without["budget"]["ngram_mb"] == 0
    for mixed, alone in zip(with_table["presets"], without["presets"], strict=True):
        assert mixed["p95_modelled_ms"] > alone["p95_modelled_ms"]
        assert mixed["peak_rss_bytes"] == alone["peak_rss_bytes"] + 16 * 2**20


def test_threads_make_larger_shapes_fit() -> None:
    one, four = (json.loads(fit("--json", "--threads", number).stdout) for number in (1, 4))
    assert (one["latency_model"]["threads"], four["latency_model"]["threads"]) == (1, 4)
    for alone, divided in zip(one["presets"], four["presets"], strict=True):
        assert divided["p95_modelled_ms"] < alone["p95_modelled_ms"] < 4 * divided["p95_modelled_ms"]
    largest = [max(shape["block_parameters"] for shape in found["shapes"]) for found in (one, four)]
    assert largest[0] < largest[1]
    assert fit("--threads", 4).stdout.startswith("pi-zero-2w, int8, 4 threads: 20 tokens in 250 ms")


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("--max-p95-ms", 2), 1, "error: --max-p95-ms 2 is too small by "),
        (("--max-rss-mb", 40, "--json"), 1, "error: --max-rss-mb 40 is too small by "),
        (("--target", "pi-6"), 2, "error: --target pi-6 is unknown"),
        (("--target", "x86-64"), 2, "error: --target x86-64 has no cost model"),
        (("--target", "../pi-zero-2w"), 2, "error: --target ../pi-zero-2w is unknown"),
        (("--target", "none.json"), 2, "error: none.json does not exist"),
        (("--max-p95-ms", "-1"), 2, "error: --max-p95-ms -1 is not a positive number"),
        (("--max-p95-ms", "fast"), 2, "error: Invalid value for '--max-p95-ms'"),
        (("--vocab-size", 10), 2, "error: --vocab-size 10 is outside 1000-32000"),
        (("--threads", 5), 2, "error: --threads 5 is outside 1-4 (cores of pi-zero-2w)"),
        (("--threads", 0), 2, "error: --threads 0 is outside 1-4 (cores of pi-zero-2w)"),
        (("--max-tokens", 10_000), 2, "error: --max-tokens 10000 is outside 1-1000"),
        (("--ngram-mb", 300), 2, "error: --ngram-mb 300.0 is outside 0-256 MB"),
    ],
)
def test_one_line_for_each_error(words: tuple[object, ...], code: int, line: str) -> None:
    done = fit(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(line)
    assert "Traceback" not in done.stderr


def test_nothing_but_the_standard_library_is_loaded() -> None:
    code = (
        "import sys\nfrom tinyedge.boards.load import default_board\n"
        "from tinyedge.fit import cost_model, search, table\n"
        "board = default_board()\ncosts = cost_model.require_cost_data(board)\n"
        "model = cost_model.CostModel.from_data(board.name, costs)\n"
        "result = search.search(model, search.FitBudget.from_board(board))\n"
        "table.render(result, costs.source.errors_percent)\n"
        "assert not {'numpy', 'onnxruntime', 'torch', 'typer', 'sentencepiece'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
