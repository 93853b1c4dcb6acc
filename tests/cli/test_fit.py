"""`tinyedge fit` as a shell sees it."""

import json
import subprocess
import sys

import pytest


def fit(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tinyedge", "fit", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_screen_that_says_what_is_modelled_and_how_well() -> None:
    done = fit()
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "20 tokens in 250 ms at p95, in 400 MB",
        "Times are modelled, +-30 %. The bound, 1.4 times the p95, has to fit.",
        "on shapes that it was not fitted on:",
        "at worst",
        "tinyedge train --vocab-size 8000 --d-model",
    ):
        assert words in done.stdout
    ends = {line[:14].strip(): line for line in done.stdout.splitlines()}
    assert ends["--preset small"].endswith("  fits")
    assert ends["--preset base"].endswith("  does not fit")
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_json() -> None:
    value = json.loads(fit("--json", "--max-p95-ms", 100, "--vocab-size", 4000).stdout)
    assert value["schema"] == "tinyedge.fit/1"
    assert value["budget"] == {
        "max_p95_ms": 100, "max_rss_mb": 400, "max_tokens": 20, "max_seq_length": None, "vocab_size": 4000,
    }  # fmt: skip
    assert value["latency_model"] == {"error_percent": 30, "margin": 1.4, "threads": 1}
    assert all(one["fits"] and one["p95_bound_ms"] <= 100 for one in value["shapes"])
    assert [one["name"] for one in value["presets"]] == ["tiny", "small", "base"]


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (("--max-p95-ms", 20), 1, "error: --max-p95-ms 20 is too small by "),
        (("--max-rss-mb", 40, "--json"), 1, "error: --max-rss-mb 40 is too small by "),
        (("--target", "pi-5"), 2, "error: --target pi-5 is unknown"),
        (("--max-p95-ms", "-1"), 2, "error: --max-p95-ms -1 is not a positive number"),
        (("--max-p95-ms", "fast"), 2, "error: Invalid value for '--max-p95-ms'"),
        (("--vocab-size", 10), 2, "error: --vocab-size 10 is outside 1000-32000"),
        (("--max-tokens", 10_000), 2, "error: --max-tokens 10000 is outside 1-1000"),
    ],
)
def test_one_line_for_what_cannot_be(words: tuple[object, ...], code: int, line: str) -> None:
    done = fit(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(line)
    assert "Traceback" not in done.stderr


def test_nothing_but_the_standard_library_is_loaded() -> None:
    code = (
        "import sys\nfrom tinyedge.fit import cost_model, search, table\n"
        "table.render(search.search(cost_model.load('pi-zero-2w'), search.Budget()))\n"
        "assert not {'numpy', 'onnxruntime', 'torch', 'typer', 'sentencepiece'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
