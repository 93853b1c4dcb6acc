"""What a page of metrics says, as figures; and what changed from one page to the next.

In: `MetricsPage` of `tinyedge serve`, with the time at which they were read. Out: `Snapshot`, None for what
the server does not say.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tinyedge.top.prometheus_text import MetricsPage

PREFIX = "tinyedge_"
MB = 1 << 20
PERCENTILES = (50, 95, 99)
LARGEST = 1e15  # beyond it, a figure is a mistake
COMPLETIONS = "/completions"  # where text is asked for; a look at the figures is no request in this sense


@dataclass(frozen=True)
class Snapshot:
    """One moment. Times of a response in ms, memory in MB of 2^20 bytes, counters since the server began.

    at: when it was read, seconds of any clock. means: of the time to the first token and from token to token,
    their sum in seconds and their number so far.
    """

    at: float
    info: Mapping[str, str]
    percentiles_ms: Mapping[int, float | None]
    tokens_per_s: float | None
    rss_mb: float | None
    peak_mb: float | None
    swap_mb: float | None
    temperature_c: float | None
    throttled: int | None
    active: float | None
    queued: float | None
    uptime_s: float | None
    requests: float
    errors: Mapping[str, float]
    tokens: Mapping[str, float]
    means: Mapping[str, tuple[float, float]]

    @classmethod
    def from_page(cls, metrics: MetricsPage, at: float) -> "Snapshot":
        """From a page that was read at `at`. Raises ValueError where it isn't of tinyedge."""

        def value(name: str, scale: float = 1.0) -> float | None:
            found = metrics.value(PREFIX + name)
            return found * scale if found is not None and 0 <= found <= LARGEST else None  # NaN: nothing yet

        if not metrics.labels(f"{PREFIX}info"):
            raise ValueError(f"it has no {PREFIX}info, so it is not of tinyedge serve")
        bits = value("throttled_bits")
        return cls(
            at=at,
            info=metrics.labels(f"{PREFIX}info"),
            percentiles_ms={p: value(f"response_p{p}_seconds", 1000) for p in PERCENTILES},
            tokens_per_s=value("decode_tokens_per_second"),
            rss_mb=value("rss_bytes", 1 / MB),
            peak_mb=value("peak_rss_bytes", 1 / MB),
            swap_mb=value("swap_bytes", 1 / MB),
            temperature_c=value("temperature_celsius"),
            throttled=None if bits is None else int(bits),
            active=value("active_requests"),
            queued=value("queue_depth"),
            uptime_s=value("uptime_seconds"),
            requests=sum(
                count
                for endpoint, count in metrics.sum_by(f"{PREFIX}requests_total", "endpoint").items()
                if endpoint.endswith(COMPLETIONS)
            ),
            errors=metrics.sum_by(f"{PREFIX}errors_total", "kind"),
            tokens=metrics.sum_by(f"{PREFIX}tokens_total", "kind"),
            means={
                name: (value(f"{name}_seconds_sum") or 0.0, value(f"{name}_seconds_count") or 0.0)
                for name in ("ttft", "itl")
            },
        )

    def requests_per_s(self, before: "Snapshot") -> float | None:
        """Since another moment; None where the server began anew in between."""
        passed, new = self.at - before.at, self.requests - before.requests
        return new / passed if passed > 0 and new >= 0 else None

    def mean_ms(self, name: str) -> float | None:
        """Of "ttft" or "itl", since the server began; None where nothing was generated."""
        total, count = self.means[name]
        return 1000 * total / count if count else None
