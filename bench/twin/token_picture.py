"""The picture of a decoded token's parts, from the report of `bench.twin.token_parts`, as SVG."""

from collections.abc import Mapping
from html import escape
from typing import Any

from bench.twin.layout import LATENCY

WIDTH, MARGIN, BARS_FROM, BARS_TO, ROW, HEADING = 860, 16, 400, 800, 28, 44
TITLE, BOLD = 'font-size="17" font-weight="bold"', 'font-weight="bold"'
CORE, MEMORY = "#2f6f9f", "#d08a3c"
TITLES = {"kernels": "Native kernels", "onnxruntime": "ONNX Runtime alone"}


def draw_token(report: Mapping[str, Any]) -> str:
    """Draw a bar for each part, of an engine's token after the other's, all to one scale."""
    engines = report["engines"]
    most = max(part["modelled_ms"] for found in engines.values() for part in found["parts"].values())
    scale = (BARS_TO - BARS_FROM) / most
    y = 30
    elements = [
        _text(MARGIN, y, f"A token on the emulated board: ms, modelled, ±{LATENCY.error_percent:g}%", TITLE),
        _legend(BARS_FROM, y + 28, CORE, "the core computes"),
        _legend(BARS_FROM + 170, y + 28, MEMORY, "it waits for DRAM"),
    ]  # fmt: skip
    y += 12
    for engine, found in engines.items():
        y += HEADING
        token = found["token"]
        heading = (
            f"{TITLES[engine]}: {token['modelled_ms']:.2f} ms,"
            f" {token['instructions'] / 1e3:.0f} k instructions, {token['dram_fills'] / 1e3:.1f} k lines"
        )
        elements.append(_text(MARGIN, y, heading, BOLD))
        for name, part in found["parts"].items():
            y += ROW
            elements += [_text(MARGIN, y, name), *_bar(y, part, scale)]
    height = y + 24
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        ' font-size="14" role="img" aria-label="What a token\'s modelled milliseconds consist of">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="white"/>', *elements, "</svg>\n"])


def _bar(y: int, part: Mapping[str, float], scale: float) -> list[str]:
    """A bar on a line of text: the time of the core, then that of waiting for DRAM."""
    widths = [
        round(scale * LATENCY.milliseconds(*costs), 1)
        for costs in ((part["core_cycles"], 0), (0, part["memory_ns"]))
    ]
    rest = f'y="{y - 15}" height="20"'
    return [
        f'<rect x="{BARS_FROM}" width="{widths[0]}" {rest} fill="{CORE}"/>',
        f'<rect x="{BARS_FROM + widths[0]:.1f}" width="{widths[1]}" {rest} fill="{MEMORY}"/>',
        _text(round(BARS_FROM + sum(widths) + 6), y, f"{part['modelled_ms']:.2f}"),
    ]


def _legend(x: int, y: int, colour: str, label: str) -> str:
    """A square of a colour and what it means."""
    return f'<rect x="{x}" y="{y - 11}" width="12" height="12" fill="{colour}"/>' + _text(x + 18, y, label)


def _text(x: int, y: int, words: str, attributes: str = "") -> str:
    """A line of text from `x` on; `y` is its baseline."""
    return f'<text x="{x}" y="{y}"{attributes and " " + attributes}>{escape(words)}</text>'
