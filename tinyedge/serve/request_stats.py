"""Timing and token counts of one request, and their part of the metrics."""

import itertools
from collections.abc import Iterable

from tinyedge.serve.generation import GenerationStep
from tinyedge.serve.metrics import ServerMetrics


class RequestStats:
    """Collects the steps of a request, and adds them to the metrics at its end: a token costs little time."""

    is_complete: bool
    """Whether the answer is complete; set by the caller."""

    def __init__(self, arrived_at: float, prompt_tokens: int) -> None:
        """Start the statistics of a request.

        Args:
            arrived_at: When the request arrived, of time.perf_counter.
            prompt_tokens: Number of tokens of all its prompts.
        """
        self._arrived_at = arrived_at
        self._prompt_tokens = prompt_tokens
        self._timestamps: dict[int, list[float]] = {}  # of the tokens of each choice
        self.is_complete = False

    def add_steps(self, steps: Iterable[GenerationStep]) -> None:
        """Add new steps."""
        for step in steps:
            if step.generated:
                self._timestamps.setdefault(step.choice, []).append(step.timestamp)

    def compute_timings(self) -> dict[str, float | None]:
        """Compute the milliseconds to the first token and the tokens per second after it, if any."""
        if not self._timestamps:
            return {"ttft_ms": None, "decode_tokens_per_second": None}
        tokens, seconds = self._measure_decoding()
        return {
            "ttft_ms": round((self._first_token_at - self._arrived_at) * 1000, 3),
            "decode_tokens_per_second": round(tokens / seconds, 1) if seconds else None,
        }

    def record(self, metrics: ServerMetrics) -> None:
        """Add the request to the metrics."""
        if not self._timestamps:
            return
        choices = list(self._timestamps.values())
        metrics.tokens.labels("prompt").inc(self._prompt_tokens)
        metrics.tokens.labels("completion").inc(sum(map(len, choices)))
        metrics.ttft.observe(self._first_token_at - self._arrived_at)
        for timestamps in choices:
            for before, after in itertools.pairwise(timestamps):
                metrics.itl.observe(after - before)
        if self.is_complete:
            duration = choices[-1][-1] - self._arrived_at
            metrics.response.observe(duration)
            metrics.recent_responses.add(duration, *self._measure_decoding())

    @property
    def _first_token_at(self) -> float:
        return next(iter(self._timestamps.values()))[0]

    def _measure_decoding(self) -> tuple[int, float]:
        """Count the tokens after the first of each choice, and the seconds they took."""
        choices = self._timestamps.values()
        tokens = sum(len(timestamps) - 1 for timestamps in choices)
        return tokens, sum(timestamps[-1] - timestamps[0] for timestamps in choices)
