"""The HTML page of a report. It is self-contained: no scripts, no fonts, no requests.

In: a PageContent. Out: HTML. Does not know the report.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from tinyedge.bench.page import chart
from tinyedge.bench.page.content import GateRow, PageContent, PageTable, Response

MAX_DOTS = 2000  # more dots are slow to draw and add no information
SHORT, MEDIUM = 8, 32  # maximum tokens of a short and of a medium prompt
LENGTH_NAMES = (f"up to {SHORT} tokens", f"up to {MEDIUM}", "longer")
GATE_MARKS = {True: ("ok", "✓"), False: ("bad", "✗"), None: ("unsure", "?")}
VERDICT_WORDS = {
    "pass": ("ok", "✓ pass", "All limits are met."),
    "fail": ("bad", "✗ fail", "At least one limit is not met."),
    "inconclusive": ("unsure", "? inconclusive", "The samples are not conclusive."),
}
STYLE = Path(__file__).with_name("style.css")


def render(content: PageContent) -> str:
    """Return the page."""
    body = "".join(
        (
            _render_header(content),
            _render_gates(content.gates),
            _render_charts(content),
            *map(_render_table, content.tables),
            _render_facts(content),
        )
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(content.title)}: {escape(content.verdict)}</title>"
        f"<style>{STYLE.read_text()}</style></head>\n<body><main>{body}</main></body></html>\n"
    )


def _render_header(content: PageContent) -> str:
    kind, word, meaning = VERDICT_WORDS[content.verdict]
    modelled = '<p class="modelled">All times on this page are modelled. Memory is measured.</p>'
    doubts = "".join(f'<li class="unsure">{escape(doubt)}</li>' for doubt in content.doubts)
    return (
        f"<header><h1>{escape(content.title)}</h1>"
        f'<span class="verdict {kind}">{escape(word)}</span> {meaning}'
        f"{modelled if content.modelled else ''}"
        f"{f'<p>Why the times of this run are unreliable:</p><ul>{doubts}</ul>' if doubts else ''}</header>"
    )


def _render_gates(gates: Sequence[GateRow]) -> str:
    rows = "".join(
        f'<div class="gate {GATE_MARKS[gate.ok][0]}"><b>{GATE_MARKS[gate.ok][1]}</b>'
        f'<span style="color:var(--ink)">{escape(gate.sentence)}</span>'
        f'<span class="meter"><i style="width:{_format_percent(gate.share)}%"></i></span></div>'
        for gate in gates
    )
    return (
        f"<section><h2>Limits</h2>{rows}"
        '<p class="soft">Each bar shows how much of its limit is used.</p></section>'
    )


def _format_percent(share: float | None) -> str:
    """Format a share as the length of a bar, in percent from 0 to 100."""
    return f"{100 * min(1.0, max(0.0, share or 0.0)):.1f}"


def _render_charts(content: PageContent) -> str:
    unit = "ms per response, modelled" if content.modelled else "ms per response"
    drawn = []
    if content.responses:
        latencies = [response.e2e_ms for response in content.responses]
        drawn.append(("Distribution of response times", chart.draw_histogram(latencies, content.marks, unit)))
        points = [
            (
                float(index),
                response.e2e_ms,
                _classify_length(response.prompt_tokens),
                f"{response.prompt}: {response.e2e_ms:.2f} ms",
            )
            for index, response in _thin_out(content)
        ]
        legend = "".join(
            f'<span class="group{group}">● <b>{name}</b></span>' for group, name in enumerate(LENGTH_NAMES)
        )
        over_time = chart.draw_dots(points, "response", unit, "Latency of each response, in order")
        drawn.append(("Response times in order", f'{over_time}<p class="legend soft">prompt of {legend}</p>'))
    if content.phases:
        drawn.append(
            ("Memory at the end of each phase", chart.draw_columns(content.phases, "MB", "Memory by phase"))
        )
    if len(content.memory) > 1:
        step = -(-len(content.memory) // MAX_DOTS)
        resident = [(float(index), size) for index, size in enumerate(content.memory, 1)][::step]
        title = "Resident memory after each response"
        drawn.append((title, chart.draw_line(resident, "response", "MB (RSS)", title)))
    cards = "".join(f"<section><h2>{escape(title)}</h2>{svg}</section>" for title, svg in drawn)
    return f'<div class="pair">{cards}</div>'


def _thin_out(content: PageContent) -> list[tuple[int, Response]]:
    """Return the responses with their numbers; of very many, every n-th one and all of the slowest."""
    numbered = list(enumerate(content.responses, 1))
    if len(numbered) <= MAX_DOTS:
        return numbered
    slow = sorted(response.e2e_ms for response in content.responses)[-MAX_DOTS // 10]
    step = -(-len(numbered) // MAX_DOTS)
    return [(n, one) for n, one in numbered if n % step == 0 or one.e2e_ms > slow]


def _classify_length(tokens: int) -> int:
    return 0 if tokens <= SHORT else 1 if tokens <= MEDIUM else 2


def _render_table(table: PageTable) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.head)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    return (
        f'<section><h2>{escape(table.title)}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _render_facts(content: PageContent) -> str:
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in content.facts)
    notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in content.notes)
    return f"<section><h2>Machine and run</h2><dl>{facts}</dl>{notes}</section>"
