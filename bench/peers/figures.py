"""From rounds to a report: medians, ratios to tinyedge, the goals, a table.

In: tracks and what is known of each runtime. Out: the JSON report (schema tinyedge.peers/1) and Markdown.
A ratio is of two figures of the same round, and above 1 where tinyedge is better.
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
US = "tinyedge"
# A wall-clock figure, in words, and the processor time that says the same on a busy machine.
STEADY = {
    "decode_tokens_per_s": ("decoding", "cpu_us_per_token"),
    "cold_start_s": ("cold start", "cold_start_cpu_s"),
}
# What tinyedge sets out to be: this many times better than a peer at its best, in a precision of these.
GOALS = (
    ("decode_tokens_per_s", "onnxruntime-genai", ("int8", "int8 dynamic"), 1.3),
    ("decode_tokens_per_s", "llama.cpp", ("q8_0",), 2.0),
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


def medians(rounds: Sequence[Figures]) -> Figures:
    """Of each figure over the rounds."""
    return {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}


def ratios(ours: Sequence[Figures], theirs: Sequence[Figures]) -> dict[str, dict[str, float]]:
    """How many times better ours are, round by round: median, lowest and highest of each figure."""
    found = {}
    for name in COMPARED:
        pairs = zip(ours, theirs, strict=False)  # a peer that failed has fewer rounds
        paired = [
            our[name] / their[name] if name in HIGHER_IS_BETTER else their[name] / our[name]
            for our, their in pairs
        ]
        found[name] = {"median": statistics.median(paired), "low": min(paired), "high": max(paired)}
    return found


def judge(runtimes: Sequence[Mapping[str, Any]], busy: bool) -> list[dict[str, Any]]:
    """Each goal, against the variant of the peer that tinyedge does worst against.

    By wall clock, or on a `busy` machine by processor time: there, who waits for whom decides the other.
    """
    goals = []
    for figure, name, precisions, limit in GOALS:
        word, steady = STEADY[figure]
        judged = steady if busy else figure
        rivals = [
            runtime
            for runtime in runtimes
            if runtime["name"].startswith(name) and runtime["precision"] in precisions and runtime["ratios"]
        ]
        worst = min(rivals, key=lambda runtime: runtime["ratios"][judged]["median"], default=None)
        measured = worst["ratios"][judged]["median"] if worst else None
        goals.append(
            {
                "goal": f"{word}, at least {limit:g} x as fast as {name}",
                "against": f"{worst['name']} {worst['precision']}" if worst else None,
                "figure": judged,
                "limit": limit,
                "measured": measured,
                "ok": measured is not None and measured >= limit,
            }
        )
    return goals


def goal_sentence(goal: Mapping[str, Any]) -> str:
    """A goal and what became of it, in a line."""
    if goal["measured"] is None:
        return f"{goal['goal']}: not measured"
    by = " by processor time" if "cpu" in goal["figure"] else ""
    verdict = "met" if goal["ok"] else "not met"
    return f"{goal['goal']}: {goal['measured']:.2f} x{by} ({goal['against']}), {verdict}"


def markdown(report: Mapping[str, Any]) -> str:
    """The table, what was asked, the goals, and what to make of it."""
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
        *(row(runtime) for runtime in report["runtimes"]),
        "",
        EXPLANATION,
        *(f"- {goal_sentence(goal)}" for goal in report["goals"]),
    ]
    if before > BUSY_LOAD:
        parts.append("\n" + BUSY.format(before, after).rstrip())
    return "\n".join(parts) + "\n"


def row(runtime: Mapping[str, Any]) -> str:
    """A runtime's line of the table."""
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
        *(spread(runtime["ratios"], name) for name in SHOWN),
    ]
    return head + "".join(f" {cell} |" for cell in cells)


def spread(found: Mapping[str, Mapping[str, float]] | None, name: str) -> str:
    """A ratio with its lowest and highest; tinyedge itself has none."""
    if not found:
        return ""
    ratio = found[name]
    return f"{ratio['median']:.2f} x ({ratio['low']:.2f}-{ratio['high']:.2f})"
