"""The twin's own arithmetic and judgement; the emulated processor itself is `make twin`'s to prove."""

import copy
import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tinyedge.core.files import write_json

MODULES = (
    "layout",
    "counts",
    "cpu_model",
    "debian",
    "user_emulation",
    "build",
    "measure",
    "self_check",
    "system_emulation",
    "report",
)


@pytest.fixture(scope="module")
def twin() -> SimpleNamespace:
    """The modules of bench/twin, by name."""
    return SimpleNamespace(**{name: importlib.import_module(f"bench.twin.{name}") for name in MODULES})


def figures(twin: SimpleNamespace, instructions: float, fills: float = 0) -> Any:
    return twin.counts.Figures(instructions, 0, 0, fills)


LOG = """\
mark 100 40 4 1
mark 110 44 4 1
shown 150 60 5 2
mark 1110 400 40 11
map 400000-402000 r-xp 00001000 08:01 12 /usr/bin/python3.11
block 400010 900
block 400020 30
block 9999 50
mark 1220 450 50 31
total 1300 500 60 40
"""


def test_the_steps_are_between_marks_without_what_a_mark_costs(twin: SimpleNamespace) -> None:
    counts = twin.counts.parse_counts(LOG)
    assert [step.instructions for step in counts.steps] == [1000 - 10, 110 - 10]
    assert [step.fills for step in counts.steps] == [10, 20]
    assert counts.total.instructions == 1300
    assert [shown.instructions for shown in counts.shown] == [150]
    assert (counts.sockets, counts.threads) == (0, 0)
    assert twin.counts.parse_counts("socket 1 1 1 1\n" + LOG).sockets == 1


def test_blocks_are_found_in_their_files(twin: SimpleNamespace) -> None:
    counts = twin.counts.parse_counts(LOG)
    assert [(b.file, b.offset, b.instructions) for b in counts.blocks] == [
        ("/usr/bin/python3.11", 0x1010, 900),
        ("?", 0x9999, 50),
        ("/usr/bin/python3.11", 0x1020, 30),
    ]
    assert twin.counts.by_file(counts.blocks) == {"/usr/bin/python3.11": 930, "?": 50}


def test_a_run_without_an_end_or_without_marks_is_no_measurement(twin: SimpleNamespace) -> None:
    with pytest.raises(twin.layout.TwinError, match="did not come to its end"):
        twin.counts.parse_counts(LOG.replace("total", "totals"))
    with pytest.raises(twin.layout.TwinError, match="marked nothing"):
        _ = twin.counts.parse_counts("mark 1 1 1 1\ntotal 2 2 2 2").steps


def test_the_cost_model(twin: SimpleNamespace) -> None:
    assert figures(twin, 1_000_000, 10_000).modelled_ms == pytest.approx(1.39 + 0.425)
    assert (figures(twin, 30, 9) - figures(twin, 10, 3)) / 2 == figures(twin, 10, 3)


@pytest.mark.parametrize(("percent", "expected"), [(50, 10), (95, 19), (99, 20), (100, 20), (1, 1)])
def test_percentiles_are_values_that_occurred(twin: SimpleNamespace, percent: int, expected: int) -> None:
    assert twin.counts.percentile(list(range(20, 0, -1)), percent) == expected


def modelled(twin: SimpleNamespace, scale: float = 1.0, sockets: int = 0, threads: int = 0) -> Any:
    """Two prompts, two responses each of three tokens; the last step of each is its end."""
    marks = [0, 10]
    for response in range(4):
        for step in (4e6 + response * 1e6, 1e6, 2e6, 1e3):
            marks.append(int(marks[-1] + step * scale + 10))
    log = "".join(f"mark {mark} 0 0 0\n" for mark in marks) + f"total {marks[-1]} 0 0 0"
    told = {"prompts": ["a", "b", "a", "b"], "tokens": {"a": 4, "b": 9}}
    answers = twin.measure.responses(twin.counts.parse_counts(log), told)
    return twin.measure.Modelled(answers, figures(twin, 800e6 * scale), sockets, threads)


def test_responses_are_cut_at_their_ends(twin: SimpleNamespace) -> None:
    found = modelled(twin)
    assert [(r.prompt, r.prompt_tokens, r.first.instructions) for r in found.responses] == [
        ("a", 4, 4e6), ("b", 9, 5e6), ("a", 4, 6e6), ("b", 9, 7e6),
    ]  # fmt: skip
    assert found.token.instructions == 1.5e6
    assert found.p95_ms == pytest.approx(1.39 * (7 + 3 + 0.001))
    prefill = found.to_json()["prefill"]
    assert [(row["prompt_tokens"], row["instructions"]) for row in prefill] == [(4, 5e6), (9, 6e6)]


