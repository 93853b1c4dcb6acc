"""A whole bench: the worker measured, the machine watched, what else was asked for, then judged.

In: a Plan. Out: a Report.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tinyedge.bench.cold_start import cold_command, measure_starts, require_starts, waited_share
from tinyedge.bench.conditions import Watch
from tinyedge.bench.gate import Basis
from tinyedge.bench.limits import Limits
from tinyedge.bench.report import Report
from tinyedge.bench.stopping_rule import Stopping
from tinyedge.bench.worker import Job
from tinyedge.bench.worker_process import measure, worker_command
from tinyedge.bundle.bundle import bundle_digest, load_bundle
from tinyedge.core.errors import BenchError, UsageError
from tinyedge.host import machine

if TYPE_CHECKING:
    from tinyedge.text.evaluate import Quality

COLD_STARTS = 5  # where a limit asks for them and nobody says how many

Progress = Callable[[int], None]


@dataclass(frozen=True)
class BenchPlan:
    """What to measure and how to judge it.

    job: of the worker; its samples are the most it takes. stopping: when they are enough. limits, and where
    each is from. basis: what of a percentile is held against its limit; None is the bound where there is one.
    cold: whole starts. texts: files by name, to judge the quality on.
    """

    job: Job
    stopping: Stopping
    limits: Limits = field(default_factory=Limits)
    origins: Mapping[str, str] = field(default_factory=dict)
    basis: Basis | None = None
    cold: int = 0
    texts: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_starts(self.cold)
        if self.limits.max_bits_per_byte is not None and not self.texts:
            raise UsageError(
                "a limit of bits per byte needs --text, to judge the model on it", "add --text NAME=FILE"
            )


def run(
    plan: BenchPlan,
    *,
    command: Sequence[str] | None = None,
    silence_s: float | None = None,
    watch: Watch | None = None,
    progress: Progress = lambda samples: None,
) -> Report:
    """Measures in a fresh process and judges.

    command: the worker's, instead of the real one. silence_s: how long it may say nothing. watch: of another
    machine. progress: told the number of samples so far, in a burst about once a second.

    Raises BenchError when there is no whole measurement, and what the worker itself raised: BundleError,
    TokenizerError, UsageError; CorpusError for a text.
    """
    watch = watch or Watch()
    before = watch.look()

    def heard(samples: int) -> None:
        watch.glance()
        progress(samples)

    measurement = measure(plan.job, plan.stopping, command or worker_command(), silence_s, heard)
    conditions = watch.over(before)
    bundle = Path(plan.job.bundle)
    wanted = plan.cold or (COLD_STARTS if plan.limits.max_cold_start_s is not None else 0)
    starts = measure_starts(cold_command(bundle, plan.job.threads), wanted)
    quality: Sequence[Quality] = ()
    if starts or plan.texts:
        whole = load_bundle(bundle)
        if bundle_digest(whole) != measurement.bundle_sha256:
            raise BenchError(f"{bundle} was replaced while it was measured", "measure again")
        if plan.texts:
            from tinyedge.bench.quality import measure_quality

            quality = measure_quality(whole, plan.texts)
    return Report.of(
        measurement,
        plan.limits,
        machine.describe(watch.root, watch.vcgencmd),
        conditions,
        origins=plan.origins,
        basis=plan.basis,
        cold_starts_s=[seconds for seconds, _ in starts],
        cold_waited=waited_share(starts) if starts else 0.0,
        quality=quality,
    )
