"""What the peers' comparison computes and says; the peers themselves are `make bench-peers`'s to run."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tinyedge.bundle.bundle import load_bundle
from tinyedge.core.errors import BenchError
from tinyedge.text.tokenizer import BOS_ID, Tokenizer

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "bench" / "peers"
PROTOCOL = PEERS / "runtimes"
MODULES = ("environments", "rounds", "figures", "chart", "prepare_models", "__main__", "runtimes.protocol")
BUNDLE = Path(__file__).parents[1] / "data" / "micro_bundle_int8"


@pytest.fixture(scope="module")
def peers() -> SimpleNamespace:
    """The modules of bench/peers, by the last part of their names."""
    modules = {name.split(".")[-1]: importlib.import_module(f"bench.peers.{name}") for name in MODULES}
    return SimpleNamespace(**modules)


def figures(rate: float, **others: float) -> dict[str, float]:
    """A round of a runtime that decodes at `rate`."""
    usual = {
        "decode_tokens_per_s": rate,
        "best_tokens_per_s": rate,
        "cpu_us_per_token": 1e6 / rate,
        "ttft_ms": 1.0,
        "peak_rss_bytes": 50 << 20,
        "cold_start_s": 0.2,
        "cold_start_cpu_s": 0.1,
    }
    return usual | others


def runtime(
    peers: SimpleNamespace, name: str, precision: str, theirs: list[dict[str, float]]
) -> dict[str, Any]:
    ours = [figures(9000), figures(9000), figures(3000)]
    return {
        "name": name,
        "precision": precision,
        "version": "1.0",
        "packages_bytes": 10 << 20,
        "model_bytes": 2 << 20,
        "failure": None,
        "medians": peers.figures.medians(theirs),
        "ratios": None if name == "tinyedge" else peers.figures.ratios(ours, theirs),
        "rounds": theirs,
    }


def report(peers: SimpleNamespace) -> dict[str, Any]:
    found = [
        runtime(peers, "tinyedge", "int8", [figures(9000), figures(9000), figures(3000)]),
        runtime(peers, "onnxruntime-genai", "int8", [figures(6000), figures(6000), figures(2000)]),
        runtime(peers, "onnxruntime-genai", "int8 dynamic", [figures(7500), figures(7500), figures(2500)]),
        peers.__main__.absent("llama.cpp", "q8_0", {"llama.cpp q8_0": "ERROR: no wheel | for this Python"}),
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
        "runtimes": found,
        "goals": peers.figures.judge(found, busy=False),
    }


def test_a_ratio_is_of_the_same_round_so_a_slow_one_hits_both(peers: SimpleNamespace) -> None:
    ours = [figures(9000, ttft_ms=1.0), figures(3000, ttft_ms=3.0)]
    theirs = [figures(6000, ttft_ms=2.0), figures(2000, ttft_ms=6.0), figures(1.0)]
    found = peers.figures.ratios(ours, theirs)
    assert found["decode_tokens_per_s"] == {"median": 1.5, "low": 1.5, "high": 1.5}
    assert found["ttft_ms"] == {"median": 2.0, "low": 2.0, "high": 2.0}  # less is better, so the other way up
    assert found["peak_rss_bytes"]["median"] == 1.0


def test_a_goal_is_judged_against_the_best_variant_of_a_peer(peers: SimpleNamespace) -> None:
    decode, missing, *_ = report(peers)["goals"]
    assert decode["against"] == "onnxruntime-genai int8 dynamic"
    assert decode["measured"] == pytest.approx(1.2)
    assert not decode["ok"]
    said = peers.figures.goal_sentence(decode)
    assert said.endswith("fast as onnxruntime-genai: 1.20 x (onnxruntime-genai int8 dynamic), not met")
    assert (missing["against"], missing["measured"], missing["ok"]) == (None, None, False)
    assert peers.figures.goal_sentence(missing).endswith("llama.cpp: not measured")


def test_a_busy_machine_is_judged_by_processor_time(peers: SimpleNamespace) -> None:
    favoured = [figures(20000, cpu_us_per_token=300.0)] * 3
    found = [runtime(peers, "llama.cpp-wheel", "q8_0", favoured)]
    quiet, busy = (peers.figures.judge(found, is_busy)[1] for is_busy in (False, True))
    assert not quiet["ok"]
    assert busy["ok"]
    assert peers.figures.goal_sentence(busy).endswith("2.70 x by processor time (llama.cpp-wheel q8_0), met")


def test_the_table_has_a_row_for_each_with_the_reason_of_one_that_could_not_run(
    peers: SimpleNamespace,
) -> None:
    text = peers.figures.markdown(report(peers))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    assert "| onnxruntime-genai 1.0 | int8 | 6,000 |" in text
    assert "1.50 x (1.50-1.50)" in text
    assert "| llama.cpp | q8_0 | ERROR: no wheel / for this Python |" in text
    assert "Other programs were running on this machine (load average 3.0 before, 4.0 after)" in text


def test_the_picture_is_a_png_without_those_that_could_not_run(peers: SimpleNamespace) -> None:
    assert peers.chart.picture(report(peers)).startswith(b"\x89PNG\r\n")


def test_the_prompt_has_the_tokens_that_were_asked_for(peers: SimpleNamespace) -> None:
    bundle = load_bundle(BUNDLE)
    request = peers.prepare_models.request_for(bundle, 1.0)
    assert len(Tokenizer(bundle.tokenizer).encode(request.prompt)) + 1 == request.prompt_tokens == 8
    assert request.prompt_tokens + request.tokens == bundle.config.max_seq_length
    assert (
        json.loads(request.to_json(Path("x"), cold=True)).items() >= {"bos_id": BOS_ID, "cold": True}.items()
    )
    with pytest.raises(BenchError, match="lacks 1001 words"):
        peers.prepare_models.prompt_of(Tokenizer(bundle.tokenizer), 1001)


def test_the_peers_get_the_bundle_s_pieces(peers: SimpleNamespace) -> None:
    shape = peers.prepare_models.shape_of(load_bundle(BUNDLE))
    assert len(shape["pieces"]) == len(shape["scores"]) == shape["vocab_size"] == 1000
    assert shape["pieces"][shape["unk_id"]] == "<unk>"
    assert max(shape["scores"][4:]) < 0


def program(folder: Path, body: str) -> Path:
    """A runtime that answers what a test wants."""
    path = folder / "use_fake.py"
    path.write_text(
        f"import sys\nsys.path.insert(0, {str(PROTOCOL)!r})\nimport protocol\n{body}\nprotocol.serve(load)\n"
    )
    return path


FAKE = """
def load(request):
    def generate(seed, emit):
        for _ in range(request["tokens"] if seed % 2 else 1):
            emit("word ")
    return generate
