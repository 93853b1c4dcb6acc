"""A chart of the report: one panel for each figure, one bar for each runtime."""

import io
from collections.abc import Mapping
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

OWN_COLOR, PEER_COLOR = "#c1440e", "#8a9ba8"
MB = 1 << 20
PANELS = (  # title, figure, divisor
    ("decode, tokens/s (longer is better)", "decode_tokens_per_s", 1),
    ("processor time, µs/token", "cpu_us_per_token", 1),
    ("cold start, ms", "cold_start_s", 1e-3),
    ("first token, ms", "ttft_ms", 1),
    ("peak memory, MB", "peak_rss_bytes", MB),
    ("packages, MB", "packages_bytes", MB),
)


def draw_chart(report: Mapping[str, Any]) -> bytes:
    """Draw the chart as a PNG. A bar longer than 5 times the median is cut off; its label has the value."""
    runtimes = [runtime for runtime in report["runtimes"] if not runtime["failure"]][::-1]
    names = [f"{runtime['name']} {runtime['precision']}" for runtime in runtimes]
    figure = Figure(figsize=(13, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, name, divisor) in zip(figure.subplots(2, 3).flat, PANELS, strict=True):
        values = [(runtime["medians"] | runtime)[name] / divisor for runtime in runtimes]
        limit = 5 * sorted(values)[len(values) // 2]
        colors = [OWN_COLOR if runtime["name"] == "tinyedge" else PEER_COLOR for runtime in runtimes]
        axes.barh(names, [min(value, limit) for value in values], color=colors)
        for place, value in enumerate(values):
            label = f" {value:,.0f}" if value >= 10 else f" {value:.2f}"
            axes.text(
                min(value, limit), place, label + (" →" if value > limit else ""), va="center", fontsize=8
            )
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlim(0, 1.25 * min(max(values), limit))
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        if not axes.get_subplotspec().is_first_col():
            axes.set_yticklabels([])
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return data.getvalue()
