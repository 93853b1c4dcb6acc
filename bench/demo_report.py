"""The recorded duration of `make demo`, and the parts of README.md and docs/install.md that quote it."""

import datetime
import json
import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.quoted_blocks import update_documents
from tinyedge.core import files

ROOT = Path(__file__).parent.parent
REPORT = ROOT / "bench" / "reports" / "demo-x86-64.json"
SCHEMA = "tinyedge.demo/1"
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "install.md")
MB = 1 << 20


def make_report(bench: Mapping[str, Any], seconds: Mapping[str, float], training_s: float) -> dict[str, Any]:
    """Make the report of a complete demo.

    Args:
        bench: JSON of the benchmark.
        seconds: Duration of each command, and the sum of all as "all".
        training_s: Duration of training itself, without corpus and tokenizer.
    """
    p95 = next(gate for gate in bench["gates"] if gate["name"] == "p95")
    return {
        "schema": SCHEMA,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "cpu": bench["device"]["cpu"],
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        "versions": {name: version(name) for name in ("torch", "onnxruntime")},
        "environment_mb": measure_folder_mb(Path(sys.prefix)),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "training_s": round(training_s, 1),
        "verdict": bench["verdict"],
        "p95_ms": p95["measured"],
        "peak_mb": bench["memory"]["peak_rss"] / MB,
    }


def measure_folder_mb(folder: Path) -> int:
    """Return the space that a folder takes on its disk, in MB of 2^20 bytes."""
    return round(sum(path.lstat().st_blocks * 512 for path in folder.rglob("*")) / MB)


def make_parts(report: Mapping[str, Any]) -> dict[str, str]:
    """The quoted sentences, by name."""
    seconds, machine = report["seconds"], report["machine"]
    minutes, gigabytes = seconds["all"] / 60, report["environment_mb"] / 1024
    rows = {
        f"`.venv/` on disk, torch {report['versions']['torch']}": f"{gigabytes:.1f} GB",
        "`tinyedge train`, four epochs of the phrasebook": f"{seconds['train'] / 60:.1f} minutes",
        "`tinyedge export`": f"{seconds['export']:.0f} s",
        "`tinyedge generate`, one text for each language": f"{seconds['generate']:.0f} s",
        "`tinyedge bench`, 100 samples": f"{seconds['bench']:.0f} s",
        "`make demo`, all of these": f"{minutes:.1f} minutes",
    }
    where = f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}"
    source = (
        f"Recorded on {report['date']} by `python -m bench.demo --record` ({where}):"
        f" `bench/reports/{REPORT.name}`."
    )
    return {
        "demo": f"The environment takes {gigabytes:.1f} GB in `.venv/`, and the demo then about {minutes:.0f}"
        f" minutes on {machine['cores']} cores.",
        "demo-steps": "\n".join(
            ["| step | |", "|---|---|", *(f"| {what} | {cost} |" for what, cost in rows.items()), "", source]
        ),
    }


def load_report() -> dict[str, Any]:
    """Read the recorded report."""
    report: dict[str, Any] = json.loads(REPORT.read_text(encoding="utf-8"))
    return report


def save_report(report: Mapping[str, Any]) -> None:
    """Keep a report, and write its figures into the documents."""
    files.write_text(REPORT, json.dumps(report, indent=2) + "\n")
    update_documents(DOCUMENTS, make_parts(report))
