"""What one request took, and what it adds to the metrics."""

import itertools
from collections.abc import Iterable

from tinyedge.serve.generation import GenerationStep
from tinyedge.serve.metrics import ServerMetrics


class Tally:
    """Notes a request's steps while they come, and counts them at its end, so that a token costs little.

    arrived: of time.perf_counter. complete: set it where the answer was.
    """

    def __init__(self, arrived: float, prompt_tokens: int) -> None:
        self._arrived = arrived
        self._prompt_tokens = prompt_tokens
        self._moments: dict[int, list[float]] = {}  # of each choice's tokens
        self.complete = False

    def note(self, steps: Iterable[GenerationStep]) -> None:
        """Steps, when they are there."""
        for step in steps:
            if step.generated:
                self._moments.setdefault(step.choice, []).append(step.moment)

    def timings(self) -> dict[str, float | None]:
        """Milliseconds to the first token, and tokens a second from then on; None without any."""
        if not self._moments:
            return {"ttft_ms": None, "decode_tokens_per_second": None}
        tokens, seconds = self._decoding()
        return {
            "ttft_ms": round((self._first - self._arrived) * 1000, 3),
            "decode_tokens_per_second": round(tokens / seconds, 1) if seconds else None,
        }

    def close(self, metrics: ServerMetrics) -> None:
        """Adds all to the metrics."""
        if not self._moments:
            return
        written = list(self._moments.values())
        metrics.tokens.labels("prompt").inc(self._prompt_tokens)
        metrics.tokens.labels("completion").inc(sum(map(len, written)))
        metrics.ttft.observe(self._first - self._arrived)
        for moments in written:
            for before, after in itertools.pairwise(moments):
                metrics.itl.observe(after - before)
        if self.complete:
            lasted = written[-1][-1] - self._arrived
            metrics.response.observe(lasted)
            metrics.rates.note(lasted, *self._decoding())

    @property
    def _first(self) -> float:
        return next(iter(self._moments.values()))[0]

    def _decoding(self) -> tuple[int, float]:
        """Tokens after the first of each choice, and the seconds they took."""
        written = self._moments.values()
        return sum(len(one) - 1 for one in written), sum(one[-1] - one[0] for one in written)
