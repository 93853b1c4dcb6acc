"""The rounds: in each round, every runtime runs once in turn, in new processes.

In: contenders and a request. Out: a Track for each contender, with its figures of each round. Does not know
how environments are made, and does not evaluate the figures.
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
TIMEOUT_S = 300
# One thread for every runtime, and no requests to a model hub.
VARIABLES = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
REMOVED_VARIABLES = ("PYTHONPATH", "PYTHONHOME")  # they would mix the environments

Figures = dict[str, float]
"""Figures of one round by name; the name ends in the unit."""


@dataclass(frozen=True)
class Request:
    """What each runtime does in a round."""

    prompt: str
    """The prompt."""
    prompt_tokens: int
    """Length of the prompt in tokens, BOS included."""
    tokens: int
    """Number of tokens to generate."""
    context: int
    """Length of the model's context, in tokens."""
    bos_id: int
    """Token id of BOS."""
    seconds: float = 2.0
    """How long a process generates, one text after the other."""
    temperature: float = 0.8
    """Temperature of the sampling."""
    top_k: int = 40
    """Tokens are drawn from the `top_k` most likely ones."""
    seed: int = 1
    """Random seed of the first text."""

    def to_json(self, model: Path, cold: bool) -> str:
        """Format the argument of a program in `runtimes`.

        Args:
            model: File or folder of the model.
            cold: Whether the program ends after the first token.
        """
        return json.dumps({**vars(self), "model": str(model), "cold": cold})


@dataclass(frozen=True)
class Contender:
    """A runtime with a model."""

    name: str
    """Name of the runtime."""
    precision: str
    """Precision of the model, as the runtime names it."""
    python: Path
    """Python of the runtime's environment."""
    program: str
    """File name of its program in `runtimes`."""
    model: Path
    """File or folder of the model."""
    command: tuple[str, ...] = ()
    """Command of its cold start, if that is not the program itself."""
    echoed: int = 0
    """Bytes that the command prints before the first token."""


@dataclass
class Track:
    """Results of a contender so far."""

    contender: Contender
    """The contender."""
    rounds: list[Figures]
    """Its figures, one entry for each round."""
    failure: str | None = None
    """Why it failed; it takes part in no further round."""


def run_rounds(
    contenders: Sequence[Contender], request: Request, rounds: int, note: Callable[[str], None]
) -> list[Track]:
    """Run all contenders in turn, again and again: A B C, A B C.

    A temporary slowdown of the machine then affects all of them. A contender that fails takes part in no
    further round; the others continue.

    Args:
        contenders: The contenders, in order.
        request: What each of them does.
        rounds: Number of rounds.
        note: Receives one line after each round.
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
    """Run one process that generates and one that only starts; raise BenchError if one of them fails."""
    program = (str(contender.python), str(PROGRAMS / contender.program))
    command = (*program, request.to_json(contender.model, cold=False))
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=make_environment(), timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{contender.name} took longer than {TIMEOUT_S} s") from None
    if done.returncode:
        raise BenchError(f"{contender.name} failed: {get_last_line(done.stderr)}")
    cold = contender.command or (*program, request.to_json(contender.model, cold=True))
    figures = summarize(json.loads(done.stdout.splitlines()[-1]))
    return figures | measure_cold_start(cold, contender.echoed)


def summarize(answer: dict[str, Any]) -> Figures:
    """Reduce the lists in a process's answer to their medians, and to the fastest generation."""
    return {
        "decode_tokens_per_s": statistics.median(answer["tokens_per_s"]),
        "best_tokens_per_s": max(answer["tokens_per_s"]),
        "cpu_us_per_token": statistics.median(answer["cpu_us_per_token"]),
        "ttft_ms": statistics.median(answer["ttft_ms"]),
        "load_s": answer["load_s"],
        "peak_rss_bytes": answer["peak_rss_bytes"],
        "generations": len(answer["tokens_per_s"]),
    }


def measure_cold_start(command: Sequence[str], echoed: int) -> Figures:
    """Measure the start of a process.

    Args:
        command: The command.
        echoed: Bytes that it prints before the first token.

    Returns:
        Seconds from the start of the process until it has printed more than `echoed` bytes, and the processor
        time of the process until its end, in seconds.

    Raises:
        BenchError: The process failed or printed no more than `echoed` bytes.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=make_environment(), bufsize=0
    )
    with process:
        assert process.stdout is not None
        received, block = 0, b" "
        while block and received <= echoed:
            block = process.stdout.read(1 << 16)
            received += len(block)
        elapsed = time.perf_counter() - began
        process.stdout.read()  # a process that is still writing must be able to end
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if received <= echoed or process.returncode:
        raise BenchError(f"{command[0]} ended with {process.returncode} during its cold start")
    return {"cold_start_s": elapsed, "cold_start_cpu_s": usage.ru_utime + usage.ru_stime}


def make_environment() -> dict[str, str]:
    """Return the environment variables of a contender."""
    return {name: value for name, value in os.environ.items() if name not in REMOVED_VARIABLES} | VARIABLES


def get_last_line(errors: str) -> str:
    """Return the last line of a standard error that is not blank."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return lines[-1] if lines else "no error message"
