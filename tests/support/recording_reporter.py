"""A Reporter that prints nothing and records everything."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinyedge.train.report.reporter import Progress
    from tinyedge.train.state import EpochRecord


class RecordingReporter:
    """Records what a run reports. Tests may replace `on_step`."""

    def __init__(self) -> None:
        self.records: list[EpochRecord] = []
        self.notes: list[str] = []
        self.phases: list[str] = []
        self.on_step: Callable[[Progress], Any] = lambda progress: None

    def phase(self, name: str) -> None:
        """Record the start of a phase."""
        self.phases.append(name)

    def step(self, progress: "Progress") -> None:
        """Call `on_step`."""
        self.on_step(progress)

    def epoch(self, record: "EpochRecord") -> None:
        """Record an epoch."""
        self.records.append(record)

    def sample(self, prompt: str, text: str) -> None:
        """Record a sample as a note."""
        self.notes.append(f"{prompt}: {text}")

    def note(self, text: str) -> None:
        """Record a note."""
        self.notes.append(text)
