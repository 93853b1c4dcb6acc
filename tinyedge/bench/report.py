"""The report of a benchmark: figures, machine, conditions, limits and verdict.

In: a Measurement, Limits, a Device, Conditions. Out: a Report and its JSON, schema `tinyedge.bench/1`.
Derives figures from samples; does not contain statistics (`core.stats`) or compare limits (`gate`).
"""

import dataclasses
import datetime
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tinyedge
from tinyedge.bench import gate
from tinyedge.bench.conditions import Conditions, Doubts, Reading, find_cold_doubts, find_doubts
from tinyedge.bench.gate import Basis, Gate, MeasuredFigures, Verdict
from tinyedge.bench.limits import Limits
from tinyedge.bench.measurement import Measurement, ResponseSample
from tinyedge.bench.target_board import BundleTarget, TargetBoard, describe_target
from tinyedge.core import stats
from tinyedge.core.stats import Summary
from tinyedge.host.machine import Device

if TYPE_CHECKING:
    from tinyedge.text.evaluate import Quality

SCHEMA = "tinyedge.bench/1"


@dataclass(frozen=True)
class Report:
    """A measurement with its derived figures and gates."""

    measurement: Measurement
    """The result of the worker."""
    device: Device
    """The machine."""
    conditions: Conditions
    """Conditions during the run."""
    doubts: Doubts
    """Why the times are unreliable; normally empty."""
    created: str
    """Time of the report, UTC, ISO 8601."""
    latency: Mapping[str, Summary | None]
    """Latencies in ms: e2e, ttft, itl and tpot; the last two are None if responses have one token."""
    p95_upper_99: float | None
    """99% upper confidence bound of the true p95 of e2e, in ms; None with fewer than 90 samples."""
    prefill_tps: float
    """Prompt tokens per second until the first token, including tokenization and one sampling step."""
    decode_tps: float | None
    """Tokens per second after the first token; None if there are none."""
    steady_rss: int
    """Median resident memory after a sample, in bytes."""
    rss_slope: float
    """Growth of the resident memory, in bytes per 1000 generated tokens."""
    cold_starts_s: tuple[float, ...]
    """Durations of cold starts of the complete command, in seconds; empty if not requested."""
    quality: "tuple[Quality, ...]"
    """Quality on each given text."""
    limits: Limits
    """The limits."""
    origins: Mapping[str, str]
    """Where each limit comes from: "flag", "file", "bundle" or "guide"."""
    basis: Basis
    """Figure of a percentile that had to be within its limit."""
    gates: tuple[Gate, ...]
    """The figures compared with their limits."""
    target: TargetBoard | None = None
    """The board that the bundle was made for; None if not requested."""

    @classmethod
    def from_measurement(
        cls,
        measurement: Measurement,
        limits: Limits,
        device: Device,
        conditions: Conditions,
        *,
        origins: Mapping[str, str] | None = None,
        basis: Basis | None = None,
        cold_starts_s: Sequence[float] = (),
        cold_waited_share: float = 0.0,
        quality: "Sequence[Quality]" = (),
        target: BundleTarget | None = None,
    ) -> "Report":
        """Summarize a measurement and compare it with the limits.

        Args:
            measurement: The result of the worker.
            limits: The limits.
            device: The machine.
            conditions: Conditions during the run.
            origins: Where each limit comes from.
            basis: Figure of a percentile that must be within its limit; None is the 99% upper bound if the
                number of samples has one, else the estimate.
            cold_starts_s: Durations of cold starts, in seconds.
            cold_waited_share: Median share of a cold start's duration in which it did not run on a processor.
            quality: Quality on each text.
            target: What the bundle was made for.
        """
        samples = measurement.samples
        e2e, ttft = [s.e2e_ms for s in samples], [s.ttft_ms for s in samples]
        steady_rss = round(statistics.median(sample.rss for sample in samples))
        decoded = sum(len(sample.tokens_ns) - 1 for sample in samples)
        generated = [(index + 1) * measurement.job.max_tokens for index in range(len(samples))]
        decode_tps = _tokens_per_second(decoded, sum(s.decode_ms for s in samples)) if decoded else None
        basis = basis or gate.choose_basis(len(samples))
        doubts = find_doubts(conditions, measurement)
        figures = MeasuredFigures(
            steady_bytes=steady_rss + measurement.swap,
            peak_bytes=measurement.peak + measurement.swap,
            e2e_ms=e2e,
            ttft_ms=ttft,
            decode_tps=decode_tps,
            model_bytes=measurement.model_bytes,
            cold_start_s=statistics.median(cold_starts_s) if cold_starts_s else None,
            bits_per_byte={one.name: one.bits_per_byte for one in quality},
        )
        return cls(
            measurement=measurement,
            device=device,
            conditions=conditions,
            doubts=doubts,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            latency={
                "e2e": stats.summarize(e2e),
                "ttft": stats.summarize(ttft),
                "itl": stats.summarize([gap for sample in samples for gap in sample.itl_ms]),
                "tpot": stats.summarize([s.tpot_ms for s in samples if s.tpot_ms is not None]),
            },
            p95_upper_99=stats.p95_upper_99(e2e),
            prefill_tps=_tokens_per_second(sum(s.fed_tokens for s in samples), sum(ttft)),
            decode_tps=decode_tps,
            steady_rss=steady_rss,
            rss_slope=stats.slope(generated, [sample.rss for sample in samples]) * 1000,
            cold_starts_s=tuple(cold_starts_s),
            quality=tuple(quality),
            limits=limits,
            origins=dict(origins or {}),
            basis=basis,
            gates=gate.evaluate_gates(
                limits, figures, basis, doubts, find_cold_doubts(conditions, cold_waited_share)
            ),
            target=None
            if target is None
            else describe_target(
                target,
                device,
                [sample.prompt_tokens for sample in samples],
                measurement.job.max_tokens,
                limits.max_p95_ms,
                measurement.job.threads,
            ),
        )

    @property
    def verdict(self) -> Verdict:
        """Combined result of the gates."""
        return gate.combine_verdict(self.gates)

    def to_dict(self) -> dict[str, Any]:
        """Return the report's JSON object: memory in bytes, latency in ms, throughput in tokens/s."""
        run, job = self.measurement, self.measurement.job
        return {
            "schema": SCHEMA,
            "created": self.created,
            "tinyedge": tinyedge.__version__,
            "verdict": self.verdict,
            "doubts": list(self.doubts.all),
            "slowed_by": list(self.doubts.slowed),
            "gate_on": self.basis,
            "gates": [_gate_to_dict(one) for one in self.gates],
            "target": self.target and self.target.to_dict(),
            "limits": {name: value for name, value in dataclasses.asdict(self.limits).items() if value},
            "limits_from": dict(self.origins),
            "samples": len(run.samples),
            "max_tokens": job.max_tokens,
            "threads": job.threads,
            "seed": job.seed,
            "prompt_tokens": statistics.fmean(sample.prompt_tokens for sample in run.samples),
            "prompt_set": job.prompts.name,
            "prompts": list(job.prompts.prompts),
            "percentile_method": stats.PERCENTILE_METHOD,
            "latency_ms": {
                name: None if summary is None else dataclasses.asdict(summary)
                for name, summary in self.latency.items()
            },
            "p95_upper_99": self.p95_upper_99,
            "prefill_tps": self.prefill_tps,
            "decode_tps": self.decode_tps,
            "lasted_s": run.lasted_s,
            "warm_up": dataclasses.asdict(run.warm_up),
            "cold_start_s": run.cold_start_s,
            "imports_s": run.imports_s,
            "init_s": run.init_s,
            "whole_cold_starts_s": list(self.cold_starts_s),
            "quality": [dataclasses.asdict(one) for one in self.quality],
            "memory": {
                "import_rss": run.phases["imports"].rss,
                "session_rss": run.phases["session"].rss,
                "steady_rss": self.steady_rss,
                "peak_rss": run.peak,
                "swap": run.swap,
                "rss_slope_bytes_per_1000_tokens": self.rss_slope,
                "phases": {name: dataclasses.asdict(phase) for name, phase in run.phases.items()},
            },
            "device": {**dataclasses.asdict(self.device), "engine": run.engine._asdict()},
            "conditions": {
                "before": _reading_to_dict(self.conditions.before),
                "after": _reading_to_dict(self.conditions.after),
                "mhz": list(self.conditions.mhz),
                "waited_share": run.waited_share,
            },
            "bundle": {
                "sha256": run.bundle_sha256,
                "model_id": run.model_id,
                "precision": run.precision,
                "model_bytes": run.model_bytes,
                "ngram_bytes": run.ngrams and run.ngrams.size,
                "ngram_bytes_read": run.ngrams and run.ngrams.read,
            },
            "raw_samples": [_sample_to_dict(sample) for sample in run.samples],
        }


def _gate_to_dict(one: Gate) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "limit": one.limit,
        "measured": one.measured,
        "bound": one.bound,
        "lower": one.lower,
        "unit": one.unit,
        "share": None if one.share is None or math.isinf(one.share) else one.share,
        "ok": one.ok,
        "sentence": one.sentence,
    }


def _reading_to_dict(reading: Reading) -> dict[str, Any]:
    bits = reading.throttled
    return {**dataclasses.asdict(reading), "throttled": None if bits is None else hex(bits)}


def _tokens_per_second(tokens: int, milliseconds: float) -> float:
    return tokens / max(milliseconds, 1e-6) * 1000  # the minimum avoids a division by 0 with a coarse clock


def _sample_to_dict(sample: ResponseSample) -> dict[str, Any]:
    return {
        "prompt": sample.prompt,
        "prompt_tokens": sample.prompt_tokens,
        "fed_tokens": sample.fed_tokens,
        "e2e_ms": sample.e2e_ms,
        "ttft_ms": sample.ttft_ms,
        "itl_ms": sample.itl_ms,
        "rss": sample.rss,
        "swap": sample.swap,
    }
