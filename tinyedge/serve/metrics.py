"""What the server counts and measures, in Prometheus' text format.

Counted as it happens, or read when somebody asks: a server that nobody watches reads no sensor.
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
from tinyedge.serve.errors import KINDS

__all__ = ["CONTENT_TYPE_LATEST", "Rates", "ServerMetrics"]

# Around the board's budget of 250 ms a response and its few milliseconds a token.
RESPONSE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 1, 2.5, 5, 10, 30, 60)
TTFT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ITL_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
LAST = 200  # responses that percentiles and tokens per second are taken over
PERCENTILES = (50, 95, 99)
THROTTLED_S = 10  # the firmware is asked by a program, whose start costs a small board milliseconds


class Rates:
    """The last responses: how long each took, and how fast it was written."""

    def __init__(self) -> None:
        self._responses: deque[tuple[float, int, float]] = deque(maxlen=LAST)

    def note(self, seconds: float, tokens: int, decoding: float) -> None:
        """seconds: of the whole response. tokens: after the first, in `decoding` seconds."""
        self._responses.append((seconds, tokens, decoding))

    def percentile(self, percent: int) -> float | None:
        """Seconds that so many of a hundred responses took at most, as `tinyedge bench` says it; or None."""
        ordered = sorted(seconds for seconds, _, _ in self._responses)
        return percentile(ordered, percent) if ordered else None

    def tokens_per_second(self) -> float | None:
        """Decoded tokens for each second of decoding; None without any."""
        tokens = sum(tokens for _, tokens, _ in self._responses)
        seconds = sum(decoding for _, _, decoding in self._responses)
        return tokens / seconds if seconds else None


class ServerMetrics:
    """All of them, in a registry of their own. depth, active: the queue as it is now."""

    def __init__(self, depth: Callable[[], int], active: Callable[[], int]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each counter, which no rule here reads
        self.registry = CollectorRegistry()
        self.rates = Rates()
        self._depth = depth
        self._active = active
        self._began = time.monotonic()
        self._vcgencmd = shutil.which("vcgencmd")
        self._throttled: int | None = None
        self._asked = -float("inf")
        registry = self.registry
        self.requests = Counter(
            "tinyedge_requests", "Requests answered.", ("endpoint", "status"), registry=registry
        )
        self.errors = Counter("tinyedge_errors", "What went wrong, by kind.", ("kind",), registry=registry)
        self.tokens = Counter("tinyedge_tokens", "Tokens read and written.", ("kind",), registry=registry)
        self.ttft = Histogram(
            "tinyedge_ttft_seconds",
            "From a request's arrival to its first token.",
            buckets=TTFT_BUCKETS,
            registry=registry,
        )
        self.itl = Histogram(
            "tinyedge_itl_seconds", "From a token to the next.", buckets=ITL_BUCKETS, registry=registry
        )
        self.response = Histogram(
            "tinyedge_response_seconds",
            "From a request's arrival to its last token.",
            buckets=RESPONSE_BUCKETS,
            registry=registry,
        )
        self._info = Info("tinyedge", "What is served.", registry=registry)
        # There from the beginning, or the first of a kind would not show as an increase.
        for kind in ("prompt", "completion"):
            self.tokens.labels(kind)
        for kind in KINDS:
            self.errors.labels(kind)
        registry.register(self)

    def identify(self, version: str, bundle: str, precision: str) -> None:
        """What is served, once it is loaded."""
        self._info.info({"version": version, "bundle": bundle, "precision": precision})

    def text(self) -> bytes:
        """All of them as Prometheus reads them. May wait for the firmware of a Raspberry Pi."""
        if self._vcgencmd and time.monotonic() - self._asked > THROTTLED_S:
            self._throttled = read_throttling_bits(self._vcgencmd)
            self._asked = time.monotonic()
        return generate_latest(self.registry)

    @property
    def may_wait(self) -> bool:
        """Whether `text` starts a program."""
        return self._vcgencmd is not None

    def collect(self) -> Iterator[Metric]:
        """What is read now; a figure that cannot be had is left out. Called by the registry."""
        for name, text, value in self._readings():
            if value is not None:
                yield GaugeMetricFamily(f"tinyedge_{name}", text, value)

    def _readings(self) -> Iterator[tuple[str, str, float | None]]:
        try:
            memory = read_memory()
        except (BenchError, OSError):
            memory = {}
        yield "queue_depth", "Requests that wait for their turn.", self._depth()
        yield "active_requests", "Requests at work.", self._active()
        yield "rss_bytes", "Memory of the process (VmRSS).", memory.get("rss")
        yield "swap_bytes", "Memory of the process in swap (VmSwap).", memory.get("swap")
        yield "peak_rss_bytes", "The most memory it ever had (VmHWM).", memory.get("peak")
        yield "temperature_celsius", "Of the hottest sensor.", read_temperature()
        yield "throttled_bits", "The Raspberry Pi firmware's: 0-3 now, 16-19 since boot.", self._throttled
        for percent in PERCENTILES:
            text = f"{percent} % of the last {LAST} responses took no longer."
            yield f"response_p{percent}_seconds", text, self.rates.percentile(percent)
        yield (
            "decode_tokens_per_second",
            f"Tokens after the first, in the last {LAST} responses.",
            self.rates.tokens_per_second(),
        )
        yield "uptime_seconds", "Since the server began.", time.monotonic() - self._began
