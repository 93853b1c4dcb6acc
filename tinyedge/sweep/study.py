"""The study of a sweep: an Optuna study in a file, and which process works on which trial.

In: a search space. Out: points to try, and the results. Does not know how a trial is trained.

The study is a journal, not SQLite, so that machines that share the folder can share the study: SQLite's locks
do not work on NFS. A process locks the folder of its trial, and the kernel releases the lock when the process
dies. So a trial that is running according to the study but not locked has no process, and the next process
continues it. The point of trial n is a function of the seed, of n and of the earlier results: a sweep that
was killed and continued tries the same points.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import MedianPruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from tinyedge.core.errors import TinyEdgeError, UsageError
from tinyedge.sweep.search_space import WHOLE_NUMBERS, Categorical, Point, Range, Space, Value, list_grid

JOURNAL_FILE, LOCK_FILE, TRIAL_LOCK_FILE = "sweep.journal", "sweep.lock", "trial.lock"
MAX_ATTEMPTS = 3  # a trial whose process died this often is the cause, e.g. by its need of memory
RANDOM_TRIALS = 8  # before the search has enough results to learn from
PRUNING_MIN_TRIALS, PRUNING_MIN_SHARE = 5, 0.25  # finished trials, and share of the epochs, before pruning


@dataclass(frozen=True)
class Trial:
    """A trial as recorded in the study."""

    number: int
    """Number of the trial, from 0."""
    status: str
    """"finished", "pruned", "failed" or "running"."""
    point: Point
    """The values that it tries."""
    bits_per_byte: float | None
    """The result; of a pruned trial, the last one before it was pruned."""
    error: str | None
    """The reason why it failed."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        return get_folder_name(self.number)


class Claim:
    """A trial that this process works on until the block ends."""

    def __init__(
        self, study: optuna.Study, trial: optuna.Trial, folder: Path, lock: int, reported: Iterable[int]
    ) -> None:
        self.folder = folder
        self.point = _round_point(trial.params)
        self._study = study
        self._trial = trial
        self._lock = lock
        self._reported = set(reported)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        os.close(self._lock)

    def report(self, epoch: int, bits_per_byte: float) -> None:
        """Record the result after an epoch, from 1; a resumed run may report an epoch again."""
        if epoch - 1 not in self._reported:
            self._trial.report(bits_per_byte, epoch - 1)
            self._reported.add(epoch - 1)

    def is_hopeless(self) -> bool:
        """Whether the trial is worse than the median of those before it at this epoch."""
        return bool(self._trial.should_prune())  # otherwise a NumPy bool

    def finish(self, bits_per_byte: float) -> None:
        """Record the trial's result."""
        self._study.tell(self._trial, bits_per_byte)

    def prune(self) -> None:
        """Record that the trial was pruned."""
        self._study.tell(self._trial, state=TrialState.PRUNED)

    def fail(self, error: str) -> None:
        """Record that the trial cannot be run. The search treats it as one of the worst and so avoids it."""
        self._trial.set_user_attr("error", error)
        self._study.tell(self._trial, state=TrialState.PRUNED)

    def pause(self) -> None:
        """Record that the user stopped the trial, which does not count as an attempt."""
        self._trial.set_user_attr("attempts", 0)


