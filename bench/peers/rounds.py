"""The rounds: every runtime in turn, each in processes of its own, and again, as often as asked.

In: contenders. Out: their figures, a list with one entry a round each. Knows no environment's making and
judges nothing.
"""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge.core.errors import BenchError

PROGRAMS = Path(__file__).parent / "runtimes"
PATIENCE_S = 300
# One thread everywhere, and nobody asks a hub for anything.
SURROUNDINGS = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
DROPPED = ("PYTHONPATH", "PYTHONHOME")  # would mix the environments

Figures = dict[str, float]


@dataclass(frozen=True)
class Request:
    """What each of them does in a round. seconds: how long it generates, a text after the other."""

    prompt: str
    prompt_tokens: int
    tokens: int
    context: int
    bos_id: int
    seconds: float = 2.0
    temperature: float = 0.8
    top_k: int = 40
    seed: int = 1

    def to_json(self, model: Path, cold: bool) -> str:
        """As the programs in `runtimes` read it."""
        return json.dumps({**vars(self), "model": str(model), "cold": cold})


@dataclass(frozen=True)
class Contender:
    """A runtime with a model. program: its file in `runtimes`. command: of its cold start, where that is
    not the program itself. echoed: bytes that the command shows before the first token.
    """

    name: str
    precision: str
    python: Path
    program: str
    model: Path
    command: tuple[str, ...] = ()
    echoed: int = 0


@dataclass
class Track:
    """A contender's rounds so far, and why it left, if it did."""

    contender: Contender
    rounds: list[Figures]
    failure: str | None = None


def run_rounds(
    contenders: Sequence[Contender], request: Request, rounds: int, note: Callable[[str], None]
) -> list[Track]:
    """A B C ..., A B C ...: what slows the machine down for a while hits all of them.

    A contender that fails leaves; the others go on.
    """
    tracks = [Track(contender, []) for contender in contenders]
    for index in range(rounds):
        for track in tracks:
            if track.failure is None:
                try:
                    track.rounds.append(run_round(track.contender, request))
                except BenchError as failure:
                    track.failure = failure.message
        note(f"round {index + 1} of {rounds}")
    return tracks


def run_round(contender: Contender, request: Request) -> Figures:
    """One process that generates, and one that only starts. Raises BenchError where either fails."""
    program = (str(contender.python), str(PROGRAMS / contender.program))
    command = (*program, request.to_json(contender.model, cold=False))
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=surroundings(), timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{contender.name} took longer than {PATIENCE_S} s") from None
    if done.returncode:
        raise BenchError(f"{contender.name} failed: {last_line(done.stderr)}")
    cold = contender.command or (*program, request.to_json(contender.model, cold=True))
    figures = condensed(json.loads(done.stdout.splitlines()[-1]))
    return figures | cold_start(cold, contender.echoed)


def condensed(answer: dict[str, Any]) -> Figures:
    """A process's answer, with one figure for each list: the median generation, and the fastest of them."""
    return {
        "decode_tokens_per_s": statistics.median(answer["tokens_per_s"]),
        "best_tokens_per_s": max(answer["tokens_per_s"]),
        "cpu_us_per_token": statistics.median(answer["cpu_us_per_token"]),
        "ttft_ms": statistics.median(answer["ttft_ms"]),
        "load_s": answer["load_s"],
        "peak_rss_bytes": answer["peak_rss_bytes"],
        "generations": len(answer["tokens_per_s"]),
    }


def cold_start(command: Sequence[str], echoed: int) -> Figures:
    """Seconds from starting a process until more than `echoed` bytes have come out of it, and the processor
    time that it took until it ended. Raises BenchError where it shows no more than that.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=surroundings(), bufsize=0
    )
    with process:
        assert process.stdout is not None
        seen, shown = 0, b" "
        while shown and seen <= echoed:
            shown = process.stdout.read(1 << 16)
            seen += len(shown)
        took = time.perf_counter() - began
        process.stdout.read()  # one that is still writing must be able to end
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if seen <= echoed or process.returncode:
        raise BenchError(f"{command[0]} ended with {process.returncode} at its cold start")
    return {"cold_start_s": took, "cold_start_cpu_s": usage.ru_utime + usage.ru_stime}


def surroundings() -> dict[str, str]:
    """The variables that a contender sees."""
    return {name: value for name, value in os.environ.items() if name not in DROPPED} | SURROUNDINGS


def last_line(errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
