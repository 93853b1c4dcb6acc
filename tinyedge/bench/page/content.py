"""Content of a page: the tables, charts and facts of a measured or a modelled report.

In: the JSON of a report. Out: a PageContent. Does not compute new results and does not know HTML.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyedge.bench.baseline import get_engine
from tinyedge.bench.report import SCHEMA
from tinyedge.core import stats
from tinyedge.core.errors import BenchError

MB = 1 << 20
TWIN_SCHEMA = "tinyedge.twin/1"
SCHEMAS = (SCHEMA, TWIN_SCHEMA)


@dataclass(frozen=True)
class GateRow:
    """A gate."""

    ok: bool | None
    """Whether the limit is met; None if inconclusive."""
    sentence: str
    """Explanation of the result."""
    share: float | None
    """Used share of the limit; None if not applicable."""


@dataclass(frozen=True)
class Response:
    """One response."""

    prompt: str
    """Name of the prompt."""
    prompt_tokens: int
    """Tokens of the prompt."""
    ttft_ms: float
    """Time to the first token, in ms."""
    e2e_ms: float
    """Time to the end, in ms."""


@dataclass(frozen=True)
class PageTable:
    """A table."""

    title: str
    """Heading of the table."""
    head: tuple[str, ...]
    """Names of the columns."""
    rows: tuple[tuple[str, ...], ...]
    """Cells by row."""


@dataclass(frozen=True)
class PageContent:
    """Everything that a page shows."""

    title: str
    """Title of the page."""
    verdict: str
    """One of "pass", "fail" and "inconclusive"."""
    modelled: bool
    """Whether the times are modelled, not measured."""
    gates: tuple[GateRow, ...]
    """The limits."""
    doubts: tuple[str, ...]
    """Why the times are unreliable."""
    responses: tuple[Response, ...]
    """The responses, in order."""
    marks: tuple[tuple[str, float], ...]
    """Latencies to mark in the histogram: name and value in ms."""
    memory: tuple[float, ...]
    """Memory after each response, in MB; empty if not measured."""
    phases: tuple[tuple[str, float], ...]
    """Memory at the end of each phase: name and value in MB."""
    tables: tuple[PageTable, ...]
    """The tables."""
    facts: tuple[tuple[str, str], ...]
    """Properties of the machine and the run: name and value."""
    notes: tuple[str, ...]
    """Remarks at the end of the page."""


def page_content(report: Mapping[str, Any]) -> PageContent:
    """Return the content of the page of a report of the benchmark or the twin.

    Raises:
        BenchError: The schema is neither of the two.
        Exception: The report is incomplete or invalid: one of `files.INVALID_FIELD_ERRORS`, which
            `report_files` handles.
    """
    makers: dict[object, Callable[[Mapping[str, Any]], PageContent]] = {
        SCHEMA: _describe_measured,
        TWIN_SCHEMA: _describe_modelled,
    }
    maker = makers.get(report.get("schema"))
    if maker is None:
        raise BenchError(
            f"the report has schema {report.get('schema')!r}, this version supports {' and '.join(SCHEMAS)}",
            "pass a file that `tinyedge bench --json` or `make twin` wrote",
        )
    content = maker(report)
    results = {row.ok for row in content.gates}
    expected = "fail" if False in results else "inconclusive" if None in results else "pass"
    if content.verdict != expected:
        raise ValueError(f"its verdict is {content.verdict!r}, but its gates result in {expected!r}")
    return content


def _describe_measured(report: Mapping[str, Any]) -> PageContent:
    device, bundle, memory = report["device"], report["bundle"], report["memory"]
    latency, raw = report["latency_ms"], report["raw_samples"]
    bound = report["p95_upper_99"]
    marks = [("p50", latency["e2e"]["p50"]), ("p95", latency["e2e"]["p95"])]
    if bound is not None:
        marks.append(("p95, 99% upper bound", bound))
    before, after = report["conditions"]["before"], report["conditions"]["after"]
    tables = [
        _latency_table(latency),
        _prompt_table(responses := _parse_responses(raw)),
        _phase_table(memory["phases"]),
    ]
    if report["quality"]:
        tables.append(_quality_table(report["quality"]))
    changes = report.get("compared", {}).get("changes", ())
    if changes:
        tables.append(_change_table(report["compared"]))
    board = device["model"] or device["cpu"] or device["machine"] or "unknown machine"
    return PageContent(
        title=f"tinyedge bench on {board}",
        verdict=report["verdict"],
        modelled=False,
        gates=tuple(map(_make_row, report["gates"])),
        doubts=tuple(report["doubts"]),
        responses=responses,
        marks=tuple(marks),
        memory=tuple(sample["rss"] / MB for sample in raw),
        phases=_list_memory_moments(memory),
        tables=tuple(tables),
        facts=_list_known_facts(
            {
                "measured": report["created"],
                "bundle": f"{bundle['sha256'][:12]} {bundle['precision']}, {bundle['model_bytes']:,} bytes",
                "model": bundle.get("model_id"),  # older reports do not have it
                "work": f"{report['samples']} responses of {report['max_tokens']} tokens,"
                f" {report['prompt_set']}, threads {report['threads']}, seed {report['seed']}",
                "prefill (pp)": f"{report['prefill_tps']:,.0f} tokens/s",
                "decode (tg)": report["decode_tps"] and f"{report['decode_tps']:,.0f} tokens/s",
                "start": f"{report['cold_start_s']:.2f} s to the first token (imports"
                f" {report['imports_s']:.2f}, bundle {report['init_s']:.2f})",
                "cold starts": _format_starts(report["whole_cold_starts_s"]),
                "memory grows by": f"{memory['rss_slope_bytes_per_1000_tokens'] / 1024:.1f} kB"
                " per 1000 tokens",
                "board": device["model"],
                "CPU": f"{device['cpu']} x {device['cores']}, {device['machine']}",
                "features": ", ".join(device["features"]),
                "governor": device["governor"],
                "clock": _format_clock(report["conditions"]["mhz"]),
                "temperature": _format_change(before["temperature"], after["temperature"], " °C"),
                "throttling bits": _format_change(before["throttled"], after["throttled"], ""),
                "other programs": _format_waited_share(report["conditions"]["waited_share"]),
                "RAM": device["ram"] and f"{device['ram'] / MB:,.0f} MB",
                "swap": ", ".join(
                    f"{area['name']} {area['used'] / MB:,.0f} of {area['size'] / MB:,.0f} MB"
                    for area in device["swap"]
                ),
                "memory limits": {True: "on", False: "off: MemoryMax= has no effect", None: None}[
                    device["memory_controller"]
                ],
                "kernel": device["kernel"],
                "software": f"tinyedge {report['tinyedge']}, onnxruntime {device['onnxruntime']},"
                f" Python {device['python']}",
                "engine": get_engine(report),
            }
        ),
        notes=(
            *filter(None, [(report.get("target") or {}).get("sentence")]),
            "A response includes tokenization, prefill, decoding, sampling and detokenization.",
            f"Percentiles: {report['percentile_method']}.",
            "Memory is what the kernel reports for the worker process; 1 MB is 2^20 bytes.",
        ),
    )


def _describe_modelled(report: Mapping[str, Any]) -> PageContent:
    latency, memory, cost = report["latency_modelled"], report["memory"], report["cost_model"]
    responses = _parse_responses(latency["raw_samples"])
    error = cost["error_percent"]
    return PageContent(
        title="tinyedge on an emulated Raspberry Pi Zero 2 W",
        verdict=report["verdict"],
        modelled=True,
        gates=tuple(map(_make_row, report["gates"])),
        doubts=(),
        responses=responses,
        marks=(("p50", latency["e2e_ms"]["p50"]), ("p95", latency["e2e_ms"]["p95"])),
        memory=(),
        phases=_list_memory_moments(memory),
        tables=(_count_table(latency), _prompt_table(responses), _phase_table(memory["phases"])),
        facts=_list_known_facts(
            {
                "modelled": report["created"],
                "bundle": f"{report['bundle']['sha256'][:12]} {report['bundle']['precision']}",
                "model": ", ".join(f"{name} {value}" for name, value in report["bundle"]["model"].items()),
                "work": f"{len(responses)} responses of {report['work']['max_tokens']} tokens,"
                f" {report['work']['prompts']}, {cost['threads']} thread",
                "cost model": f"a core of {cost['clock_mhz']:g} MHz, error +-{error:g}%",
                "RAM": f"{memory['total'] / MB:,.0f} MB",
                "compared with": report["compared"],
                "software": ", ".join(f"{name} {value}" for name, value in report["versions"].items()),
                "the twin shows": "; ".join(report["proof"]),
            }
        ),
        notes=(
            f"Times are modelled from counted cycles and cache misses, +-{error:g}%.",
            "Memory is measured: the same files and kernel interfaces, and as much memory as the board has.",
            "1 MB is 2^20 bytes.",
        ),
    )  # fmt: skip


def _list_memory_moments(memory: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    sizes = {name: phase["rss"] for name, phase in memory["phases"].items()}
    sizes |= {"steady": memory["steady_rss"], "peak": memory["peak_rss"]}
    return tuple((name, size / MB) for name, size in sizes.items())


def _make_row(gate: Mapping[str, Any]) -> GateRow:
    share = gate.get("share", gate["measured"] / gate["limit"] if gate["limit"] else None)
    return GateRow(gate["ok"], gate["sentence"].replace("`", ""), share)


def _parse_responses(raw: Sequence[Mapping[str, Any]]) -> tuple[Response, ...]:
    return tuple(
        Response(str(one["prompt"]), int(one["prompt_tokens"]), float(one["ttft_ms"]), float(one["e2e_ms"]))
        for one in raw
    )


def _latency_table(latency: Mapping[str, Any]) -> PageTable:
    columns = ("p50", "p90", "p95", "p99", "mean", "stddev", "min", "max")
    names = {
        "e2e": "complete response",
        "ttft": "time to first token",
        "itl": "between tokens",
        "tpot": "mean per token",
    }
    rows = (
        (f"{names[name]} ({name})", *(f"{row[column]:.2f}" for column in columns), str(row["n"]))
        for name, row in latency.items()
        if row
    )
    return PageTable("Latency, ms", ("", *columns, "n"), tuple(rows))


def _prompt_table(responses: Sequence[Response]) -> PageTable:
    groups: dict[str, list[Response]] = {}
    for response in responses:
        groups.setdefault(response.prompt, []).append(response)
    rows = (
        (
            name,
            str(group[0].prompt_tokens),
            f"{statistics.median(one.ttft_ms for one in group):.2f}",
            f"{statistics.median(one.e2e_ms for one in group):.2f}",
            f"{stats.percentile(sorted(one.e2e_ms for one in group), 95):.2f}",
            str(len(group)),
        )
        for name, group in groups.items()
    )
    head = ("", "tokens", "first token, p50 ms", "response, p50 ms", "response, p95 ms", "n")
    return PageTable("By prompt", head, tuple(rows))


def _phase_table(phases: Mapping[str, Any]) -> PageTable:
    names = ("rss", "pss", "peak", "swap")
    rows = (
        (name, *("" if phase[kind] is None else f"{phase[kind] / MB:.1f}" for kind in names))
        for name, phase in phases.items()
    )
    return PageTable("Memory by phase, MB", ("", "RSS", "PSS", "peak so far (VmHWM)", "swap"), tuple(rows))


def _quality_table(quality: Sequence[Mapping[str, Any]]) -> PageTable:
    rows = (
        (one["name"], f"{one['bits_per_byte']:.4f}", f"{one['tokens']:,}", f"{one['bytes']:,}")
        for one in quality
    )
    return PageTable("Quality", ("text", "bits per byte", "tokens", "bytes"), tuple(rows))


def _change_table(compared: Mapping[str, Any]) -> PageTable:
    rows = (
        (
            change["name"],
            f"{change['old']:.2f}",
            f"{change['new']:.2f} {change['unit']}",
            f"{found['percent']:+.1f}% ({found['low']:+.1f} to {found['high']:+.1f})"
            if (found := change["difference"])
            else "",
        )
        for change in compared["changes"]
    )
    return PageTable(f"Compared with {compared['against']}", ("", "old", "new", "change"), tuple(rows))


def _count_table(latency: Mapping[str, Any]) -> PageTable:
    named = [("decoded token", latency["token"]), ("cold start", latency["cold_start"])]
    rows = (
        (name, f"{one['instructions']:,}", f"{one['dram_fills']:,}", f"{one['modelled_ms']:.2f}")
        for name, one in named
    )
    return PageTable("Counted", ("", "instructions", "DRAM line fills", "modelled ms"), tuple(rows))


def _list_known_facts(facts: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Return the facts that are known."""
    return tuple((name, str(value)) for name, value in facts.items() if value)


def _format_starts(seconds: Sequence[float]) -> str:
    if not seconds:
        return ""
    median = f"median {statistics.median(seconds):.2f} s of {len(seconds)}"
    return f"{median}, {min(seconds):.2f} to {max(seconds):.2f}"


def _format_clock(mhz: Sequence[float]) -> str:
    return f"{min(mhz):.0f} to {max(mhz):.0f} MHz" if mhz else ""


def _format_change(before: object, after: object, unit: str) -> str:
    if before is None or after is None:
        return ""
    return f"{before}{unit} before, {after}{unit} after"


def _format_waited_share(waited: float | None) -> str:
    return "" if waited is None else f"used the processor for {100 * waited:.1f}% of the time"