def test_marks_that_do_not_fit_the_responses_are_refused(twin: SimpleNamespace) -> None:
    counts = twin.counts.parse_counts(LOG)
    with pytest.raises(twin.layout.TwinError, match="2 marks are not those of 4 responses"):
        twin.measure.responses(counts, {"prompts": ["a"] * 4, "tokens": {"a": 4}})


@pytest.fixture
def compose(twin: SimpleNamespace, micro_bundle: Path, tmp_path: Path) -> Any:
    """Makes a report; `counted` are the two counts."""
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
        "memory_gates": [memory_gate],
    }  # fmt: skip

    def make(*counted: Any, **changes: Any) -> dict[str, Any]:
        place = twin.layout.Twin(tmp_path)
        return dict(twin.report.compose(place, micro_bundle, ["proof"], counted, {**system, **changes}))

    return make


def failed(report: dict[str, Any]) -> list[str]:
    return [gate["name"] for gate in report["gates"] if not gate["ok"]]


def test_a_report_of_two_equal_counts_passes(twin: SimpleNamespace, compose: Any) -> None:
    report = compose(modelled(twin), modelled(twin))
    assert report["schema"] == "tinyedge.twin/1"
    assert (report["verdict"], failed(report)) == ("pass", [])
    assert report["p95_bound_ms"] == pytest.approx(1.4 * report["p95_modelled_ms"], abs=1e-3)


def test_the_gate_takes_the_bound_and_not_the_estimate(twin: SimpleNamespace, compose: Any) -> None:
    slow = modelled(twin, scale=200 / modelled(twin).p95_ms)
    report = compose(slow, slow)
    assert report["p95_modelled_ms"] == pytest.approx(200, rel=1e-3)  # the estimate is below 250 ms
    assert (report["verdict"], failed(report)) == ("fail", ["p95"])


def test_counts_that_do_not_repeat_fail(twin: SimpleNamespace, compose: Any) -> None:
    assert failed(compose(modelled(twin), modelled(twin, scale=1.0005))) == []
    assert failed(compose(modelled(twin), modelled(twin, scale=0.998))) == ["repeat"]


def test_a_program_that_turns_to_the_network_fails(twin: SimpleNamespace, compose: Any) -> None:
    assert failed(compose(modelled(twin, sockets=1), modelled(twin))) == ["sockets"]


def test_a_program_that_starts_threads_of_its_own_fails(twin: SimpleNamespace, compose: Any) -> None:
    assert twin.counts.parse_counts("thread 1 1 1 1\n" + LOG).threads == 1
    assert failed(compose(modelled(twin, threads=2), modelled(twin))) == ["threads"]


def test_a_memory_gate_of_the_booted_board_decides(twin: SimpleNamespace, compose: Any) -> None:
    over = {"name": "rss", "limit": 400.0, "measured": 401.0, "unit": "MB", "ok": False, "sentence": "over"}
    assert compose(modelled(twin), modelled(twin), memory_gates=[over])["verdict"] == "fail"


@pytest.mark.parametrize(("scale", "verdict"), [(1.019, "pass"), (1.021, "fail"), (0.5, "pass")])
def test_a_regression_over_two_percent_fails(
    twin: SimpleNamespace, compose: Any, tmp_path: Path, scale: float, verdict: str
) -> None:
    recorded = tmp_path / "recorded.json"
    write_json(recorded, compose(modelled(twin), modelled(twin)))
    report = compose(modelled(twin, scale), modelled(twin, scale))
    twin.report.compare(report, recorded)
    assert report["verdict"] == verdict
    assert len([name for name in failed(report) if name.startswith("regression")]) == (
        3 if verdict == "fail" else 0
    )
    assert (
        "FAIL" in twin.report.table(report)
        if verdict == "fail"
        else "verdict: pass" in twin.report.table(report)
    )


def test_reports_of_other_work_are_not_compared(twin: SimpleNamespace, compose: Any, tmp_path: Path) -> None:
    report = compose(modelled(twin), modelled(twin))
    old = copy.deepcopy(report)
    old["bundle"]["model"]["d_model"] *= 2
    write_json(tmp_path / "old.json", old)
    twin.report.compare(report, tmp_path / "old.json")
    assert report["compared"] == "old.json is of another model"
    assert report["verdict"] == "pass"
    twin.report.compare(report, tmp_path / "none.json")
    assert report["compared"] == "none.json does not exist"


