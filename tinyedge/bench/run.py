"""A whole bench: the worker measured, the machine watched, what else was asked for, then judged.

In: a Plan. Out: a Report.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tinyedge.bench.cold_start import (
    build_cold_start_command,
    check_start_count,
    compute_waited_share,
    measure_starts,
)
from tinyedge.bench.conditions import MachineMonitor
from tinyedge.bench.gate import Basis
from tinyedge.bench.limits import Limits
from tinyedge.bench.report import Report
from tinyedge.bench.stopping_rule import StoppingRule
from tinyedge.bench.worker import Job
from tinyedge.bench.worker_process import measure, worker_command
from tinyedge.bundle.bundle import bundle_digest, load_bundle
from tinyedge.core.errors import BenchError, UsageError
from tinyedge.host import machine

if TYPE_CHECKING:
    from tinyedge.text.evaluate import Quality

DEFAULT_COLD_STARTS = 5  # where a limit asks for them and nobody says how many

Progress = Callable[[int], None]


@dataclass(frozen=True)
class BenchPlan:
    """What to measure and how to judge it.

    job: of the worker; its samples are the most it takes. stopping: when they are enough. limits, and where
    each is from. basis: what of a percentile is held against its limit; None is the bound where there is one.
    cold: current starts. texts: files by name, to judge the quality on.
    """

    job: Job
    stopping: StoppingRule
    limits: Limits = field(default_factory=Limits)
    origins: Mapping[str, str] = field(default_factory=dict)
    basis: Basis | None = None
    cold: int = 0
    texts: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_start_count(self.cold)
        if self.limits.max_bits_per_byte is not None and not self.texts:
            raise UsageError(
                "a limit of bits per byte needs --text, to judge the model on it", "add --text NAME=FILE"
            )


def run(
    plan: BenchPlan,
    *,
    command: Sequence[str] | None = None,
    max_silence_s: float | None = None,
    monitor: MachineMonitor | None = None,
    progress: Progress = lambda samples: None,
) -> Report:
    """Measures in a fresh process and judges.

    command: the worker's, instead of the real one. max_silence_s: how long it may say nothing. watch: of another
    machine. progress: told the number of samples so far, in a burst about once a second.

    Raises BenchError when there is no current measurement, and what the worker itself raised: BundleError,
    TokenizerError, UsageError; CorpusError for a text.
    """
    monitor = monitor or MachineMonitor()
    before = monitor.read()

    def on_samples(samples: int) -> None:
        monitor.sample_clock()
        progress(samples)

    measurement = measure(plan.job, plan.stopping, command or worker_command(), max_silence_s, on_samples)
    conditions = monitor.finish(before)
    bundle = Path(plan.job.bundle)
    num_starts = plan.cold or (DEFAULT_COLD_STARTS if plan.limits.max_cold_start_s is not None else 0)
    starts = measure_starts(build_cold_start_command(bundle, plan.job.threads), num_starts)
    quality: Sequence[Quality] = ()
    if starts or plan.texts:
        current = load_bundle(bundle)
        if bundle_digest(current) != measurement.bundle_sha256:
            raise BenchError(f"{bundle} was replaced while it was measured", "measure again")
        if plan.texts:
            from tinyedge.bench.quality import measure_quality

            quality = measure_quality(current, plan.texts)
    return Report.from_measurement(
        measurement,
        plan.limits,
        machine.describe_machine(monitor.root, monitor.vcgencmd),
        conditions,
        origins=plan.origins,
        basis=plan.basis,
        cold_starts_s=[seconds for seconds, _ in starts],
        cold_waited_share=compute_waited_share(starts) if starts else 0.0,
        quality=quality,
    )
