"""What a bundle is made for: a device, and what the bundle promises on it.

Knows no graph: all targets get the same int8, the fastest on each and the same model on all (docs/log.md).
How wheels for a target are chosen is `tinyedge.deploy.board`'s business.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Target:
    """Budgets of the process that answers. max_rss_mb, max_peak_mb: MB of 2^20 bytes, swap included, in
    steady state and at most. max_p95_ms: the 95th percentile of a response of 20 tokens.
    """

    max_rss_mb: int
    max_peak_mb: int
    max_p95_ms: int

    def budgets(self) -> dict[str, int]:
        """As the manifest's `budgets` field; what `tinyedge bench` judges by."""
        return asdict(self)


TARGETS: Mapping[str, Target] = {
    "pi-zero-2w": Target(max_rss_mb=400, max_peak_mb=512, max_p95_ms=250),  # the guide's own
    # A machine that has other work: as little memory, and 0.1 s, which seems instantaneous to who waits
    # (R. B. Miller, Response time in man-computer conversational transactions, 1968).
    "x86-64": Target(max_rss_mb=400, max_peak_mb=512, max_p95_ms=100),
}
