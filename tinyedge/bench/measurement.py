"""The result of one run of the worker, validated and typed.

In: the worker's events. Out: a Measurement, or a BenchError if the events are not a complete run. Does not
evaluate the result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tinyedge.bench.worker import Job
from tinyedge.core.engine import EngineChoice
from tinyedge.core.errors import BenchError

Event = Mapping[str, Any]

PHASES = ("bare", "imports", "session", "prefill", "decode")  # before the warm-up, in this order
NS_PER_MS = 1e6
NS_PER_S = 1e9


@dataclass(frozen=True)
class ResponseSample:
    """Measurement of one response."""

    prompt: str
    """Name of the prompt."""
    prompt_tokens: int
    """Tokens of the prompt, including BOS."""
    fed_tokens: int
    """Tokens of the prompt that fit in the context."""
    tokens_ns: tuple[int, ...]
    """Time from the request to each token, in ns."""
    end_ns: int
    """Time from the request to the end of the response, in ns."""
    rss: int
    """Resident memory after the response, in bytes."""
    swap: int
    """Swapped memory after the response, in bytes."""

    def __post_init__(self) -> None:
        moments = (0, *self.tokens_ns, self.end_ns)
        if self.end_ns <= 0 or any(later < earlier for earlier, later in pairwise(moments)):
            raise ValueError("times are not in order")
        if self.rss <= 0 or self.swap < 0 or not 0 < self.fed_tokens <= self.prompt_tokens:
            raise ValueError("a size is out of range")

    @property
    def e2e_ms(self) -> float:
        """Time from the request to the end of the response, in ms."""
        return self.end_ns / NS_PER_MS

    @property
    def ttft_ms(self) -> float:
        """Time from the request to the first token, in ms."""
        return self.tokens_ns[0] / NS_PER_MS

    @property
    def itl_ms(self) -> list[float]:
        """Time from each token to the next one, in ms."""
        return [(later - earlier) / NS_PER_MS for earlier, later in pairwise(self.tokens_ns)]

    @property
    def decode_ms(self) -> float:
        """Time from the first token to the end of the response, in ms."""
        return self.e2e_ms - self.ttft_ms

    @property
    def tpot_ms(self) -> float | None:
        """Mean time per token after the first, in ms; None if there is only one token."""
        later = len(self.tokens_ns) - 1
        return self.decode_ms / later if later else None


@dataclass(frozen=True)
class PhaseMemory:
    """Memory at the end of a phase, in bytes.

    The phases are bare (Python and the worker itself), imports (sentencepiece, the runtime and its engine:
    kernels, or numpy and onnxruntime), session (the model is loaded), prefill (the first token) and decode
    (the first response).
    """

    rss: int
    """Resident memory."""
    peak: int
    """Peak of the resident memory so far (VmHWM)."""
    swap: int
    """Swapped memory."""
    pss: int | None
    """Proportional set size; None if the kernel does not report it."""


@dataclass(frozen=True)
class NgramUse:
    """The bundle's table of n-grams at the end of a run, in bytes."""

    size: int
    """Size of the file."""
    read: int
    """How much of it was read; the rest was never in memory."""

    def __post_init__(self) -> None:
        if not 0 < self.read <= self.size:
            raise ValueError("a size is out of range")


@dataclass(frozen=True)
class WarmUp:
    """The responses before the samples."""

    rounds_ms: tuple[float, ...]
    """Duration of each round of all prompts, in ms."""
    settled: bool
    """Whether the last rounds were no longer becoming faster."""


