"""The timed loops of the native kernels, run in rounds, so that all of them see the same conditions.

In: the package tinyedge_kernels. Out: times of single operations, in ns. Does not know files or boards.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tinyedge.core.errors import EngineError

LINE_BYTES = 64
# Lines that fit the first cache of every known core, its second cache, and neither.
L1_LINES, L2_LINES, MEMORY_LINES = 256, 4096, 1 << 19
MEMORY_BYTES = MEMORY_LINES * LINE_BYTES
# Work of a loop in a round: 2 to 20 ms on a core of 1 GHz, the chase through memory about 100 ms.
ADD_TURNS, L1_TURNS, L2_TURNS, PRODUCT_TURNS = 32768, 2048, 128, 8192
PRODUCT_SHAPE = "128 inputs, 64 outputs, one token"
WARM_UP_ROUNDS = 2  # about a second: a governor has raised the clock by then
ROUNDS = 15
INSTALL_HINT = (
    "`tinyedge deploy` and the offline kit bring them to a board; in tinyedge's own folder:"
    " pip install ./export/kernels; elsewhere: pip install tinyedge-kernels"
)


@dataclass(frozen=True)
class LoopTimes:
    """Times of one round, in ns."""

    add: float
    """One of a chain of additions: one cycle."""
    l1_line: float
    """A line of the first cache, read in order."""
    line: float
    """A line of memory, read in order."""
    l1_load: float
    """A load from the first cache that needs the load before it."""
    l2_load: float
    """The same from the second cache, in random order."""
    random_load: float
    """The same from memory, in random order."""
    product: float
    """A product of int8 weights in the first cache."""


@dataclass(frozen=True)
class LoopSamples:
    """All rounds."""

    rounds: tuple[LoopTimes, ...]
    """Rounds after the warm-up."""
    instructions: str
    """Instruction set of the product."""
    waited_share: float
    """Share of the time in which this process did not run on a processor, 0-1."""


def import_loops() -> Any:
    """Import the package with the loops.

    Raises:
        EngineError: It is not installed, or cannot be loaded.
    """
    from tinyedge.runtime.engine import import_kernels

    try:
        import_kernels()
    except EngineError as failure:
        raise EngineError(f"calibration needs the native kernels: {failure.message}", INSTALL_HINT) from None
    import tinyedge_kernels

    return tinyedge_kernels


def run_loops(
    kernels: Any, rounds: int = ROUNDS, on_round: Callable[[int], None] = lambda finished: None
) -> LoopSamples:
    """Run all loops, round by round.

    Args:
        kernels: What `import_loops` returned.
        rounds: Number of rounds after the warm-up, at least 1.
        on_round: Called after each of them with the number of finished ones.
    """
    found: list[LoopTimes] = []
    for _ in range(WARM_UP_ROUNDS):
        _run_round(kernels, os.getpid())
    started, worked = time.perf_counter(), time.thread_time()
    for number in range(rounds):
        found.append(_run_round(kernels, number))
        on_round(len(found))
    elapsed = time.perf_counter() - started
    waited = max(0.0, 1 - (time.thread_time() - worked) / elapsed) if elapsed > 0 else 0.0
    return LoopSamples(tuple(found), kernels.time_products(1)[2], waited)


def _run_round(kernels: Any, seed: int) -> LoopTimes:
    adds_ns, adds = kernels.time_adds(ADD_TURNS)
    return LoopTimes(
        add=adds_ns / adds,
        l1_line=_stream(kernels, L1_LINES, L1_TURNS),
        line=_stream(kernels, MEMORY_LINES, 1),
        l1_load=_chase(kernels, L1_LINES, L1_TURNS, seed),
        l2_load=_chase(kernels, L2_LINES, L2_TURNS, seed),
        random_load=_chase(kernels, MEMORY_LINES, 1, seed),
        product=kernels.time_products(PRODUCT_TURNS)[0] / PRODUCT_TURNS,
    )


def _stream(kernels: Any, lines: int, turns: int) -> float:
    return float(kernels.time_stream(lines, turns)[0] / (lines * turns))


def _chase(kernels: Any, lines: int, turns: int, seed: int) -> float:
    ns, loads = kernels.time_chase(lines, turns, seed)
    return float(ns / loads)


def times_of(rounds: Sequence[LoopTimes], name: str) -> list[float]:
    """Return the times of one loop in all rounds."""
    return [getattr(one, name) for one in rounds]