"""


def test_a_runtime_that_fails_leaves_and_the_others_go_on(peers: SimpleNamespace, tmp_path: Path) -> None:
    good = program(tmp_path, FAKE)
    bad = tmp_path / "use_bad.py"
    bad.write_text("raise ImportError('no such processor')\n")
    request = peers.rounds.Request("a", 2, 5, 8, BOS_ID, seconds=0.01)
    python = Path(sys.executable)
    contenders = [
        peers.rounds.Contender("good", "int8", python, str(good), tmp_path),
        peers.rounds.Contender("bad", "int8", python, str(bad), tmp_path),
    ]
    notes: list[str] = []
    first, second = peers.rounds.run_rounds(contenders, request, 2, notes.append)
    assert notes == ["round 1 of 2", "round 2 of 2"]
    assert first.failure is None
    assert len(first.rounds) == 2
    assert all(value > 0 for figures in first.rounds for value in figures.values())
    assert second.failure == "bad failed: ImportError: no such processor"
    assert second.rounds == []


def test_a_text_that_ended_early_is_not_counted(
    peers: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    space: dict[str, Any] = {}
    exec(FAKE, space)
    request = {"seed": 0, "tokens": 4, "seconds": 0.0}
    answer = peers.protocol.measured(space["load"](request), request)
    assert len(answer["tokens_per_s"]) == peers.protocol.LEAST
    monkeypatch.setattr(peers.protocol, "PATIENCE_S", 0)
    with pytest.raises(SystemExit, match="ended before"):
        peers.protocol.measured(lambda seed, emit: emit("a"), request)


def test_a_start_lasts_until_more_than_the_echo_has_come(peers: SimpleNamespace) -> None:
    says = [sys.executable, "-c", "import time; print('ab', end='', flush=True); time.sleep(0.3); print('c')"]
    assert peers.rounds.cold_start(says, 2)["cold_start_s"] >= 0.3
    assert peers.rounds.cold_start(says, 3)["cold_start_cpu_s"] > 0
    with pytest.raises(BenchError, match="ended with 0"):
        peers.rounds.cold_start(says, 4)


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ("WARNING: slow\nERROR: No matching distribution found for x\nnotice: a\n", "ERROR: No matching"),
        ("Traceback\nImportError: no torch\n", "ImportError: no torch"),
        ("", "it said nothing"),
    ],
)
def test_an_installer_s_reason_is_found(peers: SimpleNamespace, errors: str, reason: str) -> None:
    assert peers.environments.reason(errors).startswith(reason)


def test_what_a_folder_weighs(peers: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"1234")
    (tmp_path / "b").write_bytes(b"12")
    assert peers.environments.size_of(tmp_path) == 6
    assert peers.environments.size_of(tmp_path / "b") == 2


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--rounds", "0"], 2, "error: --rounds 0 is less than 1"),
        (["--seconds", "nan"], 2, "error: --seconds nan is outside 0-60"),
        (["--bundle", "no-such-bundle"], 1, "error: no-such-bundle does not exist"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], code: int, line: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.peers", *arguments, "--output", tmp_path / "out"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == code
    assert done.stderr.splitlines()[0] == line
    assert not (tmp_path / "out").exists()
