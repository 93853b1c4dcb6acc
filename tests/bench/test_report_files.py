"""Output files of a report: complete or not written, and never over an input."""

import csv
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tinyedge.bench.limits import Limits
from tinyedge.bench.page import chart
from tinyedge.bench.page.content import page_content
from tinyedge.bench.page.html import MAX_DOTS, render
from tinyedge.bench.report import Report
from tinyedge.bench.report_files import ReportFiles, samples_to_csv
from tinyedge.core.errors import BenchError, UsageError

Make = Callable[..., Report]
FIELDS = ("latency_ms", "raw_samples", "device", "gates", "conditions", "memory")


def test_paths_that_cannot_be_written_are_refused_first(tmp_path: Path) -> None:
    ReportFiles(json=tmp_path / "report.json").require_writable()
    assert list(tmp_path.iterdir()) == []
    old = tmp_path / "old.json"
    old.write_text("old")
    ReportFiles(json=old).require_writable()
    assert old.read_text() == "old"
    for path in (
        tmp_path,
        tmp_path / "none" / "report.json",
        Path("/proc/report.json"),
        Path("/dev/null"),
        tmp_path / ("x" * 300),
    ):
        for name in ("json", "csv", "html"):
            with pytest.raises(UsageError, match=f"--{name} {path} "):
                ReportFiles(**{name: path}).require_writable()


