"""What a start on the board consists of: its instructions, by part.

In: a guest, a bundle. Out: instructions until the first token of `tinyedge generate`, in both engines.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.twin.layout import SOURCES, TwinError
from bench.twin.measure import count_cold_start
from bench.twin.user_emulation import Guest
from tinyedge.core.engine import KERNELS, ONNXRUNTIME

PYTHON, REST, ALL = (
    "Python, until it runs a program",
    "the rest, the command line among it",
    "exec to the first token",
)


def count_start(guest: Guest, bundle: Path) -> dict[str, int]:
    """Instructions of each part of a start; the last one, ALL, is that of `tinyedge generate`.

    Raises:
        TwinError: A program in the guest fails.
    """
    outcome, counts = guest.count([str(SOURCES / "guest" / "start.py"), str(bundle.resolve())])
    if outcome.returncode:
        raise TwinError(f"start.py in the guest exited with {outcome.returncode}: {outcome.errors}")
    names, whole = json.loads(outcome.output), count_cold_start(guest, bundle).shown[-1]
    steps = {name: step.instructions for name, step in zip(names, counts.steps, strict=True)}
    parts = {PYTHON: counts.marks[0].instructions, **steps}
    parts |= {REST: whole.instructions - sum(parts.values()), ALL: whole.instructions}
    return {name: round(instructions) for name, instructions in parts.items()}


def start_table(report: Mapping[str, Any]) -> str:
    """The parts of a start in both engines, in millions of instructions, as Markdown.

    Args:
        report: That of `bench.twin.token_parts`.
    """
    starts = [report["engines"][engine]["start"] for engine in (KERNELS, ONNXRUNTIME)]
    rows = ["| M instructions | kernels | ONNX Runtime alone |", "|---|---|---|"]
    for name in starts[1]:  # which has all parts
        cells = [f"{start[name] / 1e6:.0f}" if name in start else "" for start in starts]
        cells = [f"**{cell}**" for cell in cells] if name == ALL else cells
        rows.append(f"| {f'**{name}**' if name == ALL else name} | {' | '.join(cells)} |")
    return "\n".join(rows)
