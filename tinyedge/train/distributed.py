"""Several processes in one run: torch's process group, created from the environment that torchrun sets.

    torchrun --nproc-per-node 2 -m tinyedge train ...

Each process holds the complete model and the complete batch, and computes its share of the rows. DDP averages
the gradients, so that all processes have equal weights (Li et al., "PyTorch Distributed", 2020). The main
process, rank 0, prepares corpus, tokenizer and shards, validates and writes all files. The others read its
files, so several machines need one shared `--output-dir`. torchrun gives each process one thread unless
OMP_NUM_THREADS is set.

A process that dies closes its connections, which ends the others. A process that hangs, or whose machine is
gone, ends the others after a timeout. One of the remaining processes reports what happened.
"""

import contextlib
import datetime
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from tinyedge.core.errors import TrainingError

STEP_TIMEOUT = datetime.timedelta(minutes=10)  # for a step of the slowest process, and for saving
WAIT_TIMEOUT = datetime.timedelta(days=1)  # for work that the main process does alone
MAX_PROCESSES = 4096
TORCHRUN_HINT = "start several processes with torchrun, which sets it; unset WORLD_SIZE for a single process"
FAILED_KEY = "tinyedge/failed"  # counts the processes that had an error to report

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """The processes of a run, as seen by one of them."""

    rank: int = 0
    """Number of this process, from 0, over all machines."""

    size: int = 1
    """Number of processes."""

    local_rank: int = 0
    """Number of this process on its machine, which is also the number of its GPU."""

    _waiting_group: dist.ProcessGroup | None = None  # the same processes, with WAIT_TIMEOUT

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def local_rows(self, rows: int) -> slice:
        """Return this process's part of `rows` rows. It is empty where rows are fewer than processes."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def all_reduce_sum(self, value: float) -> float:
        """Return the sum over all processes, equal to the last bit in each."""
        return self._all_reduce([value], dist.ReduceOp.SUM)[0]

    def all_reduce_max(self, *values: float) -> list[float]:
        """Return the maximum over all processes of each value."""
        return self._all_reduce(list(values), dist.ReduceOp.MAX)

    def broadcast(self, value: T) -> T:
        """Return the main process's `value` in all processes. They wait for it up to `WAIT_TIMEOUT`."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._waiting_group)
        return box[0]

    def _all_reduce(self, values: list[float], operation: dist.ReduceOp.RedOpType) -> list[float]:
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)  # on the CPU, where gloo reduces it also with NCCL
        dist.all_reduce(tensor, operation)
        return tensor.tolist()


SINGLE_PROCESS = Group()  # of a run without torchrun


@contextlib.contextmanager
def join_process_group(device: torch.device) -> Iterator[Group]:
    """Join the group of processes that torchrun started, for a block.

    A process that fails after another one has reported an error exits without a message of its own.

    Args:
        device: Device that the processes compute on.

    Yields:
        The group, or `SINGLE_PROCESS` without torchrun.

    Raises:
        TrainingError: The environment is not one that torchrun sets, another process has died, or this
            machine has fewer GPUs than processes.
    """
    size = _read_number("WORLD_SIZE", 1, MAX_PROCESSES, default=1)
    if size == 1:
        yield SINGLE_PROCESS
        return
    rank = _read_number("RANK", 0, size - 1)
    local_rank = _read_number("LOCAL_RANK", 0, size - 1, default=0)
    port = _read_number("MASTER_PORT", 1, 65535)
    try:
        # torch repeats an unknown name until the timeout, and receives no signal meanwhile.
        socket.getaddrinfo(os.environ.get("MASTER_ADDR") or "", port)
        store, _, _ = next(rendezvous("env://", timeout=STEP_TIMEOUT))
    except (dist.DistError, RuntimeError, ValueError, OSError):
        address = os.environ.get("MASTER_ADDR", "")
        raise TrainingError(
            f"the processes of the run cannot meet at MASTER_ADDR {address!r:.80}, port {port}", TORCHRUN_HINT
        ) from None
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        if device.type == "cuda":
            _set_gpu(local_rank)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=STEP_TIMEOUT)
        waiting_group = dist.new_group(backend="gloo", timeout=WAIT_TIMEOUT)
        yield Group(rank, size, local_rank, waiting_group)
        # torchrun ends all processes once one ends with an error: wait until the main one has written.
        dist.barrier(waiting_group)
    except BaseException as failure:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun sends it when another process has ended
        if not _is_first_failure(store):
            raise SystemExit(getattr(failure, "exit_code", 1)) from None
        explained = _explain_failure(failure)
        if explained is None:
            raise
        raise explained from None
    dist.destroy_process_group()


def _read_number(name: str, low: int, high: int, default: int | None = None) -> int:
    """Return a whole number of the environment. Raise TrainingError if it is missing or out of range."""
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    if not (text and text.isascii() and text.isdigit() and len(text) < 6 and low <= int(text) <= high):
        found = "not set" if text is None else f"{text!r:.40}"
        raise TrainingError(
            f"the environment variable {name} is {found}, expected a number from {low} to {high}",
            TORCHRUN_HINT,
        )
    return int(text)


def _set_gpu(local_rank: int) -> None:
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise TrainingError(
            f"this machine has {count} GPU{'s' if count > 1 else ''}, fewer than processes",
            "pass a smaller --nproc-per-node to torchrun, or --device cpu",
        )
    torch.cuda.set_device(local_rank)


def _is_first_failure(store: Store) -> bool:
    try:
        return bool(store.add(FAILED_KEY, 1) == 1)
    except RuntimeError:  # the process that held the store is dead
        return True


def _explain_failure(failure: BaseException) -> TrainingError | None:
    """Translate what torch or torchrun does to a process when another has died; None for other failures."""
    hint = "the messages of torchrun name it; pass --resume to continue from the last checkpoint"
    if isinstance(failure, SystemExit):
        return TrainingError("ended by a signal: from you, or because another process has died", hint)
    if isinstance(failure, dist.DistError) or (isinstance(failure, RuntimeError) and "gloo" in str(failure)):
        return TrainingError("another process of the run has died or no longer responds", hint)
    return None
