"""The memory of a sweep: an Optuna study in a file, and who is at work on which trial.

The study is a journal, not SQLite, so that machines that share the folder share the study: SQLite's locks do
not hold on NFS. A trial under way is locked in its folder, and the kernel lets go of a lock when its process
dies. So a trial that is running by the study and not locked is nobody's, and the next process takes it up.
What trial n tries is a function of the seed, of n and of the results before it: a sweep that was killed tries
what it would have tried.
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
ATTEMPTS = 3  # a trial whose process died so often is the reason for it, as when memory is short
RANDOM_TRIALS = 8  # before the search has enough to learn from
PRUNED_AFTER, PRUNED_FROM = 5, 0.25  # whole trials, and share of the epochs, before any is cut short


@dataclass(frozen=True)
class Trial:
    """What the study knows of a trial. status: "finished", "pruned", "failed" or "running".

    bits_per_byte: the result, or the last that a pruned trial reached. error: why it failed.
    """

    number: int
    status: str
    point: Point
    bits_per_byte: float | None
    error: str | None

    @property
    def name(self) -> str:
        """Of its folder."""
        return folder_name(self.number)


class Claim:
    """A trial that this process works on, until the block ends."""

    def __init__(
        self, study: optuna.Study, trial: optuna.Trial, folder: Path, lock: int, reported: Iterable[int]
    ) -> None:
        self.folder = folder
        self.point = _point(trial.params)
        self._study = study
        self._trial = trial
        self._lock = lock
        self._reported = set(reported)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        os.close(self._lock)

    def report(self, epoch: int, bits_per_byte: float) -> None:
        """What the trial reached after an epoch, from 1; said again by a resumed run, it is not news."""
        if epoch - 1 not in self._reported:
            self._trial.report(bits_per_byte, epoch - 1)
            self._reported.add(epoch - 1)

    def is_hopeless(self) -> bool:
        """Whether the trial is worse than the median of those before it at this epoch."""
        return bool(self._trial.should_prune())  # numpy's, else

    def finish(self, bits_per_byte: float) -> None:
        """The trial's result."""
        self._study.tell(self._trial, bits_per_byte)

    def prune(self) -> None:
        """The trial was cut short."""
        self._study.tell(self._trial, state=TrialState.PRUNED)

    def fail(self, error: str) -> None:
        """The trial cannot be run. The search takes it for one of the worst, so that it learns from it."""
        self._trial.set_user_attr("error", error)
        self._study.tell(self._trial, state=TrialState.PRUNED)

    def pause(self) -> None:
        """The trial was stopped by its user, who may do so as often as they like."""
        self._trial.set_user_attr("attempts", 0)


