"""Arithmetic and evaluation of the twin; `make twin` checks the emulated processor itself."""

import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.twin.__main__ import GREEDY_BUNDLE, INT8_BUNDLE, run_checks
from bench.twin.build import make_plugin
from bench.twin.counts import (
    Block,
    Figures,
    core_cycles,
    memory_ns,
    modelled_ms,
    parse_counts,
    percentile,
    sum_by_file,
)
from bench.twin.cpu_model import remove_cryptography, write_cpu_files
from bench.twin.layout import BOARD, LATENCY, MEMORY, Twin, TwinError, atomic_folder, locate_twin
from bench.twin.measure import ModelledCosts, split_responses
from bench.twin.report import add_comparison, compose_report, render
from bench.twin.self_check import (
    WIDE,
    check_kernels,
    compare_equal_logits,
    compare_logits,
    find_wrong_instructions,
)
from bench.twin.system_emulation import DiskReads, check_memory, parse_console
from bench.twin.user_emulation import Guest, Outcome
from tinyedge.boards.board import CoreCosts, LatencyModel, LineCost
from tinyedge.boards.load import load_board
from tinyedge.bundle.bundle import load_bundle
from tinyedge.core.config import ModelConfig
from tinyedge.core.engine import KERNELS
from tinyedge.core.errors import UsageError
from tinyedge.core.files import write_json

Compose = Callable[..., dict[str, Any]]


def figures(cycles: float, streamed: float = 0) -> Figures:
    """Half as many instructions as cycles, and lines."""
    return Figures(cycles / 2, cycles, streamed_lines=streamed)


def milliseconds(pipeline_cycles: float) -> float:
    """Modelled time of cycles of the pipeline alone."""
    return pipeline_cycles * LATENCY.core.cycles_per_pipeline_cycle / LATENCY.clock_mhz / 1e3


LOG = """\
mark 0 100 40 4 1 0 5 6 7
mark 0 110 44 4 1 0 6 6 7
shown 0 150 60 5 2 0 8 7 8
mark 0 1110 400 40 11 2 17 8 10
map 400000-402000 r-xp 00001000 08:01 12 /usr/bin/python3.11
block 400010 900 450 30 20 10 7 2 1
block 400020 30 15 1 0 0 0 0 0
block 9999 50 40 0 1 0 0 0 1
mark 0 1220 450 50 31 3 38 9 12
total 0 1300 500 60 40 4 50 20 13
"""


def test_the_steps_are_between_marks_without_what_a_mark_costs() -> None:
    counts = parse_counts(LOG)
    assert [step.instructions for step in counts.steps] == [1000 - 10, 110 - 10]
    assert counts.steps[0] == Figures(990, 352, 36, 10, 2, 10, 2, 3)
    assert [step.streamed_lines for step in counts.steps] == [10, 20]
    assert counts.total == Figures(1300, 500, 60, 40, 4, 50, 20, 13)
    assert counts.total.dram_lines == 83
    assert [shown.instructions for shown in counts.shown] == [150]
    assert (counts.sockets, counts.threads) == (0, 0)
    assert parse_counts("socket 0 1 1 1 1 0 0 0 0\n" + LOG).sockets == 1


def test_blocks_are_found_in_their_files() -> None:
    counts = parse_counts(LOG)
    assert counts.blocks == (
        Block("/usr/bin/python3.11", 0x1010, Figures(900, 450, 30, 20, 10, 7, 2, 1)),
        Block("?", 0x9999, Figures(50, 40, 0, 1, 0, 0, 0, 1)),
        Block("/usr/bin/python3.11", 0x1020, Figures(30, 15, 1)),
    )
    assert sum_by_file(counts.blocks) == {"/usr/bin/python3.11": 930, "?": 50}


def test_a_run_without_an_end_or_without_marks_is_refused() -> None:
    with pytest.raises(TwinError, match="did not run to its end"):
        parse_counts(LOG.replace("total", "totals"))
    with pytest.raises(TwinError, match="marked nothing"):
        _ = parse_counts("mark 0 1 1 1 1 0 0 0 0\ntotal 0 2 2 2 2 0 0 0 0").steps


