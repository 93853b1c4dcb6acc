"""The training step: one batch in, its loss out, the weights updated.

In: a batch, the step's number and the learning-rate factor. Out: the batch's loss. Does not know the tokens
on disk, epochs or files.

- `TrainingObjective`: model and loss (`methods.loss`), compiled where that is faster.
- `TrainStep`: forward and backward passes, gradient clipping, optimizer step (`methods.optimizer`).
"""

import contextlib
import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tinyedge.train.data import Batch, Layout
from tinyedge.train.distributed import SINGLE_PROCESS, Group
from tinyedge.train.hardware import Hardware
from tinyedge.train.methods.composed_rows import EmbeddingTables
from tinyedge.train.methods.distillation import Teacher
from tinyedge.train.methods.features import Features
from tinyedge.train.methods.loss import output_cross_entropy, smoothing_penalty
from tinyedge.train.methods.optimizer import Optimizers
from tinyedge.train.methods.sampled_softmax import Candidates, CandidateSampler
from tinyedge.train.methods.weight_average import WeightAverage
from tinyedge.train.model import TinyTransformer
from tinyedge.train.recipe import TrainConfig

# The sampled softmax gives a slightly low loss, so the last steps, whose learning rate is below this share of
# the peak, compute the full softmax. docs/log.md has its cost and its gain.
FULL_SOFTMAX_BELOW = 0.15
TIMED_RATE = 0.5  # learning-rate factor of timed steps: with the sampled softmax, as most of a run


