"""One optimizer step: a batch in, its loss out, the weights moved.

Knows the model, its loss, its optimizers, the hardware and the other processes of the run; no tokens on disk,
no epochs, no files.
"""

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tinyedge.train.data import Batch
from tinyedge.train.distributed import ALONE, Group
from tinyedge.train.hardware import Hardware
from tinyedge.train.methods.composed_rows import EmbeddingTables
from tinyedge.train.methods.features import Features
from tinyedge.train.methods.loss import output_cross_entropy, smoothing_gap
from tinyedge.train.methods.optimizer import Optimizers
from tinyedge.train.methods.sampled_softmax import Candidates, CandidateSampler
from tinyedge.train.model import TinyTransformer
from tinyedge.train.recipe import TrainConfig

# The estimate of the softmax is a little low, so the last steps, at less than this share of the peak rate,
# compute it whole: what it costs and brings is in docs/log.md.
WHOLE_SOFTMAX_BELOW = 0.15


class Objective(nn.Module):
    """The model, its tables as they are learned, and its loss: one module, which is what DDP wraps."""

    def __init__(self, model: TinyTransformer, features: Features | None, hardware: Hardware) -> None:
        super().__init__()
        self.tables = EmbeddingTables(model, features)
        self.model = model
        self._hardware = hardware
        self._compiled: Callable[[Tensor], Tensor] = model.body
        self._sizes: set[int] = set()

    def compile_body(self, sizes: set[int], device: torch.device) -> bool:
        """Compiles what lies between the tables for these numbers of rows; does without where that fails.

        Others, an epoch's short last batch, are computed as they are: to compile takes longer than that.
        """
        length, width = self.model.config.max_seq_length, self.model.config.d_model
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler's, of torch's own parts
                torch.compiler.reset()  # of what a process has compiled, only some shapes are kept
                # Code for any shape computes other last bits than code for one, and would serve all batches
                # where sizes differ; on a GPU kernels would be chosen by their speed, anew in each process.
                self._compiled = torch.compile(
                    self.model.body, dynamic=False, options={"deterministic": True}
                )
                self._sizes = sizes
                for rows in sizes:  # they want a gradient, as a batch's do: code for others is of no use
                    example = torch.zeros(rows, length, width, device=device, requires_grad=True)
                    self._hidden(example).sum().backward()  # type: ignore[no-untyped-call]
        except Exception:  # whatever a compiler may raise, training goes on without it
            self._sizes = set()
        self.zero_grad(set_to_none=True)
        return bool(self._sizes)

    def _hidden(self, rows: Tensor) -> Tensor:
        device, dtype = self._hardware.device, self._hardware.dtype
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            return self._compiled(rows) if len(rows) in self._sizes else self.model.body(rows)

    def forward(self, batch: Batch, candidates: Candidates | None, smoothing: float) -> Tensor:
        """Nats per token, a scalar; the softmax runs over `candidates`.

        smoothing: the share of each target that the batch's `others` get, where it has some.
        """
        embedding, rows = self.tables(candidates.ids if candidates else None)
        log_weights = None
        if candidates:
            batch, log_weights = batch.renamed(candidates.place), candidates.log_weights
        hidden = self._hidden(F.embedding(batch.inputs, embedding))
        loss = output_cross_entropy(hidden, rows, batch.targets, self._hardware.dtype, log_weights)
        if batch.others is not None:
            loss = loss + smoothing * smoothing_gap(hidden, rows, batch.targets, batch.others)
        return loss


class Learner:
    """A model that learns, batch by batch. All randomness is a function of (seed, step).

    sampler: draws the pieces of each step's softmax; None computes it whole. features: of each piece, for
    tables whose rows share parts; None leaves each row to itself. rows: of a whole batch, where a text has
    fewer than the config says.
    """

    def __init__(
        self,
        model: TinyTransformer,
        config: TrainConfig,
        hardware: Hardware,
        group: Group = ALONE,
        sampler: CandidateSampler | None = None,
        features: Features | None = None,
        rows: int | None = None,
    ) -> None:
        self.model = model.to(hardware.device)
        self._config = config
        self._hardware = hardware
        self._group = group
        self._sampler = sampler
        objective = Objective(model, features, hardware).to(hardware.device)
        self._tables = objective.tables
        self._objective: nn.Module = objective
        self.compiled = False
        if hardware.compiles:
            sizes = {part.stop - part.start for part, _ in self._parts(rows or config.batch_size)}
            self.compiled = objective.compile_body(sizes, hardware.device)
        if group.size > 1:
            self._objective = DistributedDataParallel(objective)  # the first's weights go to all
            self._objective.broadcast_buffers = False  # they are constants
        on_gpu = hardware.device.type == "cuda"
        self._optimizers = Optimizers(objective, config, hardware.dtype if on_gpu else torch.float32)

    def learn(self, batch: Batch, step: int, rate_factor: float) -> tuple[float, float]:
        """One step on a batch, the whole one in every process of the run.

        step: counts from the run's begin, from 0. rate_factor: share of the peak learning rates.

        Returns the batch's mean loss in nats per token and AdamW's learning rate.
        """
        device = self._hardware.device
        candidates = None
        if self._sampler and rate_factor > WHOLE_SOFTMAX_BELOW:
            candidates = self._sampler.draw(batch.tokens, (self._config.seed << 32) + step).to(device)
        smoothing = self._config.smoothing * rate_factor
        mean = 0.0
        parts = self._parts(len(batch.inputs))
        for part, weight in parts:
            with contextlib.nullcontext() if part is parts[-1][0] else self._unshared():
                loss = self._objective(batch.part(part, device), candidates, smoothing) * weight
                (loss * self._group.size).backward()  # DDP divides by it
            mean += loss.item()
        if self._config.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters(), self._config.clip_norm)
        return self._group.all_reduce_sum(mean), self._optimizers.step(rate_factor)

    def fold(self) -> None:
        """Makes the model's own tables what has been learned; before it is judged or saved."""
        self._tables.fold()

    def parameters(self) -> Iterator[nn.Parameter]:
        """All that is learned: the model's weights, or the parts that its tables are made of."""
        return self._objective.parameters()

    def optimizer_state_dict(self) -> dict[str, Any]:
        """The optimizers' state, by name."""
        return self._optimizers.state_dict()

    def tables_state_dict(self) -> dict[str, Any]:
        """What the tables are composed of; all else that is learned is in the model's own weights."""
        return self._tables.state_dict()

    def load_state_dicts(self, optimizers: object, tables: object) -> None:
        """Restores both. Raises KeyError, TypeError or ValueError when they are another run's."""
        self._optimizers.load_state_dict(optimizers)
        self._tables.restore(tables)

    def _parts(self, rows: int) -> list[tuple[slice, float]]:
        """This process's rows in micro-batches, each with its share of the batch, by which its loss counts.

        One that has no rows computes one for nothing, because the others wait for its gradient.
        """
        share = self._group.share(rows)
        count = share.stop - share.start
        if not count:
            return [(slice(0, 1), 0.0)]
        pieces = min(self._config.grad_accumulation, count)
        borders = [share.start + count * piece // pieces for piece in range(pieces + 1)]
        return [(slice(a, b), (b - a) / rows) for a, b in itertools.pairwise(borders)]

    def _unshared(self) -> contextlib.AbstractContextManager[None]:
        """While it is open, gradients add up here and do not travel."""
        if isinstance(self._objective, DistributedDataParallel):
            return self._objective.no_sync()
        return contextlib.nullcontext()
