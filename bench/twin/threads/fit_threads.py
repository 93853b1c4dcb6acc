"""`python -m bench.twin.threads.fit_threads [--write]`: costs of several threads, fitted to timed networks.

In: networks that were timed with one thread and with four. Out: `ThreadCosts` and their errors.

The time of one thread is taken as published, so the fitted errors are those of the threads alone. Counts tell
how it is divided.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from bench.twin.layout import BOARD, LATENCY, TwinError, require
from bench.twin.threads.thread_pairs import ThreadPair, read_pairs
from tinyedge.boards.latency import ThreadCosts
from tinyedge.boards.load import SCHEMA, board_file
from tinyedge.core import files

LINE_STEPS: Final = tuple(number / 2 for number in range(121))  # ns per shared line: 0 to 60
OTHER_CLOCK_MHZ: Final = 1400  # of a Pi 3B+, whose times are not used by the fit

NOTE: Final = "cost_model.threads"  # in the board's file
REST: Final = ". The kernels' threads sleep"  # how the part of the note begins that the fit does not know


def fit(pairs: Sequence[ThreadPair], line_steps: Sequence[float] = LINE_STEPS) -> ThreadCosts:
    """Find the costs with the least sum of squared relative errors.

    Args:
        pairs: The networks.
        line_steps: Values of `ns_per_shared_line` to try; a single one keeps it.
    """
    return min(
        (_fit_forks(pairs, step) for step in line_steps),
        key=lambda costs: sum(pair.error(costs) ** 2 for pair in pairs),
    )


def _fit_forks(pairs: Sequence[ThreadPair], ns_per_shared_line: float) -> ThreadCosts:
    """The best cost of a fork: the error is linear in it."""
    free = ThreadCosts(ns_per_shared_line, 0.0, 0.0)
    slopes = [pair.error(replace(free, us_per_fork=1.0)) - pair.error(free) for pair in pairs]
    squares = sum(slope**2 for slope in slopes)
    best = -sum(slope * pair.error(free) for slope, pair in zip(slopes, pairs, strict=True))
    return replace(free, us_per_fork=max(0.0, best / squares) if squares else 0.0)


def leave_one_out(pairs: Sequence[ThreadPair], line_steps: Sequence[float] = LINE_STEPS) -> dict[str, float]:
    """Error of each network, by costs that were fitted to all others, in percent."""
    return {
        pair.network: 100 * pair.error(fit([other for other in pairs if other is not pair], line_steps))
        for pair in pairs
    }


def summarize(errors: Mapping[str, float]) -> tuple[float, float, str]:
    """Mean and largest of the absolute errors, and the network with the largest."""
    worst = max(errors, key=lambda network: abs(errors[network]))
    return statistics.fmean(map(abs, errors.values())), abs(errors[worst]), worst


def fit_board(pairs: Sequence[ThreadPair]) -> ThreadCosts:
    """Costs of the board's file: as fitted, but a fork of threads that sleep costs what the file says.

    The error is a multiple of five percent that covers the largest of those that are left out one by one.
    """
    known = require(require(BOARD.cost_model, BOARD, "cost_model").threads, BOARD, "cost_model.threads")
    worst = summarize(leave_one_out(pairs))[1]
    return ThreadCosts(fit(pairs).ns_per_shared_line, known.us_per_fork, 5 * math.ceil(worst / 5))


def compare(
    pairs: Sequence[ThreadPair], others: Sequence[ThreadPair], costs: ThreadCosts
) -> dict[str, dict[str, float]]:
    """Errors in percent by network, of several kinds.

    Args:
        pairs: The networks.
        others: The same on another board, whose times no fit has used.
        costs: Costs that were fitted to `pairs`.

    Returns:
        `left_out`: by costs that were fitted to the other networks; `modelled`: if the time of one thread is
        modelled too; `elsewhere`: on the other board; `unlimited`: if the memory had no limit.
    """
    unlimited = fit(pairs, [0.0])
    return {
        "left_out": leave_one_out(pairs),
        "modelled": {pair.network: 100 * pair.modelled_error(costs) for pair in pairs},
        "elsewhere": {pair.network: 100 * pair.error(costs) for pair in others},
        "unlimited": {pair.network: 100 * pair.error(unlimited) for pair in pairs},
    }


def describe(costs: ThreadCosts, errors: Mapping[str, Mapping[str, float]]) -> str:
    """The fit and its errors, which `compare` returned, in a few sentences."""

    def format_errors(kind: str) -> str:
        mean, worst, network = summarize(errors[kind])
        return f"{mean:.1f}% off on average, {worst:.1f}% at worst ({network})"

    known, elsewhere, modelled, unlimited = map(
        format_errors, ("left_out", "elsewhere", "modelled", "unlimited")
    )
    return (
        f"fitted to published times of {len(errors['left_out'])} of ncnn's networks with one and four threads"
        f" on this board (bench/twin/threads): {costs.ns_per_shared_line:g} ns a line, and"
        f" {costs.us_per_fork:.1f} us a fork for OpenMP's threads, which spin. If its time with one thread is"
        f" known, a network's time with four, left out of the fit, is {known}; on a Pi 3B+, which no fit has"
        f" used, {elsewhere}. If that of one thread is modelled too, {modelled}; and if the memory had no"
        f" limit, {unlimited}"
    )


def render(pairs: Sequence[ThreadPair], errors: Mapping[str, Mapping[str, float]]) -> str:
    """A line for each network: its times in ms, and errors in percent."""
    lines = [f"{'network':20}{'1 thread':>10}{'4 threads':>11}" + "".join(f"{kind:>11}" for kind in errors)]
    for pair in pairs:
        cells = "".join(f"{found[pair.network]:+11.1f}" for found in errors.values())
        lines.append(f"{pair.network:20}{pair.one_ms:10.1f}{pair.several_ms:11.1f}{cells}")
    return "\n".join(lines)


def write_costs(path: Path, costs: ThreadCosts, note: str) -> None:
    """Replace the costs of threads in a board's file, and the beginning of their note; the rest stays."""
    board = files.read_json(path, SCHEMA, TwinError)
    board["cost_model"]["threads"] = asdict(costs)
    rest = board["notes"][NOTE].partition(REST)
    board["notes"][NOTE] = f"{note}{''.join(rest[1:])}"
    files.write_json(path, board)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, print the errors, and write the board's file if asked to."""
    parser = argparse.ArgumentParser(description="Fit the costs of several threads to published times.")
    parser.add_argument("--write", action="store_true", help="put them in the board's file")
    options = parser.parse_args(arguments)
    try:
        pairs, others = read_pairs(), read_pairs(LATENCY.at_clock(OTHER_CLOCK_MHZ))
    except TwinError as failure:
        print(f"error: {failure.message}", f"hint: {failure.hint}", sep="\n", file=sys.stderr)
        return failure.exit_code
    costs = fit(pairs)
    errors = compare(pairs, others, costs)
    note = describe(costs, errors)
    print(f"{render(pairs, errors)}\n{note}")
    if options.write:
        write_costs(board_file(BOARD.name), fit_board(pairs), note)
        print(f"wrote {board_file(BOARD.name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