def test_inputs_are_not_overwritten_and_bundles_not_changed(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for path in (bundle / "report.html", bundle):
        with pytest.raises(UsageError, match=f"--html {path} would change {bundle}"):
            ReportFiles(html=path).require_writable([bundle])
    with pytest.raises(UsageError, match=r"--csv .* is the same file as --json"):
        ReportFiles(json=tmp_path / "a", csv=tmp_path / "x" / ".." / "a").require_writable()


def test_a_write_error_leaves_no_file(report: Make, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(BenchError, match=r"report\.json cannot be written"):
        ReportFiles(json=gone / "report.json").write(report().to_dict())
    assert list(tmp_path.iterdir()) == []


def test_the_csv_has_one_row_per_sample(report: Make) -> None:
    rows = list(csv.DictReader(io.StringIO(samples_to_csv(report([20.0, 40.0] * 10).to_dict()))))
    assert len(rows) == 20
    first = rows[0]
    assert (first["sample"], first["prompt"], first["prompt_tokens"]) == ("0", "en-word", "10")
    assert (float(first["ttft_ms"]), float(first["e2e_ms"]), float(first["mean_itl_ms"])) == (5, 20, 5)
    assert rows[1]["e2e_ms"] == "40.0"
    assert samples_to_csv(report(measured={"tokens": 1}).to_dict()).splitlines()[1].split(",")[5] == ""


class PageReader(HTMLParser):
    """Checks that tags are balanced, and collects what a page would request."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.requested: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.requested += [
            f"{name}={value}" for name, value in attributes if name in ("src", "href", "action")
        ]
        if tag not in ("meta", "line", "rect", "circle", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("rect", "circle"):
            return
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> PageReader:
    reader = PageReader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_page_shows_verdict_gates_samples_and_machine_and_is_self_contained(report: Make) -> None:
    found = report([20.0] * 60 + [30.0] * 60, measured={"rss": lambda index: 50 + index / 50})
    reader = read(render(page_content(found.to_dict())))
    assert reader.requested == []
    assert "script" not in reader.tags
    assert reader.tags.count("circle") == 120
    assert reader.tags.count("polyline") == 1
    for gate in found.gates:
        assert gate.sentence in reader.text
    for shown in (
        "✓ pass",
        "Raspberry Pi Zero 2 W Rev 1.0",
        "/dev/zram0",
        "MemoryMax= has no effect",
        "1000 to 1000 MHz",
    ):
        assert shown in reader.text
    assert "are modelled" not in reader.text


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"limits": Limits(max_p95_ms=1)}, "✗ fail"),
        ({"measured": {"waited": 0.5}}, "other programs used the processor for 50%"),
        ({"e2e_ms": [20.0] * 5}, "? inconclusive"),
        ({"measured": {"tokens": 1}}, "✓ pass"),
        ({"e2e_ms": [1e-3] * 100}, "✓ pass"),
        ({"e2e_ms": [5e6] * 100, "limits": Limits(max_p95_ms=1e9)}, "✓ pass"),
    ],
)
def test_every_verdict_has_a_page(report: Make, change: dict[str, Any], shown: str) -> None:
    assert shown in read(render(page_content(report(**change).to_dict()))).text


def test_a_page_of_very_many_samples_is_small_and_shows_the_slowest(report: Make) -> None:
    reader = read(render(page_content(report([20.0] * 9_999 + [900.0]).to_dict())))
    assert reader.tags.count("circle") < 1.3 * MAX_DOTS
    assert "900.00 ms" in reader.text


def test_html_in_a_report_is_escaped(report: Make) -> None:
    found = report().to_dict()
    found["device"]["model"] = "<script>alert(1)</script>"
    found["raw_samples"][0]["prompt"] = "<img src=x onerror=alert(1)>"
    reader = read(render(page_content(found)))
    assert "script" not in reader.tags
    assert "img" not in reader.tags


def test_an_invalid_report_leaves_no_file(report: Make, tmp_path: Path) -> None:
    outputs = ReportFiles(tmp_path / "a.json", tmp_path / "a.csv", tmp_path / "a.html")
    with pytest.raises(BenchError, match="schema None"):
        ReportFiles(html=tmp_path / "a.html").write({})
    complete = report().to_dict()
    broken = [{name: value for name, value in complete.items() if name != field} for field in FIELDS]
    broken += [{**complete, field: 7} for field in FIELDS]
    broken += [
        {**complete, "verdict": -1},
        {**complete, "p95_upper_99": {}},
        {**complete, "prefill_tps": 10**400},
        {**complete, "gates": [{**gate, "ok": "x"} for gate in complete["gates"]]},
        {**complete, "gates": [{**gate, "sentence": 0} for gate in complete["gates"]]},
    ]
    for one in broken:
        with pytest.raises(BenchError, match="incomplete or invalid"):
            outputs.write(one)
    assert list(tmp_path.iterdir()) == []


def test_a_verdict_that_contradicts_its_gates_is_refused(report: Make, tmp_path: Path) -> None:
    failed = report(limits=Limits(max_p95_ms=1)).to_dict()
    with pytest.raises(BenchError, match="its verdict is 'pass', but its gates result in 'fail'"):
        ReportFiles(html=tmp_path / "a.html").write({**failed, "verdict": "pass"})


def test_other_files_are_written_if_one_fails(report: Make, tmp_path: Path) -> None:
    outputs = ReportFiles(tmp_path / "gone" / "a.json", html=tmp_path / "a.html")
    with pytest.raises(BenchError, match=r"a\.json cannot be written"):
        outputs.write(report().to_dict())
    assert (tmp_path / "a.html").exists()


def test_ticks_are_round_numbers_within_the_range() -> None:
    assert chart.choose_ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert chart.choose_ticks(1.8, 5.1) == [2, 3, 4, 5]
    assert chart.choose_ticks(3, 3) == [3]
    assert chart.choose_ticks(0, 0.003) == [0, 0.001, 0.002, 0.003]


def test_the_recorded_report_of_the_twin_has_a_page() -> None:
    recorded = Path(__file__).parents[2] / "bench" / "reports" / "twin-pi-zero-2w.json"
    report = json.loads(recorded.read_text())
    reader = read(render(page_content(report)))
    assert "All times on this page are modelled." in reader.text
    assert reader.tags.count("circle") == len(report["latency_modelled"]["raw_samples"]) >= 20
    assert f"{report['memory']['peak_rss'] / 2**20:.1f}" in reader.text
    for gate in report["gates"]:
        assert gate["sentence"].replace("`", "") in reader.text


def test_one_outlier_gets_a_bar_of_its_own_and_does_not_squeeze_the_others() -> None:
    values = [20.0 + index % 10 / 10 for index in range(100)]
    plain = chart.draw_histogram(values, [("p50", 20.4)], "ms")
    spoiled = chart.draw_histogram([*values, 5000.0], [("p50", 20.4), ("bound", 5000.0)], "ms")
    assert plain.count("<rect") == 10
    assert " above " not in plain
    assert spoiled.count("<rect") == 11
    assert "1 above " in spoiled
    assert "up to 5000.00" in spoiled
    assert "bound 5,000" in spoiled


def test_no_value_is_missing_in_a_histogram() -> None:
    for values in (
        [1.0] * 50,
        [1.0] * 95 + [9.0] * 5,
        [1.0] * 99 + [1e6],
        [float(n**3) for n in range(1, 99)],
    ):
        drawn = chart.draw_histogram(values, [], "ms")
        counts = [int(words) for words in re.findall(r"<title>(\d+) (?:from|above)", drawn)]
        assert sum(counts) == len(values)


@pytest.mark.parametrize("value", [1.0, 300.0, 479.0])
def test_the_names_of_marks_and_ticks_stay_inside_the_chart(value: float) -> None:
    marks = [("p95, 99% upper bound", value), ("p50", 0.5)]
    drawn = chart.draw_histogram([0.0, 480.0, value] * 40, marks, "ms")
    texts = re.findall(r'<text class="([^"]+)" x="([^"]+)" y="[^"]+">([^<]+)', drawn)
    for kind, x, words in texts:
        width, at = 7 * len(words), float(x)
        left = at - width if "end" in kind else at - width / 2 if "mid" in kind else at
        assert left >= 0
        assert left + width <= chart.WIDTH + 1


@pytest.mark.parametrize("p50", [1.0, 60.0, 240.0, 470.0])
@pytest.mark.parametrize("gap", [0.0, 2.0, 20.0, 70.0, 200.0])
@pytest.mark.parametrize("bound_gap", [0.0, 3.0, 30.0, 150.0])
def test_no_name_of_a_mark_crosses_the_line_of_another(p50: float, gap: float, bound_gap: float) -> None:
    p95 = min(p50 + gap, 479.0)
    marks = [("p50", p50), ("p95", p95), ("p95, 99% upper bound", min(p95 + bound_gap, 480.0))]
    drawn = chart.draw_histogram([0.0, *(480.0,) * 40], marks, "ms")
    lines = re.findall(r'<line class="mark" x1="([^"]+)" x2="[^"]+" y1="([^"]+)"', drawn)
    names = re.findall(r'<text class="(name|name end)" x="([^"]+)" y="([^"]+)">(p[^<]+)', drawn)
    assert len(lines) == len(names) == 3
    assert len({y for _, _, y, _ in names}) == 3
    for kind, x, y, words in names:
        width = 7 * len(words)
        left = float(x) - width if "end" in kind else float(x)
        assert left >= 0
        assert left + width <= chart.WIDTH
        for at, top in lines:
            assert not (left < float(at) < left + width and float(top) < float(y) + 3)