class Study:
    """The trials of a folder, which any number of processes and machines may share."""

    def __init__(self, folder: Path, space: Space, search: str, seed: int, epochs: int) -> None:
        """Open or create the study.

        Raises:
            UsageError: `search` is "grid", and the space has a range.
            TinyEdgeError: The journal is damaged.
        """
        self._folder = folder
        self._space = space
        self._points = list_grid(space) if search == "grid" else None
        self._seed = seed
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with lock_folder(self._folder):
            self._study = _open_study(folder / JOURNAL_FILE)
        if self._points is None:  # a grid is for comparison, so its trials are never pruned
            self._study.pruner = MedianPruner(PRUNING_MIN_TRIALS, max(1, round(PRUNING_MIN_SHARE * epochs)))

    def join(self, identity: Mapping[str, Any]) -> None:
        """Record what all trials share, or compare it with what an earlier process recorded.

        Raises:
            UsageError: They differ.
        """
        with lock_folder(self._folder):
            known = self._study.user_attrs.get("identity")
            if known is None:
                self._study.set_user_attr("identity", dict(identity))
                return
        differences = [
            f"{key} {known.get(key)} there, {mine} here"
            for key, mine in identity.items()
            if known.get(key) != mine
        ]
        if differences:
            raise UsageError(
                f"{self._folder} contains another sweep: {'; '.join(differences)}",
                "pass the same options to continue it, or another --output-dir",
            )

    def claim(self, trials: int) -> Claim | None:
        """Return the next trial to work on; None if `trials`, or the complete grid, have been started."""
        if self._points is not None:
            trials = len(self._points)
        with lock_folder(self._folder):
            known = self._study.get_trials(deepcopy=False)
            for trial in known:
                if trial.state is TrialState.RUNNING and (claim := self._continue(trial)):
                    return claim
            if len(known) >= trials:
                return None
            self._study.sampler = self._sampler(len(known))
            return self._claim(self._study.ask(), attempts=1)

    def trials(self) -> list[Trial]:
        """All trials so far, in order."""
        return [_read_trial(trial) for trial in self._study.get_trials(deepcopy=False)]

    def _continue(self, trial: FrozenTrial) -> Claim | None:
        """Continue a trial whose process died; None if it is alive, or died too often."""
        attempts = trial.user_attrs.get("attempts", 0) + 1
        self._study.sampler = self._sampler(trial.number)
        claim = self._claim(optuna.Trial(self._study, trial._trial_id), attempts)
        if claim is None or attempts <= MAX_ATTEMPTS:
            return claim
        with claim:
            claim.fail(f"its process died {MAX_ATTEMPTS} times")
        return None

    def _claim(self, trial: optuna.Trial, attempts: int) -> Claim | None:
        """Lock the trial for this process; None if another process has it, or it has ended since."""
        folder = self._folder / get_folder_name(trial.number)
        folder.mkdir(exist_ok=True)
        try:
            lock = _acquire_lock(folder / TRIAL_LOCK_FILE, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        known = self._study.get_trials(deepcopy=False)[trial.number]
        if known.state is not TrialState.RUNNING:
            os.close(lock)
            return None
        trial.set_user_attr("attempts", attempts)
        for name, axis in self._space.items():
            _suggest(trial, name, axis)
        return Claim(self._study, trial, folder, lock, known.intermediate_values)

    def _sampler(self, number: int) -> BaseSampler:
        """Return the sampler that chooses the point of trial `number`."""
        if self._points is not None:
            return _FixedSampler(self._points[number])
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        # Optuna 5 has other defaults than 4; with these, a sweep draws the same points under both.
        return TPESampler(n_startup_trials=RANDOM_TRIALS, seed=seed, multivariate=False, constant_liar=False)


class _FixedSampler(BaseSampler):
    """Samples one fixed point."""

    def __init__(self, point: Point) -> None:
        self._point = point

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return no relative search space."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return no relative values."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the point's value."""
        return self._point[param_name]


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a sweep's folder while the block runs; other processes wait.

    If the block fails and there is no study yet, the lock file is removed.
    """
    path = folder / LOCK_FILE
    descriptor = _acquire_lock(path, fcntl.LOCK_EX)
    try:
        yield
    except BaseException:
        if not (folder / JOURNAL_FILE).exists():
            path.unlink()
        raise
    finally:
        os.close(descriptor)


def get_folder_name(number: int) -> str:
    """Return the name of a trial's folder."""
    return f"trial-{number:04d}"


def _open_study(path: Path) -> optuna.Study:
    lock = JournalFileOpenLock(str(path))
    if path.exists():
        _truncate_incomplete_line(path, lock)
    try:
        storage = JournalStorage(JournalFileBackend(str(path), lock))
        return optuna.create_study(
            storage=storage, study_name="sweep", pruner=NopPruner(), load_if_exists=True
        )
    except (ValueError, KeyError, TypeError) as failure:
        raise TinyEdgeError(f"{path} is damaged: {failure}", "pass another --output-dir") from None


def _truncate_incomplete_line(path: Path, lock: JournalFileOpenLock) -> None:
    """Remove a last line that a power cut left incomplete: an appended line would corrupt the journal."""
    lock.acquire()
    try:
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n") + 1)
    finally:
        lock.release()


def _acquire_lock(path: Path, kind: int) -> int:
    """Return a descriptor that holds the lock until it is closed. Raises BlockingIOError for LOCK_NB."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # NFS locks only what is open for writing
        try:
            fcntl.flock(descriptor, kind)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder has removed the file


def _suggest(trial: optuna.Trial, name: str, axis: Categorical | Range) -> None:
    """Give the trial a value, unless it has one."""
    if isinstance(axis, Categorical):
        trial.suggest_categorical(name, axis.values)
    elif name in WHOLE_NUMBERS:
        trial.suggest_int(name, int(axis.low), int(axis.high), log=axis.low > 0)
    else:
        trial.suggest_float(name, axis.low, axis.high, log=axis.low > 0)


def _round_point(params: Mapping[str, Value]) -> Point:
    """Round to three digits, so that a user can type the values that are trained."""
    return {
        name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in params.items()
    }


def _read_trial(trial: FrozenTrial) -> Trial:
    error = trial.user_attrs.get("error")
    status = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned"}.get(trial.state, "running")
    return Trial(
        trial.number,
        "failed" if error else status,
        _round_point(trial.params),
        None if error or trial.state is TrialState.RUNNING else trial.value,
        error,
    )
