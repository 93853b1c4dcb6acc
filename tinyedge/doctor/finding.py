"""Result of one check."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "bad"]


@dataclass(frozen=True)
class Finding:
    """Result of one check of the machine."""

    name: str
    """Name of what was checked."""
    found: str
    """What was found, in words."""
    level: Level = "ok"
    """`bad`: a bundle does not run, or not within its budget. `warning`: it may not, or a figure of `tinyedge
    bench` may be misleading."""
    remedy: str = ""
    """What to do about it; empty if the level is ok."""

    def to_dict(self) -> dict[str, str]:
        """Return the value that `--json` prints; its field for the remedy is named `way_out`."""
        return {"name": self.name, "found": self.found, "level": self.level, "way_out": self.remedy}