@dataclass(frozen=True)
class Measurement:
    """The result of a complete run."""

    job: Job
    """The job that the worker ran."""
    samples: tuple[ResponseSample, ...]
    """The measured responses."""
    phases: Mapping[str, PhaseMemory]
    """Memory by name of the phase, in the order of PHASES."""
    peak: int
    """Peak of the resident memory of the process (VmHWM), in bytes."""
    swap: int
    """Maximum of the swapped memory, in bytes."""
    warm_up: WarmUp
    """The warm-up before the samples."""
    lasted_s: float
    """Duration of all samples together, in seconds."""
    waited_share: float | None
    """Share of that time in which the worker was ready to run but another program used its core; None if the
    kernel does not report it."""
    cold_start_s: float
    """Time from the start of the process to its first token, in seconds."""
    imports_s: float
    """Time from the start of the process to the end of its imports, in seconds."""
    init_s: float
    """Time to validate and load the bundle, in seconds."""
    bundle_sha256: str
    """Digest of the bundle."""
    model_id: str | None
    """Id of the model, the same for each bundle of it; None if the bundle does not have one."""
    precision: str
    """Precision of the model: "int8" or "fp32"."""
    model_bytes: int
    """Size of model.onnx, in bytes."""
    engine: EngineChoice
    """The engine that computed the model."""
    ngrams: NgramUse | None = None
    """The bundle's n-grams; None if it has none."""

    @classmethod
    def from_events(
        cls, job: Job, events: Sequence[Event], started_ns: int, min_samples: int
    ) -> "Measurement":
        """Validate the events of a run.

        Args:
            job: The work.
            events: All events of the worker.
            started_ns: Start of the worker, by time.perf_counter_ns.
            min_samples: Minimum number of samples: the worker was not stopped before it.

        Raises:
            BenchError: The events are not a complete run of `job`.
        """
        try:
            return cls._from_events(job, events, started_ns, min_samples)
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as failure:
            raise BenchError(
                f"the worker's events are not a complete measurement ({type(failure).__name__}: {failure})",
                "measure again; if it happens again, report a bug",
            ) from None

    @classmethod
    def _from_events(
        cls, job: Job, events: Sequence[Event], started_ns: int, min_samples: int
    ) -> "Measurement":
        head, (warm, *body), end = events[: len(PHASES)], events[len(PHASES) : -1], events[-1]
        if tuple(event.get("name") for event in head) != PHASES or end["event"] != "end":
            raise ValueError("a phase is missing")
        if warm["event"] != "warm_up" or {event["event"] for event in body} != {"sample"}:
            raise ValueError("warm-up and samples are not in order")
        if not min_samples <= len(body) <= job.samples:
            raise ValueError(f"{min_samples} samples were expected")
        _, imports, session, prefill, _ = head
        prompts = list(job.prompts.prompts)
        if any(event["prompt"] != prompts[i % len(prompts)] for i, event in enumerate(body)):
            raise ValueError("a prompt was left out")
        samples = tuple(_parse_sample(event, session["prompt_tokens"]) for event in body)
        if any(len(sample.tokens_ns) != job.max_tokens for sample in samples):
            raise ValueError(f"responses of {job.max_tokens} tokens were expected")
        return cls(
            job=job,
            samples=samples,
            phases={event["name"]: PhaseMemory(**event["memory"]) for event in head},
            peak=end["memory"]["peak"],
            swap=max(event["memory"]["swap"] for event in [*head, *body, end]),
            warm_up=WarmUp(tuple(ns / NS_PER_MS for ns in warm["rounds_ns"]), bool(warm["settled"])),
            lasted_s=end["lasted_ns"] / NS_PER_S,
            waited_share=None if end["waited_ns"] is None else end["waited_ns"] / end["lasted_ns"],
            cold_start_s=(prefill["first_token_ns"] - started_ns) / NS_PER_S,
            imports_s=(imports["at_ns"] - started_ns) / NS_PER_S,
            init_s=session["init_ns"] / NS_PER_S,
            bundle_sha256=str(session["sha256"]),
            model_id=session["model_id"],
            precision=str(session["precision"]),
            model_bytes=int(session["model_bytes"]),
            engine=EngineChoice(**session["engine"]),
            ngrams=None if end["ngrams"] is None else NgramUse(**end["ngrams"]),
        )


def _parse_sample(event: Event, prompt_tokens: Mapping[str, tuple[int, int]]) -> ResponseSample:
    total, fed = prompt_tokens[event["prompt"]]
    return ResponseSample(
        prompt=event["prompt"],
        prompt_tokens=total,
        fed_tokens=fed,
        tokens_ns=tuple(event["tokens_ns"]),
        end_ns=event["end_ns"],
        rss=event["memory"]["rss"],
        swap=event["memory"]["swap"],
    )