HWCAP = 1 << 0 | 1 << 1 | 1 << 7
BOARD = {
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
def test_a_processor_that_is_not_the_boards_is_told(
    twin: SimpleNamespace, changed: dict[str, Any], sentence: str
) -> None:
    assert twin.self_check.wrong_instructions(BOARD) == []
    assert twin.self_check.wrong_instructions({**BOARD, **changed}) == [sentence]


def test_qemu_gets_the_boards_features_only_where_it_looks_as_expected(twin: SimpleNamespace) -> None:
    store = b"\x48\xc7\x83\x10\x02\x00\x00" + (0x11120).to_bytes(4, "little")
    program = b"begin" + (store + b"\x48\xc7\x83rest") * 3 + b"end"
    changed = twin.cpu_model.without_cryptography(program, "qemu")
    assert len(changed) == len(program)
    assert changed.count((0x10000).to_bytes(4, "little")) == 3
    assert (0x11120).to_bytes(4, "little") not in changed
    with pytest.raises(twin.layout.TwinError, match="qemu sets up 2 CPU models"):
        twin.cpu_model.without_cryptography(b"begin" + (store + b"\x48\xc7\x83rest") * 2, "qemu")


def test_the_console_gives_the_files_and_an_unfinished_boot_is_an_error(twin: SimpleNamespace) -> None:
    text = (
        "booting\r\ntwin-file generate.code MAo=\r\ntwin-file empty \r\ntwin-file meminfo {}\r\ntwin-end\r\n"
    )
    meminfo = "TWVtVG90YWw6ICAgICAgICAgNDI2NzA4IGtCCg=="
    booted = twin.system_emulation.parse_console(text.format(meminfo))
    assert booted.code("generate") == 0
    assert booted.files["empty"] == b""
    assert booted.memory_bytes == 426708 * 1024
    with pytest.raises(twin.layout.TwinError, match="never ended `bench`"):
        booted.code("bench")
    with pytest.raises(twin.layout.TwinError, match=r"did not come to its end: .*panic"):
        twin.system_emulation.parse_console("Kernel panic")


def test_the_cpu_files_are_those_of_four_cores_without_cryptography(
    twin: SimpleNamespace, tmp_path: Path
) -> None:
    twin.cpu_model.write_cpu_files(tmp_path)
    text = (tmp_path / "proc" / "cpuinfo").read_text()
    assert text.count("CPU part	: 0xd03") == 4
    assert "aes" not in text
    cpu = tmp_path / "sys" / "devices" / "system" / "cpu"
    assert (cpu / "online").read_text() == "0-3\n"
    assert (cpu / "cpu3" / "cache" / "index2" / "size").read_text() == "512K\n"
    assert (cpu / "cpu3" / "cache" / "index0" / "shared_cpu_list").read_text() == "3\n"


def test_a_folder_takes_its_name_only_when_it_is_whole(twin: SimpleNamespace, tmp_path: Path) -> None:
    def fill(text: str, fails: bool) -> None:
        with twin.layout.whole(tmp_path / "made") as folder:
            (folder / "file").write_text(text)
            if fails:
                raise RuntimeError

    fill("first", fails=False)
    with pytest.raises(RuntimeError):
        fill("second", fails=True)
    assert (tmp_path / "made" / "file").read_text() == "first"
    fill("third", fails=False)
    assert (tmp_path / "made" / "file").read_text() == "third"


def test_a_report_of_another_debian_is_not_compared(
    twin: SimpleNamespace, compose: Any, tmp_path: Path
) -> None:
    report = compose(modelled(twin), modelled(twin))
    old = copy.deepcopy(report)
    old["versions"]["debian"] = "trixie"
    write_json(tmp_path / "old.json", old)
    twin.report.compare(report, tmp_path / "old.json")
    assert report["compared"] == "old.json is of another Debian"


def test_logits_may_differ_by_a_rounding_and_not_by_more(twin: SimpleNamespace) -> None:
    ours = np.random.default_rng(0).normal(size=(20, 50)).astype(np.float32)
    assert "20 of 20 to 0.0001" in twin.self_check.compare_logits(ours + 1e-5, ours)
    theirs = ours.copy()
    theirs[3, 7] += 0.05
    assert twin.self_check.compare_logits(theirs, ours).endswith("19 of 20 to 0.0001, the others to 0.05")
    for different in (ours + 0.01, np.where(ours == ours[3, 7], ours + 0.2, ours), ours * np.nan):
        with pytest.raises(twin.layout.TwinError, match="the logits in the guest are not those"):
            twin.self_check.compare_logits(different, ours)
