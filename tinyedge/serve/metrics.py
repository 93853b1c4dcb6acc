"""Metrics of the server in Prometheus' text format.

Counters are updated by the requests. Memory, sensors and the queue are read when the metrics are requested:
a server that is not monitored reads no sensor.
"""

import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from tinyedge.core.errors import BenchError
from tinyedge.core.stats import percentile
from tinyedge.host.memory import read_memory
from tinyedge.host.sensors import read_temperature
from tinyedge.host.throttling import read_throttling_bits
from tinyedge.serve.errors import METRIC_KINDS

__all__ = ["CONTENT_TYPE_LATEST", "RecentResponses", "ServerMetrics"]

# Around the board's limit of 250 ms per response, and its few milliseconds per token.
RESPONSE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 1, 2.5, 5, 10, 30, 60)
TTFT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ITL_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
RELOAD_RESULTS = ("ok", "failed")
RECENT_COUNT = 200  # responses over which percentiles and tokens per second are computed
PERCENTILES = (50, 95, 99)
THROTTLING_INTERVAL_S = 10  # a program reads the firmware's flags; its start costs a small board milliseconds


class RecentResponses:
    """Duration and decoding speed of the last responses."""

    def __init__(self) -> None:
        self._responses: deque[tuple[float, int, float]] = deque(maxlen=RECENT_COUNT)

    def add(self, seconds: float, tokens: int, decode_seconds: float) -> None:
        """Add a response.

        Args:
            seconds: Duration of the complete response.
            tokens: Number of tokens after the first.
            decode_seconds: Time that these tokens took.
        """
        self._responses.append((seconds, tokens, decode_seconds))

    def percentile(self, percent: int) -> float | None:
        """Return a percentile of the durations in seconds, as `tinyedge bench` defines it; or None."""
        ordered = sorted(seconds for seconds, _, _ in self._responses)
        return percentile(ordered, percent) if ordered else None

    def tokens_per_second(self) -> float | None:
        """Return the decoded tokens per second; None without responses."""
        tokens = sum(tokens for _, tokens, _ in self._responses)
        seconds = sum(decode_seconds for _, _, decode_seconds in self._responses)
        return tokens / seconds if seconds else None


class ServerMetrics:
    """All metrics, in a registry of their own."""

    def __init__(self, depth: Callable[[], int], active: Callable[[], int]) -> None:
        """Create the metrics.

        Args:
            depth: Returns the number of requests that are waiting.
            active: Returns the number of requests that are running.
        """
        # Otherwise, each counter would have a second series, with the time of its creation.
        disable_created_metrics()
        self.registry = CollectorRegistry()
        self.recent_responses = RecentResponses()
        self._depth = depth
        self._active = active
        self._started = time.monotonic()
        self._vcgencmd = shutil.which("vcgencmd")
        self._throttling_bits: int | None = None
        self._throttling_read_at = -float("inf")
        registry = self.registry
        self.requests = Counter(
            "tinyedge_requests", "Requests answered.", ("endpoint", "status"), registry=registry
        )
        self.errors = Counter("tinyedge_errors", "Errors, by kind.", ("kind",), registry=registry)
        self.tokens = Counter(
            "tinyedge_tokens", "Tokens of prompts and of completions.", ("kind",), registry=registry
        )
        self.reloads = Counter(
            "tinyedge_reloads", "Reloads of the bundle, by result.", ("result",), registry=registry
        )
        self.ttft = Histogram(
            "tinyedge_ttft_seconds",
            "Time from the arrival of a request to its first token.",
            buckets=TTFT_BUCKETS,
            registry=registry,
        )
        self.itl = Histogram(
            "tinyedge_itl_seconds", "Time from a token to the next.", buckets=ITL_BUCKETS, registry=registry
        )
        self.response = Histogram(
            "tinyedge_response_seconds",
            "Time from the arrival of a request to its last token.",
            buckets=RESPONSE_BUCKETS,
            registry=registry,
        )
        self._info = Info(
            "tinyedge", "Version, bundle, precision, engine, threads of the served model.", registry=registry
        )
        # Created at the start: otherwise the first event of a kind would not be visible as an increase.
        for kind in ("prompt", "completion"):
            self.tokens.labels(kind)
        for kind in METRIC_KINDS:
            self.errors.labels(kind)
        for result in RELOAD_RESULTS:
            self.reloads.labels(result)
        registry.register(self)

    def set_info(self, version: str, bundle: str, precision: str, engine: str, threads: int) -> None:
        """Set the description of the served model, after it is loaded."""
        model = {"bundle": bundle, "precision": precision, "engine": engine, "threads": str(threads)}
        self._info.info({"version": version, **model})

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format. May wait for the firmware of a Raspberry Pi."""
        if self._vcgencmd and time.monotonic() - self._throttling_read_at > THROTTLING_INTERVAL_S:
            self._throttling_bits = read_throttling_bits(self._vcgencmd)
            self._throttling_read_at = time.monotonic()
        return generate_latest(self.registry)

    @property
    def may_block(self) -> bool:
        """Whether `render` starts a program and waits for it."""
        return self._vcgencmd is not None

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that are read now, without unavailable ones. Called by the registry."""
        for name, text, value in self._readings():
            if value is not None:
                yield GaugeMetricFamily(f"tinyedge_{name}", text, value)

    def _readings(self) -> Iterator[tuple[str, str, float | None]]:
        try:
            memory = read_memory()
        except (BenchError, OSError):
            memory = {}
        yield "queue_depth", "Requests that are waiting.", self._depth()
        yield "active_requests", "Requests that are running.", self._active()
        yield "rss_bytes", "Memory of the process (VmRSS).", memory.get("rss")
        yield "swap_bytes", "Memory of the process in swap (VmSwap).", memory.get("swap")
        yield "peak_rss_bytes", "Peak memory of the process (VmHWM).", memory.get("peak")
        yield "temperature_celsius", "Temperature of the hottest sensor.", read_temperature()
        yield (
            "throttling_flags",
            "Throttling flags of the Raspberry Pi firmware: bits 0-3 now, 16-19 since boot.",
            self._throttling_bits,
        )
        for percent in PERCENTILES:
            text = f"{percent}% of the last {RECENT_COUNT} responses were at least as fast."
            yield f"response_p{percent}_seconds", text, self.recent_responses.percentile(percent)
        yield (
            "decode_tokens_per_second",
            f"Decoding speed over the last {RECENT_COUNT} responses, first tokens excluded.",
            self.recent_responses.tokens_per_second(),
        )
        yield "uptime_seconds", "Time since the start of the server.", time.monotonic() - self._started
