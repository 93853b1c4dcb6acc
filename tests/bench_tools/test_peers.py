"""bench.peers: figures, report, rounds and options; `make bench-peers` runs the peers themselves."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.peers import __main__ as peers
from bench.peers import quote
from bench.peers.chart import draw_chart
from bench.peers.environments import extract_reason, measure_size
from bench.peers.figures import compute_medians, compute_ratios, evaluate_goals, format_goal, format_report
from bench.peers.prepare_models import extract_shape, make_request
from bench.peers.rounds import Contender, Request, measure_cold_start, run_rounds
from bench.peers.runtimes import protocol
from bench.prompts import make_prompt
from bench.quoted_blocks import fill_blocks
from tinyedge.bundle.bundle import load_bundle
from tinyedge.core.errors import BenchError
from tinyedge.text.tokenizer import BOS_ID, Tokenizer

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "bench" / "peers"
PROGRAMS = PEERS / "runtimes"
BUNDLE = Path(__file__).parents[1] / "data" / "micro_bundle_int8"


def make_figures(rate: float, **changes: float) -> dict[str, float]:
    """Make the figures of a round that decodes `rate` tokens/s."""
    figures = {
        "decode_tokens_per_s": rate,
        "best_tokens_per_s": rate,
        "cpu_us_per_token": 1e6 / rate,
        "ttft_ms": 1.0,
        "peak_rss_bytes": 50 << 20,
        "cold_start_s": 0.2,
        "cold_start_cpu_s": 0.1,
    }
    return figures | changes


def make_runtime(name: str, precision: str, rounds: list[dict[str, float]]) -> dict[str, Any]:
    own_rounds = [make_figures(9000), make_figures(9000), make_figures(3000)]
    return {
        "name": name,
        "precision": precision,
        "version": "1.0",
        "packages_bytes": 10 << 20,
        "model_bytes": 2 << 20,
        "failure": None,
        "medians": compute_medians(rounds),
        "ratios": None if name == "tinyedge" else compute_ratios(own_rounds, rounds),
        "rounds": rounds,
    }


def make_report() -> dict[str, Any]:
    runtimes = [
        make_runtime("tinyedge", "int8", [make_figures(9000), make_figures(9000), make_figures(3000)]),
        make_runtime(
            "onnxruntime-genai", "int8", [make_figures(6000), make_figures(6000), make_figures(2000)]
        ),
        make_runtime(
            "onnxruntime-genai", "int8 dynamic", [make_figures(7500), make_figures(7500), make_figures(2500)]
        ),
        peers.describe_failure("llama.cpp", "q8_0", {"llama.cpp q8_0": "ERROR: no wheel | for this Python"}),
    ]
    return {
        "shape": {"num_layers": 2, "d_model": 128, "nhead": 4, "dim_feedforward": 256}
        | {"vocab_size": 8000, "max_seq_length": 128},
        "request": {"prompt_tokens": 32, "tokens": 96, "top_k": 40, "temperature": 0.8},
        "rounds": 3,
        "machine": {
            "cpu": "some",
            "cores": 2,
            "features": ["avx2"],
            "python": "3.11",
            "load_average": [3.0, 4.0],
        },
        "runtimes": runtimes,
        "goals": evaluate_goals(runtimes, busy=False),
    }


def test_the_documents_quote_the_recorded_report() -> None:
    for path in quote.DOCUMENTS:
        text = path.read_text()
        assert "<!-- peers -->" in text
        assert fill_blocks(text, {"peers": quote.read_table()}) == text


def test_a_ratio_compares_figures_of_the_same_round() -> None:
    ours = [make_figures(9000, ttft_ms=1.0), make_figures(3000, ttft_ms=3.0)]
    theirs = [make_figures(6000, ttft_ms=2.0), make_figures(2000, ttft_ms=6.0), make_figures(1.0)]
    found = compute_ratios(ours, theirs)
    assert found["decode_tokens_per_s"] == {"median": 1.5, "low": 1.5, "high": 1.5}
    assert found["ttft_ms"] == {
        "median": 2.0,
        "low": 2.0,
        "high": 2.0,
    }  # lower is better, so the ratio is inverted
    assert found["peak_rss_bytes"]["median"] == 1.0


def test_a_goal_is_compared_with_the_best_variant_of_a_peer() -> None:
    decode, missing, *_ = make_report()["goals"]
    assert decode["against"] == "onnxruntime-genai int8 dynamic"
    assert decode["measured"] == pytest.approx(1.2)
    assert not decode["ok"]
    assert format_goal(decode).endswith(
        "fast as onnxruntime-genai: 1.20 x by processor time (onnxruntime-genai int8 dynamic), not met"
    )
    assert (missing["against"], missing["measured"], missing["ok"]) == (None, None, False)
    assert format_goal(missing).endswith("llama.cpp: not measured")


def test_goals_use_processor_time_on_a_busy_machine() -> None:
    favoured = [make_figures(20000, cold_start_cpu_s=3.0)] * 3
    found = [make_runtime("llama.cpp-wheel", "q8_0", favoured)]
    quiet, busy = (evaluate_goals(found, is_busy)[3] for is_busy in (False, True))
    assert (quiet["figure"], busy["figure"]) == ("cold_start_s", "cold_start_cpu_s")
    assert busy["ok"]
    assert "by processor time" in format_goal(busy)


def test_the_table_has_the_reason_of_a_runtime_that_could_not_run() -> None:
    text = format_report(make_report())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    assert "| onnxruntime-genai 1.0 | int8 | 6,000 |" in text
    assert "1.50 x (1.50-1.50)" in text
    assert "| llama.cpp | q8_0 | ERROR: no wheel / for this Python |" in text
    assert "Other programs were running on this machine (load average 3.0 before, 4.0 after)" in text


def test_the_chart_is_a_png_without_runtimes_that_could_not_run() -> None:
    assert draw_chart(make_report()).startswith(b"\x89PNG\r\n")


def test_the_prompt_has_the_requested_number_of_tokens() -> None:
    bundle = load_bundle(BUNDLE)
    request = make_request(bundle, 1.0)
    assert len(Tokenizer(bundle.tokenizer).encode(request.prompt)) + 1 == request.prompt_tokens == 8
    assert request.prompt_tokens + request.tokens == bundle.config.max_seq_length
    assert (
        json.loads(request.to_json(Path("x"), cold=True)).items() >= {"bos_id": BOS_ID, "cold": True}.items()
    )
    with pytest.raises(BenchError, match="lacks 1001 words"):
        make_prompt(Tokenizer(bundle.tokenizer), 1001)


def test_the_peers_get_the_pieces_of_the_bundle() -> None:
    shape = extract_shape(load_bundle(BUNDLE))
    assert len(shape["pieces"]) == len(shape["scores"]) == shape["vocab_size"] == 1000
    assert shape["pieces"][shape["unk_id"]] == "<unk>"
    assert max(shape["scores"][4:]) < 0


def write_program(folder: Path, body: str) -> Path:
    """Write the program of a fake runtime."""
    path = folder / "use_fake.py"
    path.write_text(
        f"import sys\nsys.path.insert(0, {str(PROGRAMS)!r})\nimport protocol\n{body}\nprotocol.serve(load)\n"
    )
    return path


FAKE = """
def load(request):
    def generate(seed, emit):
        for _ in range(request["tokens"] if seed % 2 else 1):
            emit("word ")
    return generate
