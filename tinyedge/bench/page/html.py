"""A report as one page of HTML that needs nothing else: no script, no font, no request.

In: a View. Out: HTML. Knows no report.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from tinyedge.bench.page import chart
from tinyedge.bench.page.content import PageContent, PageTable, Response, Row

MOST_DOTS = 2000  # a page of more is slow to draw, and shows no more
SHORT, MEDIUM = 8, 32  # tokens of a prompt; longer ones are long
LENGTHS = (f"up to {SHORT} tokens", f"up to {MEDIUM}", "longer")
MARKS = {True: ("ok", "✓"), False: ("bad", "✗"), None: ("unsure", "?")}
WORDS = {
    "pass": ("ok", "✓ pass", "Every budget is kept."),
    "fail": ("bad", "✗ fail", "A budget is not kept."),
    "inconclusive": ("unsure", "? inconclusive", "These samples do not tell."),
}
STYLE = Path(__file__).with_name("style.css")


def render(view: PageContent) -> str:
    """The whole page."""
    body = "".join(
        (
            _head(view),
            _gates(view.gates),
            _charts(view),
            *map(_table, view.tables),
            _facts(view),
        )
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(view.title)}: {escape(view.verdict)}</title>"
        f"<style>{STYLE.read_text()}</style></head>\n<body><main>{body}</main></body></html>\n"
    )


def _head(view: PageContent) -> str:
    kind, word, meaning = WORDS[view.verdict]
    modelled = '<p class="modelled">All times on this page are modelled. Memory is measured.</p>'
    doubts = "".join(f'<li class="unsure">{escape(doubt)}</li>' for doubt in view.doubts)
    return (
        f"<header><h1>{escape(view.title)}</h1>"
        f'<span class="verdict {kind}">{escape(word)}</span> {meaning}'
        f"{modelled if view.modelled else ''}"
        f"{f'<p>What spoils the times of this run:</p><ul>{doubts}</ul>' if doubts else ''}</header>"
    )


def _gates(gates: Sequence[Row]) -> str:
    rows = "".join(
        f'<div class="gate {MARKS[gate.ok][0]}"><b>{MARKS[gate.ok][1]}</b>'
        f'<span style="color:var(--ink)">{escape(gate.sentence)}</span>'
        f'<span class="meter"><i style="width:{_percent(gate.share)}%"></i></span></div>'
        for gate in gates
    )
    return (
        f"<section><h2>Budgets</h2>{rows}"
        '<p class="soft">A bar is how much of its limit is used.</p></section>'
    )


def _percent(share: float | None) -> str:
    """Of a bar's length."""
    return f"{100 * min(1.0, max(0.0, share or 0.0)):.1f}"


def _charts(view: PageContent) -> str:
    unit = "ms a response, modelled" if view.modelled else "ms a response"
    drawn = []
    if view.responses:
        latencies = [response.e2e_ms for response in view.responses]
        drawn.append(("How long responses took", chart.histogram(latencies, view.marks, unit)))
        points = [
            (
                float(index),
                response.e2e_ms,
                _length(response.prompt_tokens),
                f"{response.prompt}: {response.e2e_ms:.2f} ms",
            )
            for index, response in _thinned(view)
        ]
        legend = "".join(
            f'<span class="group{group}">● <b>{name}</b></span>' for group, name in enumerate(LENGTHS)
        )
        over_time = chart.dots(points, "response", unit, "Latency of each response, in order")
        drawn.append(("One after the other", f'{over_time}<p class="legend soft">prompt of {legend}</p>'))
    if view.phases:
        drawn.append(("Memory when each phase was over", chart.columns(view.phases, "MB", "Memory by phase")))
    if len(view.memory) > 1:
        step = -(-len(view.memory) // MOST_DOTS)
        resident = [(float(index), size) for index, size in enumerate(view.memory, 1)][::step]
        title = "Resident memory after each response"
        drawn.append((title, chart.line(resident, "response", "MB (RSS)", title)))
    cards = "".join(f"<section><h2>{escape(title)}</h2>{svg}</section>" for title, svg in drawn)
    return f'<div class="pair">{cards}</div>'


def _thinned(view: PageContent) -> list[tuple[int, Response]]:
    """Responses by their number: of very many every so many, and all of the slowest, which matter most."""
    numbered = list(enumerate(view.responses, 1))
    if len(numbered) <= MOST_DOTS:
        return numbered
    slow = sorted(response.e2e_ms for response in view.responses)[-MOST_DOTS // 10]
    step = -(-len(numbered) // MOST_DOTS)
    return [(n, one) for n, one in numbered if n % step == 0 or one.e2e_ms > slow]


def _length(tokens: int) -> int:
    return 0 if tokens <= SHORT else 1 if tokens <= MEDIUM else 2


def _table(table: PageTable) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in table.head)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows)
    return (
        f'<section><h2>{escape(table.title)}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _facts(view: PageContent) -> str:
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in view.facts)
    notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in view.notes)
    return f"<section><h2>Machine and run</h2><dl>{facts}</dl>{notes}</section>"
