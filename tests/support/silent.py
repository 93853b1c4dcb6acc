"""A Reporter that says nothing and remembers everything."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinyedge.train.report.reporter import Progress
    from tinyedge.train.state import EpochRecord


class Silent:
    """What a run told it; `on_step` may be replaced."""

    def __init__(self) -> None:
        self.records: list[EpochRecord] = []
        self.notes: list[str] = []
        self.on_step: Callable[[Progress], Any] = lambda progress: None

    def step(self, progress: "Progress") -> None:
        self.on_step(progress)

    def epoch(self, record: "EpochRecord") -> None:
        self.records.append(record)

    def sample(self, prompt: str, text: str) -> None:
        self.notes.append(f"{prompt}: {text}")

    def note(self, text: str) -> None:
        self.notes.append(text)