"""


def test_other_runtimes_continue_if_one_fails(tmp_path: Path) -> None:
    good = write_program(tmp_path, FAKE)
    bad = tmp_path / "use_bad.py"
    bad.write_text("raise ImportError('no such processor')\n")
    request = Request("a", 2, 5, 8, BOS_ID, seconds=0.01)
    python = Path(sys.executable)
    contenders = [
        Contender("good", "int8", python, str(good), tmp_path),
        Contender("bad", "int8", python, str(bad), tmp_path),
    ]
    notes: list[str] = []
    first, second = run_rounds(contenders, request, 2, notes.append)
    assert notes == ["round 1 of 2", "round 2 of 2"]
    assert first.failure is None
    assert len(first.rounds) == 2
    assert all(value > 0 for figures in first.rounds for value in figures.values())
    assert second.failure == "bad failed: ImportError: no such processor"
    assert second.rounds == []


def test_a_text_that_ends_early_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace: dict[str, Any] = {}
    exec(FAKE, namespace)
    request = {"seed": 0, "tokens": 4, "seconds": 0.0}
    answer = protocol.measure(namespace["load"](request), request)
    assert len(answer["tokens_per_s"]) == protocol.MIN_GENERATIONS
    monkeypatch.setattr(protocol, "PATIENCE_S", 0)

    def generate_one_token(seed: int, emit: "protocol.Emit") -> None:
        emit("a")

    with pytest.raises(SystemExit, match="ended before"):
        protocol.measure(generate_one_token, request)


def test_a_cold_start_ends_after_more_bytes_than_the_echo() -> None:
    command = [
        sys.executable,
        "-c",
        "import time; print('ab', end='', flush=True); time.sleep(0.3); print('c')",
    ]
    assert measure_cold_start(command, 2)["cold_start_s"] >= 0.3
    assert measure_cold_start(command, 3)["cold_start_cpu_s"] > 0
    with pytest.raises(BenchError, match="ended with 0"):
        measure_cold_start(command, 4)


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ("WARNING: slow\nERROR: No matching distribution found for x\nnotice: a\n", "ERROR: No matching"),
        ("Traceback\nImportError: no torch\n", "ImportError: no torch"),
        ("", "no error message"),
    ],
)
def test_the_reason_of_an_installer_is_extracted(errors: str, reason: str) -> None:
    assert extract_reason(errors).startswith(reason)


def test_the_size_of_a_folder_and_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"1234")
    (tmp_path / "b").write_bytes(b"12")
    assert measure_size(tmp_path) == 6
    assert measure_size(tmp_path / "b") == 2


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--rounds", "0"], 2, "error: --rounds 0 is less than 1"),
        (["--seconds", "nan"], 2, "error: --seconds nan is outside 0-60"),
        (["--bundle", "no-such-bundle"], 1, "error: no-such-bundle does not exist"),
    ],
)
def test_invalid_options_are_one_error_line(
    arguments: list[str], code: int, line: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.peers", *arguments, "--output", tmp_path / "out"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == code
    assert done.stderr.splitlines()[0] == line
    assert not (tmp_path / "out").exists()
