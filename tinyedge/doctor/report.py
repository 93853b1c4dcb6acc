"""All checks of a machine together, and how they are shown.

In: this machine, or a recorded one. Out: a MachineReport, or its lines for a terminal.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tinyedge.doctor.checks import check_machine
from tinyedge.doctor.engine import PROBE, check_engine
from tinyedge.doctor.finding import Finding
from tinyedge.doctor.libraries import CHILD, check_libraries
from tinyedge.doctor.state import SystemState, read_state
from tinyedge.host.machine import Device, describe_machine

SCHEMA = "tinyedge.doctor/1"
WIDTH = 100
NAME_WIDTH, LEVEL_WIDTH = 15, 9  # columns


@dataclass(frozen=True)
class MachineReport:
    """All findings about a machine."""

    device: Device
    """The machine."""
    findings: tuple[Finding, ...]
    """The findings, in the order in which they are shown."""

    @property
    def fit(self) -> bool:
        """Whether no finding is bad."""
        return all(finding.level != "bad" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the value that `--json` prints."""
        findings = [finding.to_dict() for finding in self.findings]
        return {"schema": SCHEMA, "fit": self.fit, "findings": findings, "device": asdict(self.device)}


def examine_machine(
    device: Device | None = None,
    state: SystemState | None = None,
    child: Sequence[str] = CHILD,
    probe: Sequence[str] = PROBE,
) -> MachineReport:
    """Run all checks.

    Args:
        device: A recorded machine; None for this one.
        state: A recorded state; None for this system's.
        child: Command of the process that imports the libraries.
        probe: Command of the process that tries the engine.
    """
    device, state = device or describe_machine(), state or read_state()
    findings = (*check_machine(device, state), check_libraries(device, child), check_engine(probe))
    return MachineReport(device, findings)


def render(report: MachineReport, width: int = WIDTH) -> str:
    """Format one line per finding, and another for its remedy, in `width` columns."""
    lines = []
    for finding in report.findings:
        head = f"{finding.level:<{LEVEL_WIDTH}}{finding.name:<{NAME_WIDTH}}"
        lines.append(textwrap.fill(head + finding.found, width, subsequent_indent=" " * len(head)))
        if finding.remedy:
            lines.append(
                textwrap.fill(
                    f"-> {finding.remedy}",
                    width,
                    initial_indent=" " * len(head),
                    subsequent_indent=" " * (len(head) + 3),
                )
            )
    lines.append(f"fit: {'yes' if report.fit else 'no'}")
    return "\n".join(lines)