def test_the_cost_model() -> None:
    model = LatencyModel(
        500, CoreCosts(1.5, 10, 20), LineCost(10, 7), LineCost(50, 100), LineCost(20, 14), 15, 1.2
    )
    counted = Figures(9e9, 1e6, 1e4, 1e4, 9e9, 1e4, 100, 1e3, 1e3)
    assert core_cycles(counted, model) == 1.5e6 + 1e5 + 2e5  # neither instructions nor fetches cost cycles
    assert memory_ns(counted, model) == 27e4 + 100 * (27 + 200) / 2 + 200e3 + 54e3
    assert modelled_ms(counted, model) == pytest.approx(1.8e6 / 500e3 + 0.53535)
    assert counted.modelled_ms == modelled_ms(counted, LATENCY)
    assert (figures(30, 9) - figures(10, 3)) / 2 == figures(10, 3)
    assert figures(30, 9) + figures(10, 3) == figures(40, 12)


@pytest.mark.parametrize(("percent", "expected"), [(50, 10), (95, 19), (99, 20), (100, 20), (1, 1)])
def test_percentiles_are_values_that_occurred(percent: int, expected: int) -> None:
    assert percentile(list(range(20, 0, -1)), percent) == expected


def modelled(scale: float = 1.0, sockets: int = 0, threads: int = 0) -> ModelledCosts:
    """Two prompts, two responses each of three tokens; the last step of each is its end."""
    marks = [0, 10]
    for response in range(4):
        for step in (4e6 + response * 1e6, 1e6, 2e6, 1e3):
            marks.append(int(marks[-1] + step * scale + 10))
    log = "".join(f"mark 0 {mark} {mark} 0 0 0 0 0 0\n" for mark in marks)
    log += f"total 0 {marks[-1]} {marks[-1]} 0 0 0 0 0 0"
    printed = {"prompts": ["a", "b", "a", "b"], "tokens": {"a": 4, "b": 9}}
    answers = split_responses(parse_counts(log), printed)
    return ModelledCosts(answers, figures(800e6 * scale), sockets, threads)


def test_responses_are_split_at_their_ends() -> None:
    found = modelled()
    assert [(r.prompt, r.prompt_tokens, r.first.instructions) for r in found.responses] == [
        ("a", 4, 4e6), ("b", 9, 5e6), ("a", 4, 6e6), ("b", 9, 7e6),
    ]  # fmt: skip
    assert found.token.instructions == 1.5e6
    assert [r.fresh_blocks for r in found.responses] == [0, 0, 0, 0]
    assert found.p95_ms == pytest.approx(milliseconds(7e6 + 3e6 + 1e3))
    prefill = found.to_json()["prefill"]
    assert [(row["prompt_tokens"], row["instructions"]) for row in prefill] == [(4, 5e6), (9, 6e6)]


def test_each_response_has_the_blocks_of_ngrams_that_it_read() -> None:
    printed = {"prompts": ["a"], "tokens": {"a": 4}, "blocks": [3]}
    log = "".join(f"mark 0 {mark} {mark} 0 0 0 0 0 0\n" for mark in (0, 1, 3, 5, 7)) + "total" + " 9" * 9
    (response,) = split_responses(parse_counts(log), printed)
    assert response.fresh_blocks == 3


def test_marks_that_do_not_match_the_responses_are_refused() -> None:
    counts = parse_counts(LOG)
    with pytest.raises(TwinError, match="2 marks do not match 4 responses"):
        split_responses(counts, {"prompts": ["a"] * 4, "tokens": {"a": 4}})


@pytest.fixture
def compose(micro_bundle: Path, tmp_path: Path) -> Compose:
    """Composes a report from two counts."""
    memory_gate = {
        "name": "peak",
        "limit": 512.0,
        "measured": 60.0,
        "unit": "MB",
        "ok": True,
        "sentence": "peak",
    }
    system = {
        "memory_total": 416 << 20, "kernel": "6.1", "doctor": None, "memory": {"peak_rss": 60 << 20},
        "engine": "kernels (neon)", "first_start": {"reads": 560, "bytes": 37_000_000},
        "memory_gates": [memory_gate],
    }  # fmt: skip

    def make(first: ModelledCosts, second: ModelledCosts, **changes: Any) -> dict[str, Any]:
        counted = first, second
        return compose_report(Twin(tmp_path), micro_bundle, ["proof"], counted, {**system, **changes})

    return make


