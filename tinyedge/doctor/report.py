"""The whole examination: this machine, or one that was recorded.

In: nothing, or a recorded machine. Out: an Examination, or its lines for a terminal.
"""

import shutil
import struct
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinyedge.doctor.checks import check_machine
from tinyedge.doctor.finding import Finding
from tinyedge.doctor.libraries import CHILD, check_libraries
from tinyedge.host.machine import Device, describe

SCHEMA = "tinyedge.doctor/1"
WIDTH = 100
NAME_WIDTH, LEVEL_WIDTH = 15, 9  # columns
POINTER_BITS = struct.calcsize("P") * 8


@dataclass(frozen=True)
class MachineReport:
    """All findings on a machine, in the order in which they are read."""

    device: Device
    findings: tuple[Finding, ...]

    @property
    def fit(self) -> bool:
        """Whether nothing is bad."""
        return all(finding.level != "bad" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        findings = [asdict(finding) for finding in self.findings]
        return {"schema": SCHEMA, "fit": self.fit, "findings": findings, "device": asdict(self.device)}


def examine_machine(
    root: Path = Path("/"),
    device: Device | None = None,
    *,
    bits: int = POINTER_BITS,
    free_disk: int | None = None,
    child: Sequence[str] = CHILD,
) -> MachineReport:
    """Looks at everything. Whatever is given was recorded elsewhere; `child` imports the libraries."""
    device = device or describe(root)
    free = shutil.disk_usage(Path.cwd()).free if free_disk is None else free_disk
    findings = check_machine(device, root, bits, free)
    return MachineReport(device, (*findings, check_libraries(device, child)))


def render(examination: MachineReport) -> str:
    """One line a finding, and another for the way out, without a line break at the end."""
    lines = []
    for finding in examination.findings:
        head = f"{finding.level:<{LEVEL_WIDTH}}{finding.name:<{NAME_WIDTH}}"
        lines.append(textwrap.fill(head + finding.found, WIDTH, subsequent_indent=" " * len(head)))
        if finding.way_out:
            lines.append(
                textwrap.fill(
                    f"-> {finding.way_out}",
                    WIDTH,
                    initial_indent=" " * len(head),
                    subsequent_indent=" " * (len(head) + 3),
                )
            )
    lines.append(f"fit: {'yes' if examination.fit else 'no'}")
    return "\n".join(lines)
