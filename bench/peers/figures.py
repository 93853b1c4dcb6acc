"""The report: medians, ratios to tinyedge, goals, and a table in Markdown.

In: the rounds and a description of each runtime. Out: parts of the JSON report (schema tinyedge.peers/1), and
Markdown. A ratio compares two figures of the same round; it is above 1 if tinyedge is better. Does not know
how the rounds were run.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.peers.rounds import Figures

SCHEMA = "tinyedge.peers/1"
MB = 1 << 20
HIGHER_IS_BETTER = ("decode_tokens_per_s", "best_tokens_per_s")
COMPARED = (
    *HIGHER_IS_BETTER,
    "cpu_us_per_token",
    "ttft_ms",
    "peak_rss_bytes",
    "cold_start_s",
    "cold_start_cpu_s",
)
SHOWN = ("decode_tokens_per_s", "cpu_us_per_token", "cold_start_s", "cold_start_cpu_s")  # in the table
OWN_NAME = "tinyedge"
# Figures of the goals: their description, and what replaces them on a busy machine.
CPU_FIGURES = {
    "cpu_us_per_token": ("decoding", "cpu_us_per_token"),
    "cold_start_s": ("cold start", "cold_start_cpu_s"),
}
# Goals: tinyedge is this many times better than the best variant of a peer in one of these precisions.
GOALS = (
    ("cpu_us_per_token", "onnxruntime-genai", ("int8", "int8 dynamic"), 2.0),
    ("cpu_us_per_token", "llama.cpp", ("q8_0",), 3.0),
    ("cold_start_s", "onnxruntime-genai", ("int8", "int8 dynamic", "fp32"), 1.0),
    ("cold_start_s", "llama.cpp", ("q8_0", "f32"), 1.0),
)
COLUMNS = (
    *("runtime", "precision", "decode, tokens/s", "fastest", "CPU, µs/token", "TTFT, ms", "peak RSS, MB"),
    *("cold start, ms", "cold start CPU, ms", "packages, MB", "model, MB"),
    *("decode ratio", "decode CPU ratio", "cold start ratio", "cold start CPU ratio"),
)
EXPLANATION = """\
Medians over the rounds. *Fastest* is the fastest generation of a round. *CPU* is the processor time of the
complete process. Other programs on the machine have little effect on either. A *ratio* is how many times
better tinyedge is: the median of the rounds' ratios and, in brackets, the lowest and the highest. *Packages*
is the size of a runtime's environment. Cold starts are starts of a new process whose files are in the page
cache. MB is 2^20 bytes.
"""
BUSY = """\
Other programs were running on this machine (load average {:.1f} before, {:.1f} after). Tokens/s, TTFT and
cold start are worse than on a quiet machine, and not by the same share for all runtimes. Use the processor
times.
"""
BUSY_LOAD = 0.5  # a load average above it means that other programs were running


def compute_medians(rounds: Sequence[Figures]) -> Figures:
    """Return the median of each figure over the rounds."""
    return {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}


def compute_ratios(ours: Sequence[Figures], theirs: Sequence[Figures]) -> dict[str, dict[str, float]]:
    """Compute how many times better tinyedge is, round by round.

    Args:
        ours: tinyedge's rounds.
        theirs: The peer's rounds.

    Returns:
        Median, lowest and highest ratio of each figure.
    """
    found = {}
    for name in COMPARED:
        pairs = zip(ours, theirs, strict=False)  # a peer that failed has fewer rounds
        paired = [
            our[name] / their[name] if name in HIGHER_IS_BETTER else their[name] / our[name]
            for our, their in pairs
        ]
        found[name] = {"median": statistics.median(paired), "low": min(paired), "high": max(paired)}
    return found


def evaluate_goals(runtimes: Sequence[Mapping[str, Any]], busy: bool) -> list[dict[str, Any]]:
    """Compare tinyedge with each goal, against the variant of the peer with the lowest ratio.

    Args:
        runtimes: Entries of the report.
        busy: Whether other programs were running. Goals then use processor time instead of wall time, which
            depends on the scheduler.
    """
    goals = []
    for figure, name, precisions, limit in GOALS:
        description, cpu_figure = CPU_FIGURES[figure]
        compared = cpu_figure if busy else figure
        rivals = [
            runtime
            for runtime in runtimes
            if runtime["name"].startswith(name) and runtime["precision"] in precisions and runtime["ratios"]
        ]
        worst = min(rivals, key=lambda runtime: runtime["ratios"][compared]["median"], default=None)
        measured = worst["ratios"][compared]["median"] if worst else None
        goals.append(
            {
                "goal": f"{description}, at least {limit:g} x as fast as {name}",
                "against": f"{worst['name']} {worst['precision']}" if worst else None,
                "figure": compared,
                "limit": limit,
                "measured": measured,
                "ok": measured is not None and measured >= limit,
            }
        )
    return goals


def format_goal(goal: Mapping[str, Any]) -> str:
    """Format a goal and its result as one line."""
    if goal["measured"] is None:
        return f"{goal['goal']}: not measured"
    by = " by processor time" if "cpu" in goal["figure"] else ""
    verdict = "met" if goal["ok"] else "not met"
    return f"{goal['goal']}: {goal['measured']:.2f} x{by} ({goal['against']}), {verdict}"


def format_report(report: Mapping[str, Any]) -> str:
    """Format the report as Markdown: conditions, table, explanation, goals."""
    shape, request, machine = report["shape"], report["request"], report["machine"]
    before, after = machine["load_average"]
    parts = [
        "# tinyedge and its peers, x86-64\n",
        f"{shape['num_layers']} layers, d_model {shape['d_model']}, {shape['nhead']} heads, feed-forward"
        f" {shape['dim_feedforward']}, vocabulary {shape['vocab_size']}, context {shape['max_seq_length']}.",
        f"{request['prompt_tokens']} prompt tokens, then {request['tokens']} drawn from the top"
        f" {request['top_k']} at temperature {request['temperature']:g}, on one thread.",
        f"{report['rounds']} rounds of all runtimes in turn, each in a separate process.",
        f"{machine['cpu']}, {machine['cores']} cores, {', '.join(machine['features'])};"
        f" Python {machine['python']}.\n",
        "| " + " | ".join(COLUMNS) + " |",
        "|---|---|" + "---:|" * (len(COLUMNS) - 2),
        *(format_row(runtime) for runtime in report["runtimes"]),
        "",
        EXPLANATION,
        *(f"- {format_goal(goal)}" for goal in report["goals"]),
    ]
    if before > BUSY_LOAD:
        parts.append("\n" + BUSY.format(before, after).rstrip())
    return "\n".join(parts) + "\n"


def format_row(runtime: Mapping[str, Any]) -> str:
    """Format a runtime as a row of the table."""
    name = f"{runtime['name']} {runtime['version'] or ''}".strip()
    head = f"| {name} | {runtime['precision']} |"
    if runtime["failure"]:
        return head + f" {runtime['failure'].replace('|', '/')} |" + " |" * (len(COLUMNS) - 3)
    middle = runtime["medians"]
    cells = [
        f"{middle['decode_tokens_per_s']:,.0f}",
        f"{middle['best_tokens_per_s']:,.0f}",
        f"{middle['cpu_us_per_token']:,.0f}",
        f"{middle['ttft_ms']:.2f}",
        f"{middle['peak_rss_bytes'] / MB:.0f}",
        f"{middle['cold_start_s'] * 1000:,.0f}",
        f"{middle['cold_start_cpu_s'] * 1000:,.0f}",
        f"{runtime['packages_bytes'] / MB:,.0f}",
        f"{runtime['model_bytes'] / MB:.1f}",
        *(format_ratio(runtime["ratios"], name) for name in SHOWN),
    ]
    return head + "".join(f" {cell} |" for cell in cells)


def format_ratio(ratios: Mapping[str, Mapping[str, float]] | None, name: str) -> str:
    """Format a ratio with its lowest and highest value; tinyedge itself has none."""
    if not ratios:
        return ""
    ratio = ratios[name]
    return f"{ratio['median']:.2f} x ({ratio['low']:.2f}-{ratio['high']:.2f})"