def failed(report: dict[str, Any]) -> list[str]:
    return [gate["name"] for gate in report["gates"] if not gate["ok"]]


def test_a_report_of_two_equal_counts_passes(compose: Compose) -> None:
    report = compose(modelled(), modelled())
    assert report["schema"] == "tinyedge.twin/1"
    assert (report["verdict"], failed(report)) == ("pass", [])
    assert report["p95_bound_ms"] == pytest.approx(LATENCY.margin * report["p95_modelled_ms"], abs=1e-3)


def test_several_threads_divide_the_counted_p95(compose: Compose) -> None:
    report = compose(modelled(), modelled())
    rows = report["threads_modelled"]
    assert [row["threads"] for row in rows] == [2, 3, 4]
    assert rows[0]["p95_modelled_ms"] == pytest.approx(report["p95_modelled_ms"], rel=0.5)
    assert min(row["error_percent"] for row in rows) > LATENCY.error_percent


def test_the_gate_compares_the_bound_and_not_the_estimate(compose: Compose) -> None:
    estimate = 249 / LATENCY.margin**0.5
    slow = modelled(scale=estimate / modelled().p95_ms)
    report = compose(slow, slow)
    assert report["p95_modelled_ms"] == pytest.approx(estimate, rel=1e-3)  # below 250 ms
    assert (report["verdict"], failed(report)) == ("fail", ["p95"])


def test_counts_that_do_not_repeat_fail(compose: Compose) -> None:
    assert failed(compose(modelled(), modelled(scale=1.0005))) == []
    assert failed(compose(modelled(), modelled(scale=0.998))) == ["repeat"]


def test_a_program_that_opens_sockets_fails(compose: Compose) -> None:
    assert failed(compose(modelled(sockets=1), modelled())) == ["sockets"]


def test_a_program_that_starts_additional_threads_fails(compose: Compose) -> None:
    assert parse_counts("thread 0 1 1 1 1 0 0 0 0\n" + LOG).threads == 1
    assert failed(compose(modelled(threads=2), modelled())) == ["threads"]


def test_a_failed_memory_gate_of_the_booted_board_fails_the_report(compose: Compose) -> None:
    over = {"name": "rss", "limit": 400.0, "measured": 401.0, "unit": "MB", "ok": False, "sentence": "over"}
    assert compose(modelled(), modelled(), memory_gates=[over])["verdict"] == "fail"


@pytest.mark.parametrize(("scale", "verdict"), [(1.019, "pass"), (1.021, "fail"), (0.5, "pass")])
def test_a_regression_over_two_percent_fails(
    compose: Compose, tmp_path: Path, scale: float, verdict: str
) -> None:
    recorded = tmp_path / "recorded.json"
    write_json(recorded, compose(modelled(), modelled()))
    report = compose(modelled(scale), modelled(scale))
    add_comparison(report, recorded)
    assert report["verdict"] == verdict
    assert len([name for name in failed(report) if name.startswith("regression")]) == (
        3 if verdict == "fail" else 0
    )
    assert "FAIL" in render(report) if verdict == "fail" else "verdict: pass" in render(report)


def test_reports_of_other_work_are_not_compared(compose: Compose, tmp_path: Path) -> None:
    report = compose(modelled(), modelled())
    old = copy.deepcopy(report)
    old["bundle"]["model"]["d_model"] *= 2
    write_json(tmp_path / "old.json", old)
    add_comparison(report, tmp_path / "old.json")
    assert report["compared"] == "old.json is of another model"
    assert report["verdict"] == "pass"


