"""Modelled costs of a bundle on the board: answers to the benchmark's prompts, and a cold start.

In: a guest, a bundle. Out: `ModelledCosts`. Does not know gates or recorded reports.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bench.twin.counts import Counts, Figures, core_cycles, memory_ns, percentile
from bench.twin.layout import LATENCY, SOURCES, TwinError
from bench.twin.user_emulation import Guest

ROUNDS = 3  # responses to each prompt
MAX_TOKENS = 20
COLD_PROMPT = "Once upon a time"
COLD_COMMAND = ("--prompt", COLD_PROMPT, "--max-tokens", "1", "--seed", "1")


@dataclass(frozen=True)
class Response:
    """One answer."""

    prompt: str
    """Name of the prompt."""
    prompt_tokens: int
    """Length of the prompt, BOS included."""
    steps: tuple[Figures, ...]
    """Costs of each token, the first with the prefill; then those of the end."""
    fresh_blocks: int = 0
    """Blocks of the table of n-grams that it read for the first time."""

    @property
    def first(self) -> Figures:
        """Tokenizing, prefill, and the first token."""
        return self.steps[0]

    @property
    def decoded(self) -> tuple[Figures, ...]:
        """Each token after the first."""
        return self.steps[1:-1]

    @property
    def e2e_ms(self) -> float:
        """Modelled time of the complete response, in ms."""
        return sum(step.modelled_ms for step in self.steps)


@dataclass(frozen=True)
class ModelledCosts:
    """Everything that is modelled of a bundle."""

    responses: tuple[Response, ...]
    """Answers to the benchmark's prompts."""
    cold: Figures
    """From exec of `python -m tinyedge generate` to its first token."""
    sockets: int
    """Number of network sockets that the start opened."""
    threads: int
    """Number of threads that the start started."""

    @property
    def token(self) -> Figures:
        """Mean of all tokens after the first."""
        return mean_figures([step for response in self.responses for step in response.decoded])

    @property
    def p95_ms(self) -> float:
        """95th percentile of a complete response, in ms."""
        return percentile([response.e2e_ms for response in self.responses], 95)

    def to_json(self) -> dict[str, Any]:
        """The field `latency_modelled` of the report."""
        decoded = [step.modelled_ms for response in self.responses for step in response.decoded]
        firsts: dict[tuple[str, int], list[Figures]] = {}
        for response in self.responses:
            firsts.setdefault((response.prompt, response.prompt_tokens), []).append(response.first)
        return {
            "token": figures_to_json(self.token),
            "itl_ms": summarize(decoded),
            "e2e_ms": summarize([response.e2e_ms for response in self.responses]),
            "prefill": [
                {"prompt": name, "prompt_tokens": tokens, **figures_to_json(mean_figures(figures))}
                for (name, tokens), figures in firsts.items()
            ],
            "cold_start": {**figures_to_json(self.cold), "sockets": self.sockets, "threads": self.threads},
            "raw_samples": [
                {
                    "prompt": response.prompt, "prompt_tokens": response.prompt_tokens,
                    "ttft_ms": round(response.first.modelled_ms, 4), "e2e_ms": round(response.e2e_ms, 4),
                    "itl_ms": [round(step.modelled_ms, 4) for step in response.decoded],
                }
                for response in self.responses
            ],
        }  # fmt: skip


def sum_figures(figures: Sequence[Figures]) -> Figures:
    """Sum of each figure."""
    return sum(figures, Figures())


def mean_figures(figures: Sequence[Figures]) -> Figures:
    """Mean of each figure."""
    return sum_figures(figures) / len(figures)


def figures_to_json(figures: Figures) -> dict[str, float]:
    """The figures that a report contains."""
    return {
        **{name: round(count) for name, count in asdict(figures).items()},
        "core_cycles": round(core_cycles(figures, LATENCY)),
        "dram_fills": round(figures.dram_lines),
        "memory_ns": round(memory_ns(figures, LATENCY)),
        "modelled_ms": round(figures.modelled_ms, 4),
    }  # fmt: skip


def figures_from_json(row: Mapping[str, float]) -> Figures:
    """The counts in what `figures_to_json` made."""
    return Figures(*(row[field.name] for field in fields(Figures)))


def summarize(values: Sequence[float]) -> dict[str, float]:
    """Percentiles (nearest rank), mean, maximum and count."""
    return {
        **{f"p{rank}": round(percentile(values, rank), 4) for rank in (50, 90, 95, 99)},
        "mean": round(statistics.fmean(values), 4), "max": round(max(values), 4), "n": len(values),
    }  # fmt: skip


def split_responses(counts: Counts, printed: Mapping[str, Any]) -> tuple[Response, ...]:
    """Split the steps of a counted guest/responses.py by response.

    Args:
        counts: The counted run.
        printed: The JSON that the script printed.

    Raises:
        TwinError: If the number of marks does not match.
    """
    steps, names = counts.steps, printed["prompts"]
    length, rest = divmod(len(steps), len(names))
    if rest or length < 3:
        raise TwinError(f"{len(steps)} marks do not match {len(names)} responses")
    blocks = printed.get("blocks") or [0] * len(names)
    return tuple(
        Response(name, printed["tokens"][name], steps[index * length : (index + 1) * length], blocks[index])
        for index, name in enumerate(names)
    )


def count_responses(
    guest: Guest, bundle: Path, rounds: int, prompts: Path | None = None
) -> tuple[Response, ...]:
    """Count responses of a bundle.

    Args:
        guest: The twin.
        bundle: Folder of the bundle.
        rounds: Number of responses to each prompt.
        prompts: JSON file of texts by name; None for the benchmark's prompts.

    Raises:
        TwinError: If the program fails.
    """
    script = [str(SOURCES / "guest" / "responses.py"), str(bundle.resolve()), str(rounds), str(MAX_TOKENS)]
    outcome, counts = guest.count(script + ([str(prompts)] if prompts else []))
    if outcome.returncode:
        raise TwinError(f"responses.py in the guest exited with {outcome.returncode}: {outcome.errors}")
    return split_responses(counts, json.loads(outcome.output))


def count_cold_start(guest: Guest, bundle: Path) -> Counts:
    """Count `tinyedge generate` of one token, which it shows last. Raises TwinError if it fails."""
    start, counts = guest.count(["-m", "tinyedge", "generate", str(bundle.resolve()), *COLD_COMMAND])
    if start.returncode or not counts.shown:
        raise TwinError(f"`tinyedge generate` in the guest exited with {start.returncode}: {start.errors}")
    return counts


def measure_bundle(guest: Guest, bundle: Path) -> ModelledCosts:
    """Count a bundle's responses and its cold start. Raises TwinError if a program fails."""
    responses = count_responses(guest, bundle, ROUNDS)
    counts = count_cold_start(guest, bundle)
    return ModelledCosts(responses, counts.shown[-1], counts.sockets, counts.threads)
