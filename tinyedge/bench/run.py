"""A complete benchmark: worker, state of the machine and, if requested, cold starts and quality.

In: a BenchPlan. Out: a Report.
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
from tinyedge.bench.target_board import BundleTarget
from tinyedge.bench.worker import Job
from tinyedge.bench.worker_process import measure, worker_command
from tinyedge.bundle.bundle import bundle_digest, load_bundle
from tinyedge.core.errors import BenchError
from tinyedge.host import machine

if TYPE_CHECKING:
    from tinyedge.text.evaluate import Quality

DEFAULT_COLD_STARTS = 5  # used if cold starts have a limit and their number is not given

Progress = Callable[[int], None]


@dataclass(frozen=True)
class BenchPlan:
    """What to measure, and the limits to compare it with.

    Raises:
        UsageError: A value is invalid, or a limit of quality has no text.
    """

    job: Job
    """Work of the worker; its number of samples is the maximum."""
    stopping: StoppingRule
    """Decides when there are enough samples."""
    limits: Limits = field(default_factory=Limits)
    """The limits."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each limit comes from."""
    basis: Basis | None = None
    """Figure of a percentile that must be within its limit; None is the 99% upper bound if there is one."""
    cold: int = 0
    """Number of cold starts to measure."""
    texts: Mapping[str, Path] = field(default_factory=dict)
    """Texts on which to measure the quality, by name."""
    target: BundleTarget | None = None
    """What the bundle was made for, to compare this machine with; None leaves that out."""

    def __post_init__(self) -> None:
        check_start_count(self.cold)
        self.limits.require_texts(self.texts)


def run(
    plan: BenchPlan,
    *,
    command: Sequence[str] | None = None,
    max_silence_s: float | None = None,
    monitor: MachineMonitor | None = None,
    progress: Progress = lambda samples: None,
) -> Report:
    """Measure in a new process and compare with the limits.

    Args:
        plan: What to measure.
        command: Command of the worker, for tests.
        max_silence_s: Maximum time without an event of the worker, in seconds.
        monitor: Reads the state of the machine, or of a simulated one.
        progress: Called with the number of samples so far; the calls come in groups, about once per second.

    Raises:
        BenchError: There is no complete measurement.
        BundleError: The bundle is invalid.
        TokenizerError: The tokenizer is invalid.
        UsageError: The worker cannot use a setting.
        CorpusError: A text cannot be read.
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
        target=plan.target,
    )