@pytest.mark.parametrize(("new", "old", "words"), [(9, 0, "without n-grams"), (0, 9, "with n-grams")])
def test_a_bundle_with_ngrams_is_not_compared_with_one_without(
    compose: Compose, tmp_path: Path, new: int, old: int, words: str
) -> None:
    report = compose(modelled(scale=2), modelled(scale=2))
    recorded = compose(modelled(), modelled())
    report["bundle"]["ngrams_bytes"], recorded["bundle"]["ngrams_bytes"] = new, old
    write_json(tmp_path / "old.json", recorded)
    add_comparison(report, tmp_path / "old.json")
    assert report["compared"] == f"old.json is of a model {words}"
    assert report["verdict"] == "pass"
    add_comparison(report, tmp_path / "none.json")
    assert report["compared"] == "none.json does not exist"


HWCAP = 1 << 0 | 1 << 1 | 1 << 7
FOUND = {
    "instructions": {"neon": "runs", "crc32": "runs", "aes": "SIGILL", "atomics": "SIGILL"},
    "hwcap": HWCAP,
}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"instructions": {"aes": "runs"}}, "an instruction of aes: runs, on the board: SIGILL"),
        ({"instructions": {"neon": "SIGILL"}}, "an instruction of neon: SIGILL, on the board: runs"),
        (
            {"instructions": {"atomics": "status 139"}},
            "an instruction of atomics: status 139, on the board: SIGILL",
        ),
        ({"hwcap": HWCAP | 1 << 20}, "HWCAP has asimddp"),
        ({"hwcap": 3}, "HWCAP lacks crc32"),
    ],
)
def test_differences_from_the_boards_processor_are_listed(changed: dict[str, Any], sentence: str) -> None:
    assert find_wrong_instructions(FOUND) == []
    assert find_wrong_instructions({**FOUND, **changed}) == [sentence]


@pytest.mark.parametrize(
    ("board", "right", "wrong"), [("pi-zero-2w", "neon", "dotprod"), ("pi-5", "dotprod", "neon")]
)
def test_the_kernels_must_use_the_boards_instructions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: str, right: str, wrong: str
) -> None:
    def run(found: str) -> str:
        output = json.dumps({"name": "kernels", "instructions": found, "reason": "installed"}).encode()
        monkeypatch.setattr(Guest, "run", lambda *_, **__: Outcome(0, output, ""))
        return check_kernels(Guest(Twin(tmp_path, board=load_board(board))))

    assert run(right) == f"the kernels use {right}"
    with pytest.raises(TwinError, match=f"use {wrong}, on the board: {right}"):
        run(wrong)


def test_the_kernels_are_checked_on_rows_wider_than_their_largest_tile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[tuple[str, str, ModelConfig]] = []

    def record(name: str, guest: Guest, bundle: Path, engine: str) -> str:
        checked.append((name, engine, load_bundle(bundle).config))
        return name

    for name in ("check_instructions", "check_onnxruntime", "check_kernels"):
        monkeypatch.setattr(f"bench.twin.__main__.{name}", lambda _: "passed")
    for name in ("check_text", "check_logits"):
        monkeypatch.setattr(f"bench.twin.__main__.{name}", partial(record, name))
    sentences = list(run_checks(Guest(Twin(tmp_path)), GREEDY_BUNDLE, INT8_BUNDLE))
    assert len(sentences) == 3 + len(checked)
    assert min(WIDE.d_model, WIDE.dim_feedforward) > 256  # columns of the largest tile
    assert {name for name, engine, config in checked if (engine, config) == (KERNELS, WIDE)} == {
        "check_text", "check_logits"
    }  # fmt: skip


def test_qemu_is_changed_only_if_its_program_is_as_expected() -> None:
    store = b"\x48\xc7\x83\x10\x02\x00\x00" + (0x11120).to_bytes(4, "little")
    program = b"begin" + (store + b"\x48\xc7\x83rest") * 3 + b"end"
    changed = remove_cryptography(program, "qemu")
    assert len(changed) == len(program)
    assert changed.count((0x10000).to_bytes(4, "little")) == 3
    assert (0x11120).to_bytes(4, "little") not in changed
    with pytest.raises(TwinError, match="qemu sets up 2 CPU models"):
        remove_cryptography(b"begin" + (store + b"\x48\xc7\x83rest") * 2, "qemu")