class TrainingObjective(nn.Module):
    """The model, its embedding tables and its loss, in one module so that DDP can wrap all of it.

    Args:
        model: Model to train.
        features: Features of each piece, for tables whose rows share parts; None for plain tables.
        hardware: Device and number format.
        teacher: Model that predicts a share of the targets; None for none.
    """

    def __init__(
        self,
        model: TinyTransformer,
        features: Features | None,
        hardware: Hardware,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self._teacher = teacher  # not a module: it is not trained
        self.tables = EmbeddingTables(model, features)
        self.model = model
        self._hardware = hardware
        self._compiled: Callable[..., Tensor] = model.body
        self._compiled_sizes: set[int] = set()

    def compile_body(self, sizes: set[int], device: torch.device, is_packed: bool = False) -> bool:
        """Compile the blocks between the two tables for certain batch sizes.

        Other sizes, such as an epoch's short last batch, run uncompiled: compiling takes longer than that.

        Args:
            sizes: Numbers of rows to compile for.
            device: Device of the batches.
            is_packed: Whether batches have a layout.

        Returns:
            Whether it succeeded. If not, training works without.
        """
        length, width = self.model.config.max_seq_length, self.model.config.d_model
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler warns of torch's own code
                torch.compiler.reset()  # torch keeps only a few compiled shapes for each process
                # Code for dynamic shapes rounds differently from code for one shape, and torch would use it
                # for all batches once two sizes occur. On a GPU, kernels would be chosen by their measured
                # speed, in each process anew; "deterministic" turns that off.
                self._compiled = torch.compile(
                    self.model.body, dynamic=False, options={"deterministic": True}
                )
                self._compiled_sizes = sizes
                for rows in sizes:  # with a gradient, as in training: torch compiles other code without one
                    example = torch.zeros(rows, length, width, device=device, requires_grad=True)
                    layout = make_example_layout(rows, length, device) if is_packed else None
                    self._run_body(example, layout).sum().backward()
        except Exception:  # a compiler may raise anything
            self._compiled_sizes = set()
        self.zero_grad(set_to_none=True)
        return bool(self._compiled_sizes)

    def _run_body(self, rows: Tensor, layout: Layout | None) -> Tensor:
        body = self._compiled if len(rows) in self._compiled_sizes else self.model.body
        with self._hardware.autocast():
            return body(rows, layout.positions, layout.segments) if layout else body(rows)

    def forward(self, batch: Batch, candidates: Candidates | None, smoothing: float) -> Tensor:
        """Compute the loss of a batch.

        Args:
            batch: Inputs and targets, (B, T) each.
            candidates: Pieces that the softmax runs over; None for all.
            smoothing: Share of each target that goes to the batch's alternatives, if it has any.

        Returns:
            Nats per token, a scalar.
        """
        embedding, rows = self.tables(candidates.ids if candidates else None)
        log_weights = soft = None
        if self._teacher:
            ids = candidates.ids if candidates else None
            soft = self._teacher.predict(batch.inputs, ids, batch.layout)
        if candidates:
            batch, log_weights = batch.remap(candidates.index_of), candidates.log_weights
        layout = batch.layout
        hidden = self._run_body(F.embedding(batch.inputs, embedding), layout)
        targets = batch.targets
        if layout:
            hidden, targets = hidden[layout.counted], targets[layout.counted]  # (N, D), (N,)
        loss = output_cross_entropy(hidden, rows, targets, self._hardware.dtype, log_weights, soft)
        if batch.alternatives is not None:
            loss = loss + smoothing * smoothing_penalty(hidden, rows, batch.targets, batch.alternatives)
        return loss


def make_example_layout(rows: int, length: int, device: torch.device) -> Layout:
    """Return a layout in which each row is one conversation."""
    positions = torch.arange(length, device=device).repeat(rows, 1)
    return Layout(positions, torch.zeros_like(positions), torch.ones_like(positions, dtype=torch.bool))


class TrainStep:
    """Updates a model, batch by batch. All randomness is determined by the seed and the step's number.

    Args:
        model: Model to train; it is moved to the device.
        config: Recipe and its parameters.
        hardware: Device and number format.
        group: Processes of the run.
        sampler: Samples the pieces of each step's softmax; None for the full softmax.
        features: Features of each piece, for tables whose rows share parts; None for plain tables.
        rows: Rows of a full batch, if the text has fewer than `config.batch_size`.
        is_packed: Whether batches have a layout.
        teacher: Model that predicts a share of the targets; None for none.
    """

    def __init__(
        self,
        model: TinyTransformer,
        config: TrainConfig,
        hardware: Hardware,
        group: Group = SINGLE_PROCESS,
        sampler: CandidateSampler | None = None,
        features: Features | None = None,
        rows: int | None = None,
        is_packed: bool = False,
        teacher: Teacher | None = None,
    ) -> None:
        self.model = model.to(hardware.device)
        self._config = config
        self._hardware = hardware
        self._group = group
        self._sampler = sampler
        objective = TrainingObjective(model, features, hardware, teacher).to(hardware.device)
        self._tables = objective.tables
        self._objective: nn.Module = objective
        self.is_compiled = False
        if hardware.use_compile:
            sizes = {part.stop - part.start for part in self._micro_batches(rows or config.batch_size)[0]}
            self.is_compiled = objective.compile_body(sizes, hardware.device, is_packed)
        if group.size > 1:
            self._objective = DistributedDataParallel(objective)  # broadcasts the main process's weights
            self._objective.broadcast_buffers = False  # they are constants
        exponent = config.average_exponent
        trained = {name: value for name, value in objective.named_parameters() if value.requires_grad}
        self._average = WeightAverage(trained, exponent) if exponent else None
        on_gpu = hardware.device.type == "cuda"
        self._optimizers = Optimizers(objective, config, hardware.dtype if on_gpu else torch.float32)

    def run(self, batch: Batch, step: int, rate_factor: float) -> tuple[float, float]:
        """Run one step: loss, gradients, optimizer.

        Args:
            batch: The complete batch, in every process of the run.
            step: Number of the step, from 0 at the start of the run.
            rate_factor: Learning rate as a share of its peak.

        Returns:
            The batch's mean loss in nats per token, and AdamW's learning rate.
        """
        device = self._hardware.device
        candidates = None
        if self._sampler and rate_factor > FULL_SOFTMAX_BELOW:
            candidates = self._sampler.draw(batch.tokens, (self._config.seed << 32) + step).to(device)
        smoothing = self._config.smoothing * rate_factor
        mean = 0.0
        parts, has_rows = self._micro_batches(len(batch.inputs))
        for part in parts:
            weight = batch.share(part) if has_rows else 0.0
            with contextlib.nullcontext() if part is parts[-1] else self._no_gradient_sync():
                loss = self._objective(batch.select(part, device), candidates, smoothing) * weight
                (loss * self._group.size).backward()  # DDP divides the gradients by it
            mean += loss.item()
        if self._config.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters(), self._config.clip_norm)
        rate = self._optimizers.step(rate_factor)
        if self._average:
            self._average.update(step + 1)
        return self._group.all_reduce_sum(mean), rate

    @property
    def has_average(self) -> bool:
        """Whether the recipe averages the weights."""
        return self._average is not None

    def measure_speed(self, batch: Batch, steps: int) -> float:
        """Run steps with a batch and return the predicted tokens per second."""
        self.run(batch, 0, TIMED_RATE)  # the first step warms up
        start = time.perf_counter()
        for step in range(1, steps + 1):
            self.run(batch, step, TIMED_RATE)
        return steps * batch.predictions / (time.perf_counter() - start)

    @contextlib.contextmanager
    def evaluated_weights(self, averaged: bool) -> Iterator[None]:
        """Give the model the weights to evaluate and to save, for the time of a `with`.

        Args:
            averaged: Whether they are the average, if the recipe has one.
        """
        with self._average.applied() if self._average and averaged else contextlib.nullcontext():
            self.materialize()
            yield

    def materialize(self) -> None:
        """Write the tables into the model's own weights. Call it before using the model."""
        self._tables.materialize()

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return all trained parameters: the model's weights, or the parts that its tables consist of."""
        return self._objective.parameters()

    def optimizer_state_dict(self) -> dict[str, Any]:
        """Return the state of each optimizer, by name."""
        return self._optimizers.state_dict()

    def tables_state_dict(self) -> dict[str, Any]:
        """Return the parts of the tables. All other parameters are in the model's own state."""
        return self._tables.state_dict()

    def other_state_dict(self) -> dict[str, Tensor]:
        """Return the weights that are not evaluated, by name; empty without an average."""
        return self._average.other_state_dict() if self._average else {}

    def load_state_dicts(self, optimizers: object, tables: object, others: object, averaged: bool) -> None:
        """Restore the optimizers, the tables and the other weights, after the model's own weights.

        Args:
            optimizers: What `optimizer_state_dict` returned.
            tables: What `tables_state_dict` returned.
            others: What `other_state_dict` returned.
            averaged: Whether the evaluated weights were the average.

        Raises:
            KeyError, TypeError, ValueError: They belong to another run.
        """
        self._optimizers.load_state_dict(optimizers)
        self._tables.restore(tables)
        if self._average:
            self._average.restore(others, averaged)

    def _micro_batches(self, rows: int) -> tuple[list[slice], bool]:
        """Split this process's rows into micro-batches.

        The loss of a micro-batch is weighted with its share of the batch. A process without rows computes one
        row with weight zero, because the other processes wait for its gradient.

        Returns:
            The micro-batches, and whether they are rows of this process.
        """
        local = self._group.local_rows(rows)
        count = local.stop - local.start
        if not count:
            return [slice(0, 1)], False
        parts = min(self._config.grad_accumulation, count)
        borders = [local.start + count * part // parts for part in range(parts + 1)]
        return [slice(a, b) for a, b in itertools.pairwise(borders)], True

    def _no_gradient_sync(self) -> contextlib.AbstractContextManager[None]:
        """Accumulate gradients locally, without exchanging them between processes."""
        if isinstance(self._objective, DistributedDataParallel):
            return self._objective.no_sync()
        return contextlib.nullcontext()
