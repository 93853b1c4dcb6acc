"""Figures of a server at one moment, and the change between two moments.

In: a `MetricsPage` of `tinyedge serve`, and the time it was read. Out: a `Snapshot`; a figure that the server
does not report is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tinyedge.top.prometheus_text import MetricsPage

PREFIX = "tinyedge_"
MB = 1 << 20
PERCENTILES = (50, 95, 99)
LARGEST = 1e15  # a larger figure is an error
COMPLETIONS = "/completions"  # end of the endpoints that generate text; other requests are not counted


@dataclass(frozen=True)
class Snapshot:
    """Figures of a server at one moment. Counters count since the server started; MB are 2^20 bytes."""

    at: float
    """When they were read, in seconds of any clock."""
    info: Mapping[str, str]
    """Version, bundle and precision."""
    percentiles_ms: Mapping[int, float | None]
    """Response time that 50, 95 and 99% of the last responses did not exceed."""
    tokens_per_s: float | None
    """Speed of decoding."""
    rss_mb: float | None
    """Memory of the server."""
    peak_mb: float | None
    """Largest memory of the server so far."""
    swap_mb: float | None
    """Memory of the server that is swapped out."""
    temperature_c: float | None
    """Degrees Celsius of the hottest sensor."""
    throttled: int | None
    """Throttling bits of the firmware."""
    active: float | None
    """Requests that are being answered."""
    queued: float | None
    """Requests that wait."""
    uptime_s: float | None
    """Seconds since the server started."""
    requests: float
    """Number of requests that asked for text."""
    errors: Mapping[str, float]
    """Number of errors by kind."""
    tokens: Mapping[str, float]
    """Number of tokens by kind: prompt, completion."""
    means: Mapping[str, tuple[float, float]]
    """Sum in seconds and count of the time to the first token ("ttft") and between tokens ("itl")."""

    @classmethod
    def from_page(cls, metrics: MetricsPage, at: float) -> "Snapshot":
        """Read the figures from a page.

        Args:
            metrics: The page.
            at: When it was read.

        Raises:
            ValueError: The page is not one of `tinyedge serve`.
        """

        def read_value(name: str, scale: float = 1.0) -> float | None:
            value = metrics.value(PREFIX + name)
            return (
                value * scale if value is not None and 0 <= value <= LARGEST else None
            )  # NaN: not known yet

        if not metrics.labels(f"{PREFIX}info"):
            raise ValueError(f"no {PREFIX}info, so it is not of tinyedge serve")
        bits = read_value("throttling_flags")
        return cls(
            at=at,
            info=metrics.labels(f"{PREFIX}info"),
            percentiles_ms={p: read_value(f"response_p{p}_seconds", 1000) for p in PERCENTILES},
            tokens_per_s=read_value("decode_tokens_per_second"),
            rss_mb=read_value("rss_bytes", 1 / MB),
            peak_mb=read_value("peak_rss_bytes", 1 / MB),
            swap_mb=read_value("swap_bytes", 1 / MB),
            temperature_c=read_value("temperature_celsius"),
            throttled=None if bits is None else int(bits),
            active=read_value("active_requests"),
            queued=read_value("queue_depth"),
            uptime_s=read_value("uptime_seconds"),
            requests=sum(
                count
                for endpoint, count in metrics.sum_by(f"{PREFIX}requests_total", "endpoint").items()
                if endpoint.endswith(COMPLETIONS)
            ),
            errors=metrics.sum_by(f"{PREFIX}errors_total", "kind"),
            tokens=metrics.sum_by(f"{PREFIX}tokens_total", "kind"),
            means={
                name: (read_value(f"{name}_seconds_sum") or 0.0, read_value(f"{name}_seconds_count") or 0.0)
                for name in ("ttft", "itl")
            },
        )

    def requests_per_s(self, earlier: "Snapshot") -> float | None:
        """Compute the rate since an earlier snapshot; None if the server was restarted in between."""
        seconds, count = self.at - earlier.at, self.requests - earlier.requests
        return count / seconds if seconds > 0 and count >= 0 else None

    def mean_ms(self, name: str) -> float | None:
        """Compute the mean of "ttft" or "itl" since the server started; None if nothing was generated."""
        total, count = self.means[name]
        return 1000 * total / count if count else None
