"""Several processes, one run: torch's own process group, made from what torchrun says in the environment.

    torchrun --nproc-per-node 2 -m tinyedge train ...

Every process holds the whole model and the whole batch, computes its share of the rows, and DDP averages the
gradients, so that all hold equal weights (Li et al., "PyTorch Distributed", 2020). The first, rank 0, makes
corpus, tokenizer and shards, judges held-out text and writes every file; the others read what it made, so
several machines need one shared `--output-dir`. torchrun gives each process one thread unless
OMP_NUM_THREADS says otherwise.

A process that dies closes its connections, and with that ends the others; one that hangs, or whose machine is
gone, does so when a timeout has passed. One of those that are left says what happened.
"""

import contextlib
import datetime
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from tinyedge.core.errors import TrainingError

STEP_TIMEOUT = datetime.timedelta(minutes=10)  # for a step of the slowest process, and for saving
WAIT_TIMEOUT = datetime.timedelta(days=1)  # for what the first process does alone
FAILED_KEY = "tinyedge/failed"  # how many processes have had something to say

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """This process among those of its run.

    rank: from 0, over all machines. size: how many there are. local_rank: on this machine, its GPU's number.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    _patient: dist.ProcessGroup | None = None  # the same processes, with WAIT_TIMEOUT

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """Which of `rows` rows are this process's; none where there are fewer rows than processes."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def all_reduce_sum(self, value: float) -> float:
        """The sum of every process's `value`, the same to the last bit in each."""
        return self._reduced([value], dist.ReduceOp.SUM)[0]

    def all_reduce_max(self, *values: float) -> list[float]:
        """The largest that any process gave of each."""
        return self._reduced(list(values), dist.ReduceOp.MAX)

    def broadcast(self, value: T) -> T:
        """The first process's `value`, in all of them; the others wait for it, a day if need be."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._patient)
        return box[0]

    def _reduced(self, values: list[float], how: dist.ReduceOp.RedOpType) -> list[float]:
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)  # on the CPU: gloo carries it beside NCCL
        dist.all_reduce(tensor, how)
        return tensor.tolist()


ALONE = Group()  # the one process of an ordinary run


@contextlib.contextmanager
def join_process_group(device: torch.device) -> Iterator[Group]:
    """The group that torchrun started this process in, while the block runs; else a group of one.

    Ends the process in silence when another one of the group has told what went wrong. Raises TrainingError
    when another one has died, or when there are more processes here than GPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    store, rank, size = next(rendezvous("env://", timeout=STEP_TIMEOUT))
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        if device.type == "cuda":
            _take_gpu(local_rank)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=STEP_TIMEOUT)
        patient = dist.new_group(backend="gloo", timeout=WAIT_TIMEOUT)
        yield Group(rank, size, local_rank, patient)
        dist.barrier(patient)  # torchrun ends all when one ends with an error: the first must have written
    except BaseException as failure:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's, when it sees the other one's end
        if not _is_first_to_tell(store):
            raise SystemExit(getattr(failure, "exit_code", 1)) from None
        explained = _explained(failure)
        if explained is None:
            raise
        raise explained from None
    dist.destroy_process_group()


def _take_gpu(local_rank: int) -> None:
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise TrainingError(
            f"this machine has {count} GPU{'s' if count > 1 else ''}, fewer than processes",
            "pass a smaller --nproc-per-node to torchrun, or --device cpu",
        )
    torch.cuda.set_device(local_rank)


def _is_first_to_tell(store: Store) -> bool:
    try:
        return bool(store.add(FAILED_KEY, 1) == 1)
    except RuntimeError:  # the process that kept the store is dead
        return True


def _explained(failure: BaseException) -> TrainingError | None:
    """What torch or torchrun does to a process when another has died, in words; None for other failures."""
    hint = "torchrun's own lines say which; with --resume the run goes on from its last checkpoint"
    if isinstance(failure, SystemExit):
        return TrainingError("ended by a signal: by you, or because another process has died", hint)
    if isinstance(failure, dist.DistError) or (isinstance(failure, RuntimeError) and "gloo" in str(failure)):
        return TrainingError("another process of the run has died or no longer answers", hint)
    return None
