"""The comparison with peers in the documents, quoted from the recorded report.

    python -m bench.peers.quote

In: bench/reports/peers-x86-64.json. Out: the part `peers` of the README and docs/device.md.
"""

from collections.abc import Mapping
from typing import Any

from bench.peers.environments import REPOSITORY
from bench.peers.figures import SCHEMA
from bench.quoted_blocks import update_documents
from tinyedge.core import files
from tinyedge.core.errors import BenchError

REPORT = REPOSITORY / "bench" / "reports" / "peers-x86-64.json"
DOCUMENTS = (REPOSITORY / "README.md", REPOSITORY / "docs" / "device.md")
MB = 1 << 20


def make_table(report: Mapping[str, Any]) -> str:
    """Format the main columns of a report as a table in Markdown."""
    machine = report["machine"]
    lines = [
        f"| {machine['cpu']}, {machine['cores']} cores; medians of {report['rounds']} rounds"
        " | processor time a token | tinyedge is | cold start, processor time | peak memory |",
        "|---|---:|---:|---:|---:|",
        *(_format_row(runtime) for runtime in report["runtimes"] if runtime["medians"]),
    ]
    return "\n".join(lines)


def _format_row(runtime: Mapping[str, Any]) -> str:
    middle, ratios = runtime["medians"], runtime["ratios"]
    ratio = f"{ratios['cpu_us_per_token']['median']:.1f} x as fast" if ratios else ""
    name = f"{runtime['name']} {runtime['version']}, {runtime['precision']}"
    return (
        f"| {name} | {middle['cpu_us_per_token']:,.0f} µs | {ratio}"
        f" | {middle['cold_start_cpu_s'] * 1000:,.0f} ms | {middle['peak_rss_bytes'] / MB:.0f} MB |"
    )


def read_table() -> str:
    """Read the recorded report and return its table."""
    return make_table(files.read_json(REPORT, SCHEMA, BenchError))


if __name__ == "__main__":
    for path in update_documents(DOCUMENTS, {"peers": read_table()}):
        print(f"changed {path}")