def test_the_console_gives_the_files_and_an_unfinished_boot_is_an_error() -> None:
    text = (
        "booting\r\ntwin-file generate.code MAo=\r\ntwin-file empty \r\ntwin-file meminfo {}\r\ntwin-end\r\n"
    )
    meminfo = "TWVtVG90YWw6ICAgICAgICAgNDI2NzA4IGtCCg=="
    booted = parse_console(text.format(meminfo))
    assert booted.exit_code("generate") == 0
    assert booted.files["empty"] == b""
    assert booted.memory_bytes == 426708 * 1024
    with pytest.raises(TwinError, match="never ended `bench`"):
        booted.exit_code("bench")
    with pytest.raises(TwinError, match=r"did not run to its end: .*panic"):
        parse_console("Kernel panic")


def test_the_reads_of_a_start_are_the_difference_of_two_counts() -> None:
    before = b"     100       20     8000       50        0        0        0        0\n"
    after = b"     660       90    80136      350        3        0       24        1\n"
    reads = DiskReads.between(before, after)
    assert (reads.requests, reads.byte_count) == (560, 36_933_632)
    # 560 x 0.5 ms, and 36.9 MB at 23.6 MB/s
    assert reads.to_dict()["seconds_modelled"] == pytest.approx(0.28 + 1.565, abs=0.001)


def test_a_boot_with_another_amount_of_memory_is_an_error() -> None:
    for total_kb in (426_708, 426_208):  # of the emulated and of a real board
        check_memory(total_kb * 1024)
    for wrong in (MEMORY.usable_mb - 20, MEMORY.usable_mb + 20):
        with pytest.raises(TwinError, match=f"has {wrong} MB of memory, the board 416 MB"):
            check_memory(wrong << 20)


def test_the_plugin_is_compiled_again_only_if_its_inputs_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []

    def compile_file(command: list[Any]) -> str:
        compiled.append(" ".join(map(str, command)))
        return ""

    monkeypatch.setattr("bench.twin.build.run", compile_file)
    monkeypatch.setattr("bench.twin.build.find_program", lambda name: name)
    latency = LatencyModel(
        500, CoreCosts(1.5, 10, 20), LineCost(10, 7), LineCost(50, 100), LineCost(20, 14), 15, 1.2
    )
    monkeypatch.setattr("bench.twin.build.LATENCY", latency)
    twin = Twin(tmp_path)
    twin.plugin.touch()
    make_plugin(twin)
    make_plugin(twin)
    assert len(compiled) == 1
    # Instructions, cycles, mispredictions, misses that the second cache has, code;
    # lines: streamed, crowded, random, stored.
    assert "-DPS_PER_COUNT={0,3000,20000,40000,0,27000,113500,200000,54000}" in compiled[0]
    assert all(name in compiled[0] for name in ("plugin.c", "core.c", "pipeline.c"))
    monkeypatch.setattr("bench.twin.build.LATENCY", latency.at_clock(1000))
    make_plugin(twin)
    assert "-DPS_PER_COUNT={0,1500,10000,20000,0,17000,83500,150000,34000}" in compiled[1]


def test_the_cpu_files_are_those_of_four_cores_without_cryptography(tmp_path: Path) -> None:
    write_cpu_files(tmp_path, BOARD)
    text = (tmp_path / "proc" / "cpuinfo").read_text()
    assert text.count("CPU part	: 0xd03") == 4
    assert "aes" not in text
    cpu = tmp_path / "sys" / "devices" / "system" / "cpu"
    assert (cpu / "online").read_text() == "0-3\n"
    assert (cpu / "cpu3" / "cache" / "index2" / "size").read_text() == "512K\n"
    assert (cpu / "cpu3" / "cache" / "index0" / "shared_cpu_list").read_text() == "3\n"
    assert (cpu / "cpu3" / "cache" / "index1" / "number_of_sets").read_text() == "256\n"
    assert (cpu / "cpu0" / "cpufreq" / "cpuinfo_max_freq").read_text() == "1000000\n"


