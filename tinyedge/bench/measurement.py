"""What one run of the worker found: its events, checked and given types. Judges nothing.

In: the worker's events. Out: a Measurement, or BenchError where they are not a whole run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tinyedge.bench.worker import Job
from tinyedge.core.errors import BenchError

Event = Mapping[str, Any]

PHASES = ("bare", "imports", "session", "prefill", "decode")  # before the warm-up, in this order
NS_PER_MS = 1e6
NS_PER_S = 1e9


@dataclass(frozen=True)
class ResponseSample:
    """One response.

    prompt: its name. prompt_tokens: of the prompt, BOS included. fed_tokens: those the context let in.
    tokens_ns: when each token came, end_ns: when it was over, since it was asked for. rss, swap: bytes after.
    """

    prompt: str
    prompt_tokens: int
    fed_tokens: int
    tokens_ns: tuple[int, ...]
    end_ns: int
    rss: int
    swap: int

    def __post_init__(self) -> None:
        moments = (0, *self.tokens_ns, self.end_ns)
        if self.end_ns <= 0 or any(later < earlier for earlier, later in pairwise(moments)):
            raise ValueError("time ran backwards")
        if self.rss <= 0 or self.swap < 0 or not 0 < self.fed_tokens <= self.prompt_tokens:
            raise ValueError("a size is out of range")

    @property
    def e2e_ms(self) -> float:
        """From asking to the end of the response."""
        return self.end_ns / NS_PER_MS

    @property
    def ttft_ms(self) -> float:
        """From asking to the first token."""
        return self.tokens_ns[0] / NS_PER_MS

    @property
    def itl_ms(self) -> list[float]:
        """From each token to the next one."""
        return [(later - earlier) / NS_PER_MS for earlier, later in pairwise(self.tokens_ns)]

    @property
    def decode_ms(self) -> float:
        """From the first token to the end of the response."""
        return self.e2e_ms - self.ttft_ms

    @property
    def tpot_ms(self) -> float | None:
        """Mean time of a token after the first; None where there is none."""
        later = len(self.tokens_ns) - 1
        return self.decode_ms / later if later else None


@dataclass(frozen=True)
class PhaseMemory:
    """Bytes when a phase was over. peak: VmHWM so far. pss: None where the kernel does not tell.

    bare: Python and the worker itself. imports: numpy, onnxruntime, sentencepiece and the runtime.
    session: the model loaded. prefill: the first token is there. decode: the first response is.
    """

    rss: int
    peak: int
    swap: int
    pss: int | None


@dataclass(frozen=True)
class WarmUp:
    """Before the samples. rounds_ms: of all prompts each. settled: they no longer became faster."""

    rounds_ms: tuple[float, ...]
    settled: bool


@dataclass(frozen=True)
class Measurement:
    """A whole run.

    phases: by name, as PHASES. peak: VmHWM over the process's life, bytes. swap: the most seen at once,
    bytes. lasted_s: all samples together. waited_share: of that, ready to run while the core ran something
    else; None where the kernel does not tell. cold_start_s: from the start of the process to its first token.
    imports_s: to the end of the imports. init_s: checking and loading the bundle. model_bytes: model.onnx.
    """

    job: Job
    samples: tuple[ResponseSample, ...]
    phases: Mapping[str, PhaseMemory]
    peak: int
    swap: int
    warm_up: WarmUp
    lasted_s: float
    waited_share: float | None
    cold_start_s: float
    imports_s: float
    init_s: float
    bundle_sha256: str
    precision: str
    model_bytes: int

    @classmethod
    def from_events(
        cls, job: Job, events: Sequence[Event], started_ns: int, min_samples: int
    ) -> "Measurement":
        """From all events of a worker that was started at `started_ns` of time.perf_counter_ns.

        min_samples: samples below which it was not told that it is enough.
        Raises BenchError unless they are a whole run of `job`: a part of one is no measurement.
        """
        try:
            return cls._from_events(job, events, started_ns, min_samples)
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as failure:
            raise BenchError(
                f"the worker's answers are not a measurement ({type(failure).__name__}: {failure})",
                "measure again; if it stays so, report it",
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
            raise ValueError(f"{min_samples} samples were asked for")
        _, imports, session, prefill, _ = head
        prompts = list(job.prompts.prompts)
        if any(event["prompt"] != prompts[i % len(prompts)] for i, event in enumerate(body)):
            raise ValueError("a prompt was left out")
        samples = tuple(_parse_sample(event, session["prompt_tokens"]) for event in body)
        if any(len(sample.tokens_ns) != job.max_tokens for sample in samples):
            raise ValueError(f"responses of {job.max_tokens} tokens were asked for")
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
            precision=str(session["precision"]),
            model_bytes=int(session["model_bytes"]),
        )


def _parse_sample(event: Event, prompt_tokens: Mapping[str, tuple[int, int]]) -> ResponseSample:
    whole, fed = prompt_tokens[event["prompt"]]
    return ResponseSample(
        prompt=event["prompt"],
        prompt_tokens=whole,
        fed_tokens=fed,
        tokens_ns=tuple(event["tokens_ns"]),
        end_ns=event["end_ns"],
        rss=event["memory"]["rss"],
        swap=event["memory"]["swap"],
    )
