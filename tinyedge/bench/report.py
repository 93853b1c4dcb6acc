"""The report: what was measured, where, against which budgets, and what came of it.

In: a Measurement, Limits, a Device. Out: the JSON of schema `tinyedge.bench/1`. Derives figures from samples,
leaves the statistics to `stats` and the judging to `gate`.
"""

import dataclasses
import datetime
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tinyedge
from tinyedge import files
from tinyedge.bench import gate, stats
from tinyedge.bench.gate import Gate, Limits, Verdict
from tinyedge.bench.machine import Device
from tinyedge.bench.measurement import Measurement, Sample
from tinyedge.bench.prompts import PROMPT_SET, PROMPTS
from tinyedge.bench.stats import Summary
from tinyedge.errors import BenchError

SCHEMA = "tinyedge.bench/1"


@dataclass(frozen=True)
class Report:
    """A judged measurement.

    latency: milliseconds; itl and tpot are None where responses have one token. p95_upper_99: ms, what the
    true p95 of e2e stays under with 99 % confidence, None below 90 samples. prefill_tps: prompt tokens fed a
    second until the first token, so tokenizing and one draw included. decode_tps: tokens a second after it,
    None where there are none. steady_rss: bytes, the median after a sample. rss_slope: bytes for each 1000
    tokens generated.
    """

    measurement: Measurement
    device: Device
    created: str
    latency: Mapping[str, Summary | None]
    p95_upper_99: float | None
    prefill_tps: float
    decode_tps: float | None
    steady_rss: int
    rss_slope: float
    gates: tuple[Gate, ...]

    @classmethod
    def of(
        cls, measurement: Measurement, limits: Limits, device: Device, *, throttled: bool = False
    ) -> "Report":
        """Sums up and judges. throttled: the device began to throttle while it was measured."""
        samples, memory = measurement.samples, measurement.memory
        e2e = [sample.e2e_ms for sample in samples]
        steady_rss = round(statistics.median(sample.rss for sample in samples))
        decoded = sum(len(sample.tokens_ns) - 1 for sample in samples)
        generated = [(index + 1) * measurement.job.max_tokens for index in range(len(samples))]
        return cls(
            measurement=measurement,
            device=device,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            latency={
                "e2e": stats.summarize(e2e),
                "ttft": stats.summarize([sample.ttft_ms for sample in samples]),
                "itl": stats.summarize([gap for sample in samples for gap in sample.itl_ms]),
                "tpot": stats.summarize([s.tpot_ms for s in samples if s.tpot_ms is not None]),
            },
            p95_upper_99=stats.p95_upper_99(e2e),
            prefill_tps=_rate(sum(s.fed_tokens for s in samples), sum(s.ttft_ms for s in samples)),
            decode_tps=_rate(decoded, sum(s.decode_ms for s in samples)) if decoded else None,
            steady_rss=steady_rss,
            rss_slope=stats.slope(generated, [sample.rss for sample in samples]) * 1000,
            gates=gate.judge(
                limits,
                steady_bytes=steady_rss + memory.swap,
                peak_bytes=memory.peak + memory.swap,
                p95_ms=stats.percentile(sorted(e2e), 95),
                samples=len(samples),
                throttled=throttled,
            ),
        )

    @property
    def verdict(self) -> Verdict:
        """What the gates together say."""
        return gate.verdict(self.gates)

    def to_dict(self) -> dict[str, Any]:
        """The report's JSON. Memory is in bytes, latency in milliseconds, throughput in tokens a second."""
        run, job, memory = self.measurement, self.measurement.job, self.measurement.memory
        return {
            "schema": SCHEMA,
            "created": self.created,
            "tinyedge": tinyedge.__version__,
            "verdict": self.verdict,
            "gates": [
                {
                    "name": judged.name,
                    "limit": judged.limit,
                    "measured": judged.measured,
                    "unit": judged.unit,
                    "ok": judged.ok,
                    "sentence": judged.sentence,
                }
                for judged in self.gates
            ],
            "samples": job.samples,
            "max_tokens": job.max_tokens,
            "threads": job.threads,
            "seed": job.seed,
            "prompt_tokens": statistics.fmean(sample.prompt_tokens for sample in run.samples),
            "prompt_set": PROMPT_SET,
            "prompts": list(PROMPTS),
            "percentile_method": stats.PERCENTILE_METHOD,
            "latency_ms": {
                name: None if summary is None else dataclasses.asdict(summary)
                for name, summary in self.latency.items()
            },
            "p95_upper_99": self.p95_upper_99,
            "prefill_tps": self.prefill_tps,
            "decode_tps": self.decode_tps,
            "cold_start_s": run.cold_start_s,
            "imports_s": run.imports_s,
            "init_s": run.init_s,
            "memory": {
                "start_rss": memory.start,
                "import_rss": memory.imports,
                "session_rss": memory.session,
                "prefill_rss": memory.prefill,
                "steady_rss": self.steady_rss,
                "peak_rss": memory.peak,
                "swap": memory.swap,
                "rss_slope_bytes_per_1000_tokens": self.rss_slope,
            },
            "device": dataclasses.asdict(self.device),
            "bundle": {"sha256": run.bundle_sha256, "precision": run.precision},
            "raw_samples": [_raw(sample) for sample in run.samples],
        }

    def write(self, path: Path) -> None:
        """Writes the JSON, atomically. Raises BenchError where the disk refuses."""
        try:
            files.write_json(path, self.to_dict())
        except OSError as failure:
            raise BenchError(f"{path} cannot be written: {failure.strerror}", "free some space") from None


def _rate(tokens: int, milliseconds: float) -> float:
    return tokens / max(milliseconds, 1e-6) * 1000  # a clock too coarse to see anything reads as 1 ns


def _raw(sample: Sample) -> dict[str, Any]:
    return {
        "prompt": sample.prompt,
        "prompt_tokens": sample.prompt_tokens,
        "e2e_ms": sample.e2e_ms,
        "ttft_ms": sample.ttft_ms,
        "itl_ms": sample.itl_ms,
        "rss": sample.rss,
        "swap": sample.swap,
    }
