"""What a bundle would take on the board, modelled: answers to the bench's prompts, and a cold start."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.twin.counts import Counts, Figures, percentile
from bench.twin.layout import SOURCES, TwinError
from bench.twin.user_emulation import Guest

ROUNDS = 3  # responses of each prompt
MAX_TOKENS = 20
COLD_PROMPT = "Once upon a time"


@dataclass(frozen=True)
class Response:
    """One answer. prompt_tokens: with BOS. steps: each token, the first with the prefill; then the end."""

    prompt: str
    prompt_tokens: int
    steps: tuple[Figures, ...]

    @property
    def first(self) -> Figures:
        """Tokenizing, prefill, and the first token."""
        return self.steps[0]

    @property
    def decoded(self) -> tuple[Figures, ...]:
        """Of each token after the first."""
        return self.steps[1:-1]

    @property
    def e2e_ms(self) -> float:
        """The whole response, modelled."""
        return sum(step.modelled_ms for step in self.steps)


@dataclass(frozen=True)
class Modelled:
    """All that is modelled of a bundle.

    cold: from exec of `python -m tinyedge generate` to its first token. sockets, threads: how many it
    opened and started.
    """

    responses: tuple[Response, ...]
    cold: Figures
    sockets: int
    threads: int

    @property
    def token(self) -> Figures:
        """The mean of all tokens after the first."""
        return mean([step for response in self.responses for step in response.decoded])

    @property
    def p95_ms(self) -> float:
        """Of a whole response."""
        return percentile([response.e2e_ms for response in self.responses], 95)

    def to_json(self) -> dict[str, Any]:
        """Figures for the report."""
        decoded = [step.modelled_ms for response in self.responses for step in response.decoded]
        whole = [response.e2e_ms for response in self.responses]
        firsts: dict[tuple[str, int], list[Figures]] = {}
        for response in self.responses:
            firsts.setdefault((response.prompt, response.prompt_tokens), []).append(response.first)
        return {
            "token": plain(self.token),
            "itl_ms": spread(decoded),
            "e2e_ms": spread(whole),
            "prefill": [
                {"prompt": name, "prompt_tokens": tokens, **plain(mean(figures))}
                for (name, tokens), figures in firsts.items()
            ],
            "cold_start": {**plain(self.cold), "sockets": self.sockets, "threads": self.threads},
            "raw_samples": [
                {
                    "prompt": one.prompt, "prompt_tokens": one.prompt_tokens,
                    "ttft_ms": round(one.first.modelled_ms, 4), "e2e_ms": round(one.e2e_ms, 4),
                    "itl_ms": [round(step.modelled_ms, 4) for step in one.decoded],
                }
                for one in self.responses
            ],
        }  # fmt: skip


def total(figures: Sequence[Figures]) -> Figures:
    """Of each figure."""
    return sum(figures, Figures(0, 0, 0, 0))


def mean(figures: Sequence[Figures]) -> Figures:
    """Of each figure."""
    return total(figures) / len(figures)


def plain(figures: Figures) -> dict[str, float]:
    """For JSON."""
    return {
        "instructions": round(figures.instructions), "dram_fills": round(figures.fills),
        "modelled_ms": round(figures.modelled_ms, 4),
    }  # fmt: skip


def spread(values: Sequence[float]) -> dict[str, float]:
    """Percentiles, nearest rank, and moments."""
    return {
        **{f"p{rank}": round(percentile(values, rank), 4) for rank in (50, 90, 95, 99)},
        "mean": round(statistics.fmean(values), 4), "max": round(max(values), 4), "n": len(values),
    }  # fmt: skip


def responses(counts: Counts, told: Any) -> tuple[Response, ...]:
    """The steps of a counted `responses.py`, by response. told: what it printed."""
    steps, names = counts.steps, told["prompts"]
    length, rest = divmod(len(steps), len(names))
    if rest or length < 3:
        raise TwinError(f"{len(steps)} marks are not those of {len(names)} responses")
    return tuple(
        Response(name, told["tokens"][name], steps[at * length : (at + 1) * length])
        for at, name in enumerate(names)
    )


def answer(guest: Guest, bundle: Path, rounds: int, prompts: Path | None = None) -> tuple[Response, ...]:
    """Counts `rounds` responses to each prompt. prompts: as guest/responses.py takes them.

    Raises TwinError where the program fails.
    """
    script = [str(SOURCES / "guest" / "responses.py"), str(bundle.resolve()), str(rounds), str(MAX_TOKENS)]
    outcome, counts = guest.count(script + ([str(prompts)] if prompts else []))
    if outcome.returncode:
        raise TwinError(f"answering in the guest ends with {outcome.returncode}: {outcome.errors}")
    return responses(counts, json.loads(outcome.output))


def measure(guest: Guest, bundle: Path) -> Modelled:
    """Counts the answers and the start. Raises TwinError where the program fails."""
    answers = answer(guest, bundle, ROUNDS)
    start, start_counts = guest.count(
        [
            "-m",
            "tinyedge",
            "generate",
            str(bundle.resolve()),
            "--prompt",
            COLD_PROMPT,
            "--max-tokens",
            "1",
            "--seed",
            "1",
        ]
    )
    if start.returncode or not start_counts.shown:
        raise TwinError(f"`tinyedge generate` in the guest ends with {start.returncode}: {start.errors}")
    return Modelled(answers, start_counts.shown[-1], start_counts.sockets, start_counts.threads)