class Study:
    """The trials of a folder. Any number of processes, on any number of machines, may hold one."""

    def __init__(self, folder: Path, space: Space, search: str, seed: int, epochs: int) -> None:
        """Raises UsageError for a grid that cannot be one, TinyEdgeError for a damaged journal."""
        self._folder = folder
        self._space = space
        self._points = list_grid(space) if search == "grid" else None
        self._seed = seed
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with locked(self._folder):
            self._study = _open(folder / JOURNAL_FILE)
        if self._points is None:  # a grid is for comparing, so all of it is run to the end
            self._study.pruner = MedianPruner(PRUNED_AFTER, max(1, round(PRUNED_FROM * epochs)))

    def join(self, identity: Mapping[str, Any]) -> None:
        """Says what all trials have in common. Raises UsageError where an earlier process said otherwise."""
        with locked(self._folder):
            known = self._study.user_attrs.get("identity")
            if known is None:
                self._study.set_user_attr("identity", dict(identity))
                return
        odd = [
            f"{key} {known.get(key)} there, {mine} here"
            for key, mine in identity.items()
            if known.get(key) != mine
        ]
        if odd:
            raise UsageError(
                f"{self._folder} holds another sweep: {'; '.join(odd)}",
                "give the same flags to go on with it, or another --output-dir",
            )

    def claim(self, trials: int) -> Claim | None:
        """The next trial to work on, or None: `trials` of them, or all of the grid, are done or under way."""
        if self._points is not None:
            trials = len(self._points)
        with locked(self._folder):
            known = self._study.get_trials(deepcopy=False)
            for trial in known:
                if trial.state is TrialState.RUNNING and (claim := self._take_up(trial)):
                    return claim
            if len(known) >= trials:
                return None
            self._study.sampler = self._sampler(len(known))
            return self._claim(self._study.ask(), attempts=1)

    def trials(self) -> list[Trial]:
        """All trials so far, in order."""
        return [_trial(trial) for trial in self._study.get_trials(deepcopy=False)]

    def _take_up(self, trial: FrozenTrial) -> Claim | None:
        """Goes on with a trial whose process died; None where it lives, or died too often."""
        attempts = trial.user_attrs.get("attempts", 0) + 1
        self._study.sampler = self._sampler(trial.number)
        claim = self._claim(optuna.Trial(self._study, trial._trial_id), attempts)
        if claim is None or attempts <= ATTEMPTS:
            return claim
        with claim:
            claim.fail(f"its process died {ATTEMPTS} times")
        return None

    def _claim(self, trial: optuna.Trial, attempts: int) -> Claim | None:
        """The trial as this process's own; None where it is another's, or was told in the meantime."""
        folder = self._folder / folder_name(trial.number)
        folder.mkdir(exist_ok=True)
        try:
            lock = _lock(folder / TRIAL_LOCK_FILE, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
        """Who says what trial `number` tries."""
        if self._points is not None:
            return _Given(self._points[number])
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        return TPESampler(n_startup_trials=RANDOM_TRIALS, seed=seed)


class _Given(BaseSampler):
    """Tries the point that it was given."""

    def __init__(self, point: Point) -> None:
        self._point = point

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._point[param_name]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lets one process at a time decide in a sweep's folder; the others wait.

    Where the block fails and there is no study yet, no lock is left either.
    """
    path = folder / LOCK_FILE
    descriptor = _lock(path, fcntl.LOCK_EX)
    try:
        yield
    except BaseException:
        if not (folder / JOURNAL_FILE).exists():
            path.unlink()
        raise
    finally:
        os.close(descriptor)


def folder_name(number: int) -> str:
    """Of a trial's folder."""
    return f"trial-{number:04d}"


def _open(path: Path) -> optuna.Study:
    lock = JournalFileOpenLock(str(path))
    if path.exists():
        _mend(path, lock)
    try:
        storage = JournalStorage(JournalFileBackend(str(path), lock))
        return optuna.create_study(
            storage=storage, study_name="sweep", pruner=NopPruner(), load_if_exists=True
        )
    except (ValueError, KeyError, TypeError) as failure:
        raise TinyEdgeError(f"{path} is damaged: {failure}", "give another --output-dir") from None


def _mend(path: Path, lock: JournalFileOpenLock) -> None:
    """Cuts off a last line that a power cut left half-written: the next would make it unreadable for good."""
    lock.acquire()
    try:
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n") + 1)
    finally:
        lock.release()


def _lock(path: Path, kind: int) -> int:
    """A descriptor that holds the lock until it is closed. Raises BlockingIOError if it must not wait."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # NFS locks only what is open for writing
        try:
            fcntl.flock(descriptor, kind)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # who held it took the file away


def _suggest(trial: optuna.Trial, name: str, axis: Categorical | Range) -> None:
    """Gives the trial a value, unless it has one."""
    if isinstance(axis, Categorical):
        trial.suggest_categorical(name, axis.values)
    elif name in WHOLE_NUMBERS:
        trial.suggest_int(name, int(axis.low), int(axis.high), log=axis.low > 0)
    else:
        trial.suggest_float(name, axis.low, axis.high, log=axis.low > 0)


def _point(params: Mapping[str, Value]) -> Point:
    """Rates to three digits: what is trained is what a person can type."""
    return {
        name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in params.items()
    }


def _trial(trial: FrozenTrial) -> Trial:
    error = trial.user_attrs.get("error")
    status = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned"}.get(trial.state, "running")
    return Trial(
        trial.number,
        "failed" if error else status,
        _point(trial.params),
        None if error or trial.state is TrialState.RUNNING else trial.value,
        error,
    )
