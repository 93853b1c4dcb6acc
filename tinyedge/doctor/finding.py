"""What the doctor says of one thing."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "bad"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    found: what it is, in words. level: `bad` where a bundle won't run, or not within its budget; `warning`
    where it may, or where a figure of `bench` could mislead. way_out: what to do; empty where it is ok.
    """

    name: str
    found: str
    level: Level = "ok"
    way_out: str = ""