def test_the_cpu_files_of_another_board_are_those_of_its_file(tmp_path: Path) -> None:
    write_cpu_files(tmp_path, BOARD)
    write_cpu_files(tmp_path, load_board("pi-5"))  # what differs is replaced
    text = (tmp_path / "proc" / "cpuinfo").read_text()
    for line in ("CPU variant	: 0x4", "CPU part	: 0xd0b", "CPU revision	: 1"):
        assert text.count(line) == 4
    assert " asimddp\n" in text
    cache = tmp_path / "sys" / "devices" / "system" / "cpu" / "cpu2" / "cache"
    assert (cache / "index2" / "shared_cpu_list").read_text() == "2\n"
    assert (cache / "index3" / "shared_cpu_list").read_text() == "0-3\n"
    written = (cache / "index3" / "size").stat().st_mtime_ns
    write_cpu_files(tmp_path, load_board("pi-5"))
    assert (cache / "index3" / "size").stat().st_mtime_ns == written


def test_each_board_has_its_own_root_and_one_without_a_processor_is_refused(tmp_path: Path) -> None:
    assert locate_twin(tmp_path, "bookworm").root.name == "root-bookworm"
    assert locate_twin(tmp_path, "trixie", load_board("pi-5")).root.name == "root-trixie-pi-5"
    with pytest.raises(UsageError, match="board x86-64: emulation is missing, which the emulation needs"):
        locate_twin(tmp_path, "bookworm", load_board("x86-64"))
    with pytest.raises(UsageError, match="--suite sid: board pi-5 runs bookworm, trixie"):
        locate_twin(tmp_path, "sid", load_board("pi-5"))


def test_a_board_with_dot_products_has_their_instructions() -> None:
    names = ("atomics", "rdm", "fp16", "dotprod", "lrcpc", "aes")
    bits = sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20))
    found = {"instructions": dict.fromkeys(names, "runs"), "hwcap": bits}
    assert find_wrong_instructions(found, load_board("pi-5")) == []
    assert "an instruction of dotprod: runs, on the board: SIGILL" in find_wrong_instructions(found)


def test_a_folder_is_renamed_only_when_it_is_complete(tmp_path: Path) -> None:
    def fill(text: str, fails: bool) -> None:
        with atomic_folder(tmp_path / "made") as folder:
            (folder / "file").write_text(text)
            if fails:
                raise RuntimeError

    fill("first", fails=False)
    with pytest.raises(RuntimeError):
        fill("second", fails=True)
    assert (tmp_path / "made" / "file").read_text() == "first"
    fill("third", fails=False)
    assert (tmp_path / "made" / "file").read_text() == "third"


def test_a_report_of_another_debian_is_not_compared(compose: Compose, tmp_path: Path) -> None:
    report = compose(modelled(), modelled())
    old = copy.deepcopy(report)
    old["versions"]["debian"] = "trixie"
    write_json(tmp_path / "old.json", old)
    add_comparison(report, tmp_path / "old.json")
    assert report["compared"] == "old.json is of another Debian"


def test_logits_may_differ_by_a_rounding_and_not_by_more() -> None:
    host = np.random.default_rng(0).normal(size=(20, 50)).astype(np.float32)
    assert "20 of 20 to 0.0001" in compare_logits(host + 1e-5, host)
    guest = host.copy()
    guest[3, 7] += 0.05
    assert compare_logits(guest, host).endswith("19 of 20 to 0.0001, the others to 0.05")
    for different in (host + 0.01, np.where(host == host[3, 7], host + 0.2, host), host * np.nan):
        with pytest.raises(TwinError, match="the logits in the guest differ from those"):
            compare_logits(different, host)


def test_logits_of_the_kernels_must_be_equal_in_every_bit() -> None:
    host = np.random.default_rng(1).normal(size=(20, 50)).astype(np.float32)
    assert "after 20 tokens are those of this machine, bit for bit" in compare_equal_logits(host.copy(), host)
    guest = host.copy()
    guest[7, 3] = np.nextafter(guest[7, 3], np.float32(9))
    with pytest.raises(TwinError, match="for 19 of 20 tokens"):
        compare_equal_logits(guest, host)
