"""What one request adds to the metrics."""

import itertools
from collections.abc import Iterable

from tinyedge.serve.generation import Step
from tinyedge.serve.metrics import Metrics


class Tally:
    """Notes a request's steps while they come, and counts them at its end, so that a token costs little.

    arrived: of time.perf_counter. complete: set it where the answer was.
    """

    def __init__(self, arrived: float, prompt_tokens: int) -> None:
        self._arrived = arrived
        self._prompt_tokens = prompt_tokens
        self._moments: dict[int, list[float]] = {}  # of each choice's tokens
        self.complete = False

    def note(self, steps: Iterable[Step]) -> None:
        """Steps, when they are there."""
        for step in steps:
            if step.generated:
                self._moments.setdefault(step.choice, []).append(step.moment)

    def close(self, metrics: Metrics) -> None:
        """Adds all to the metrics."""
        if not self._moments:
            return
        moments = list(self._moments.values())
        last = moments[-1][-1]
        metrics.tokens.labels("prompt").inc(self._prompt_tokens)
        metrics.tokens.labels("completion").inc(sum(map(len, moments)))
        metrics.ttft.observe(moments[0][0] - self._arrived)
        for one in moments:
            for before, after in itertools.pairwise(one):
                metrics.itl.observe(after - before)
        if self.complete:
            metrics.response.observe(last - self._arrived)
            decoded = sum(len(one) - 1 for one in moments)
            decoding = sum(one[-1] - one[0] for one in moments)
            metrics.rates.note(last - self._arrived, decoded, decoding)
