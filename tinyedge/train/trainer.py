"""The training loop: runs steps, validates after each epoch, saves checkpoints.

In: a configuration, shards and a run folder. Out: checkpoints in the folder, and events sent to a Reporter.
Prints nothing. The training step (loss, gradients, optimizer) is in `step`.

All numbers of a run are determined by its configuration, its tokens and the machine. A run that was
interrupted and resumed therefore ends with the same weights as an uninterrupted one. A time limit is the
exception: its learning-rate schedule follows the clock.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import CheckpointError, TrainingError
from tinyedge.text.evaluate import Quality
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.train.batches import make_batches
from tinyedge.train.budget import TimeBudget
from tinyedge.train.distributed import SINGLE_PROCESS, Group
from tinyedge.train.hardware import Hardware, enable_determinism
from tinyedge.train.limits import Outcome, RunLimits
from tinyedge.train.methods.distillation import Teacher
from tinyedge.train.methods.features import build_features
from tinyedge.train.methods.init_local_heads import init_local_heads
from tinyedge.train.methods.sampled_softmax import make_candidate_sampler
from tinyedge.train.model import TinyTransformer
from tinyedge.train.model_id import compute_model_id
from tinyedge.train.pace import Pace
from tinyedge.train.recipe import AUGMENTED_SHARE, TrainConfig
from tinyedge.train.report.advice import advise, divergence_error
from tinyedge.train.report.reporter import Progress, Reporter
from tinyedge.train.report.run_summary import summarize
from tinyedge.train.report.sample import SampleSeries
from tinyedge.train.state import EpochRecord, State
from tinyedge.train.step import TrainStep
from tinyedge.train.stop_signals import StopSignals
from tinyedge.train.storage import checkpoint
from tinyedge.train.validation import choose_spacing, validate
from tinyedge.train.weight_choice import WeightChoice

EPOCHS_PER_CHECKPOINT = 5  # the guide's value
TRACE_POINTS = 200  # approximate number of points in the training curve of a complete run
ADVICE_STEP = 50  # step of an epoch after which its speed is known and most of it remains


class Trainer:
    """One training run in one folder.

    Args:
        model_config: Shape of the model.
        config: Recipe and its parameters.
        shards: Tokens to train and to validate on.
        tokenizer: Tokenizer that made the shards.
        hardware: Device and number format.
        folder: Run folder, which receives the checkpoints.
        reporter: Receives progress, epoch records, samples and notes.
        group: Processes of the run.
        weights: Weights that the run begins with; None for random ones.
        old: Token files of the run that they come from, of which a part is repeated; None for none.
        teacher: Trained model of the same vocabulary that the model learns from too; None for none.
    """

    def __init__(
        self,
        model_config: ModelConfig,
        config: TrainConfig,
        shards: Shards,
        tokenizer: Tokenizer,
        hardware: Hardware,
        folder: Path,
        reporter: Reporter,
        group: Group = SINGLE_PROCESS,
        weights: Mapping[str, torch.Tensor] | None = None,
        old: Shards | None = None,
        teacher: TinyTransformer | None = None,
    ) -> None:
        enable_determinism(hardware.device)
        torch.manual_seed(config.seed)
        self._config = config
        self._shards = shards
        self._tokenizer = tokenizer
        self._hardware = hardware
        self._folder = folder
        self._reporter = reporter
        self._batches = make_batches(shards, config, model_config.max_seq_length, tokenizer, old)
        self.model = TinyTransformer(model_config)
        if config.init_std:
            self.model.initialize(config.init_std)
        if config.local_heads:
            init_local_heads(self.model, config.local_heads)
        if weights is not None:
            self.model.load_state_dict(dict(weights))
        self._group = group
        reporter.phase("compiling the model" if hardware.use_compile else "preparing the model")
        self._train_step = TrainStep(
            self.model,
            config,
            hardware,
            group,
            sampler=make_candidate_sampler(shards, config, model_config.vocab_size),
            features=build_features(shards, config, tokenizer),
            rows=self._batches.rows,
            is_packed=self._batches.batch(0, 0).layout is not None,
            teacher=Teacher(teacher, config.taught_share, hardware) if teacher else None,
        )
        if hardware.use_compile and not self._train_step.is_compiled:
            reporter.note("model: compilation failed on this machine; training continues uncompiled, slower")
        self.state = State()
        self._limits = RunLimits()
        self._spacing = choose_spacing(shards.validation_tokens)
        self._budget = TimeBudget(None, shards.validation_tokens // self._spacing)
        self._pace = Pace(config.epochs, self._batches.steps_per_epoch)
        self._weight_choice = WeightChoice(shards, hardware.device, group)
        self._samples = SampleSeries(shards, tokenizer, config.seed)
        self._signals = StopSignals()
        self._stop_signal: int | None = None  # the signal for which all processes stop

    @property
    def last_signal(self) -> int:
        """Number of the last signal that this process received during `run`; 0 if there was none."""
        return self._signals.last

    def measure_speed(self, steps: int) -> float:
        """Train a few steps and return tokens per second. Afterwards, the model is not that of a run."""
        return self._train_step.measure_speed(self._batches.batch(0, 0), steps)

    def resume(self, path: Path) -> None:
        """Continue exactly where a checkpoint stopped.

        Args:
            path: Checkpoint of the same run.

        Raises:
            CheckpointError: The checkpoint is damaged, or was trained with other data.
            UsageError: The checkpoint belongs to a run with other settings.
        """
        content = checkpoint.load_resumable(path)
        checkpoint.require_same_run(path, content, self._run_config())
        checkpoint.require_weights(path, self.model, content)
        try:
            state = State.from_dict(content["state"])
            if state.epoch > self._config.epochs or state.step > self._batches.steps_per_epoch:
                raise ValueError(f"its epoch {state.epoch} or step {state.step} is beyond the end of the run")
            self.model.load_state_dict(content["model_state_dict"])
            states = content["optimizer_state_dict"], content["tables"], content.get("other_weights")
            self._train_step.load_state_dicts(*states, state.averaged)
            torch.set_rng_state(content["rng"])
        except (KeyError, IndexError, AttributeError, ValueError, TypeError, RuntimeError) as failure:
            raise CheckpointError(
                f"{path} cannot be resumed: {failure}", "start a new run with --restart"
            ) from None
        self.state = state
        before, now = content["config"]["summary"].get("precision"), self._hardware.precision
        if before != now:
            self._reporter.note(f"model: precision changes from {before} to {now}")

    def run(self, limits: RunLimits, after_epoch: Callable[[State], None] = lambda state: None) -> Outcome:
        """Train to the last epoch, to a limit or to a signal, and save in each case.

        After a signal, further ones stay ignored, as in `StopSignals`.

        Args:
            limits: When to stop early.
            after_epoch: Called after an epoch has been saved.

        Returns:
            How the run ended.

        Raises:
            TrainingError: The loss is NaN or infinite.
        """
        with self._signals.recorded():
            return self._run(limits, after_epoch)

    def _run(self, limits: RunLimits, after_epoch: Callable[[State], None]) -> Outcome:
        self._limits = limits
        self._budget = dataclasses.replace(self._budget, minutes=limits.max_minutes)
        self._group.all_reduce_max()  # no process writes before all have read the checkpoint
        with self._train_step.evaluated_weights(self.state.averaged):
            if not (self.state.epoch or self.state.step or self.state.samples):
                self._generate_samples()  # noise, to compare with
            self._save_best()
        self._pace.start_run(self.state)
        while (ended_by := self._stop_reason()) is None:
            self._train_epoch()
            if self._stop_signal is None:
                self._reporter.phase("evaluating held-out text")
                self.state.averaged = self._weight_choice.choose(self._train_step)
            with self._train_step.evaluated_weights(self.state.averaged):
                if self._stop_signal is None:
                    self._finish_epoch()
                if self._stop_signal is not None:
                    self._save_last()
                    return Outcome(self.state, None, self._stop_signal)
            after_epoch(self.state)
            self._pace.record_pause(self.state)
        if self._group.is_main:
            with self._train_step.evaluated_weights(self.state.averaged):
                checkpoint.save(self._folder / checkpoint.FINAL_FILE, self._model_content())
        return Outcome(self.state, ended_by)

    def _stop_reason(self) -> str | None:
        """Return why no epoch follows, or None. Depends on the state alone, so that a resumed run agrees."""
        state, patience = self.state, self._limits.patience
        if state.epoch == self._config.epochs:
            return "epochs"
        if state.step == 0 and self._budget.is_exhausted(state):
            return "max-minutes"
        if patience and state.epochs_since_best >= patience:
            return "patience"
        return "pruned" if state.epoch and state.step == 0 and self._limits.prune() else None

    def _train_epoch(self) -> None:
        """Train to the end of the epoch, to a signal or to the time limit."""
        self._pace.start_epoch(self.state)
        if self.state.step == 0:
            self.state.resegmented = self._should_augment()
        while self._has_next_step():
            self._run_step()
            self._synchronize(*self._pace.read_clock())
            self._pace.record_step(self.state)
            self._report_step()
            if self._pace.is_save_due(self._limits.checkpoint_minutes) and self._has_next_step():
                with self._train_step.evaluated_weights(self.state.averaged):
                    self._save_last()

    def _run_step(self) -> None:
        """Run one optimizer step."""
        batch = self._batches.batch(self.state.epoch, self.state.step, self.state.resegmented)
        steps = self._batches.steps_per_epoch
        step = self.state.epoch * steps + self.state.step
        factor = self._config.rate_factor(step, steps, self._budget.elapsed_share(self.state))
        loss, rate = self._train_step.run(batch, step, factor)
        if not math.isfinite(loss):
            raise self._divergence_error(loss)
        self.state.record_step(loss, batch.predictions, rate)

    def _synchronize(self, elapsed_s: float, epoch_s: float) -> None:
        """Share the latest clock and any signal between all processes, so that they decide alike."""
        number, self.state.elapsed_s, self.state.epoch_s, pause_s = self._group.all_reduce_max(
            self._signals.last, elapsed_s, epoch_s, self._pace.pause_s
        )
        self.state.pause_s = max(self.state.pause_s, pause_s)
        self._stop_signal = int(number) or None

    def _has_next_step(self) -> bool:
        """Whether the current epoch has another step."""
        if self._stop_signal is not None or self._budget.is_exhausted(self.state):
            return False
        return self.state.step < self._batches.steps_per_epoch

    def _should_augment(self) -> bool:
        """Whether the next epoch draws its segmentation: not if it ends in the last part of the run."""
        if not self._batches.can_augment:
            return False
        following = self.state.epoch + 1
        share = following / self._config.epochs
        if self.state.epoch:
            share = max(share, self._budget.elapsed_share(self.state) * following / self.state.epoch)
        return share <= AUGMENTED_SHARE

    def _finish_epoch(self) -> None:
        """Validate the epoch and save it. If a signal comes before that, change nothing."""
        state = self.state
        qualities = self._group.broadcast(self._validate() if self._group.is_main else [])
        self._synchronize(state.elapsed_s, state.epoch_s)
        if self._stop_signal is not None:
            return
        val_loss = math.log(qualities[0].perplexity)  # nats per token, over all languages
        if not math.isfinite(val_loss):
            raise self._divergence_error(val_loss)
        record = EpochRecord(
            epoch=state.epoch + 1,
            train_loss=state.loss,
            val_loss=val_loss,
            lr=state.lr,
            val_bits_per_byte={quality.name: quality.bits_per_byte for quality in qualities},
            tokens_per_second=state.tokens_per_second,
            elapsed_s=state.elapsed_s,
            tokens=state.tokens,
            model_id=compute_model_id(self.model.state_dict(), self.model.config, self._tokenizer.sha256),
        )
        seconds_left, speed = self._seconds_left(), self._pace.tokens_per_second(state)
        state.finish_epoch(record)
        self._reporter.epoch(record)
        self._give_advice(seconds_left, speed)
        self._generate_samples()
        self._save_epoch()

    def _validate(self) -> list[Quality]:
        """Evaluate the model on the held-out text; on what was read of it if a signal comes."""
        passages = itertools.takewhile(lambda _: not self._signals.last, self._shards.validation())
        try:
            return validate(self.model, passages, self._hardware.device, self._spacing)
        except OverflowError:  # the perplexity exceeds the range of a float
            raise self._divergence_error(math.inf) from None

    def _save_epoch(self) -> None:
        """Save the run, then its best model: a run killed in between writes that one when it resumes."""
        if not self._group.is_main:
            return
        self._reporter.phase("saving")
        if self.state.epoch % EPOCHS_PER_CHECKPOINT == 0:
            path = self._folder / checkpoint.epoch_file_name(self.state.epoch)
            checkpoint.save(path, self._checkpoint_content())
            checkpoint.remove_old_periodic(self._folder, self._limits.keep)
        else:
            self._save_last()  # so that a killed run loses at most one epoch
        self._save_best()

    def _save_best(self) -> None:
        """Save the model as the best one if the run is at the end of its best epoch."""
        state = self.state
        if self._group.is_main and state.epoch and state.step == 0 and state.epochs_since_best == 0:
            checkpoint.save(self._folder / checkpoint.BEST_FILE, self._best_content())

    def _save_last(self) -> None:
        if self._group.is_main:
            checkpoint.save_last(self._folder, self._checkpoint_content())
        self._pace.record_save()

    def _generate_samples(self) -> None:
        for sample in self._samples.add(self.model, self.state.epoch, self.state.samples):
            self._reporter.sample(sample["prompt"], sample["text"])

    def _give_advice(self, eta_s: float | None, speed: float | None = None) -> None:
        """Note problems of the run, each kind once. `speed` is that of the last epoch, tokens per second."""
        for advice in advise(self.state.history, eta_s, speed):
            if advice.kind not in self.state.advised:
                self.state.advised.append(advice.kind)
                self._reporter.note(advice.sentence)

    def _report_step(self) -> None:
        """Report progress, and add points to the training curve at steps fixed by the step count alone."""
        state, per_epoch = self.state, self._batches.steps_per_epoch
        if (
            state.step % max(1, self._config.epochs * per_epoch // TRACE_POINTS) == 0
            or state.step == per_epoch
        ):
            state.add_trace_point()
        eta_s = self._seconds_left()
        self._reporter.step(Progress.from_state(state, self._config.epochs, per_epoch, eta_s))
        if state.step == ADVICE_STEP:
            self._give_advice(eta_s)

    def _seconds_left(self) -> float | None:
        pause_s = self._budget.estimate_pause_s(self.state)
        return self._pace.seconds_left(self.state, pause_s, self._limits.max_minutes)

    def _divergence_error(self, loss: float) -> TrainingError:
        return divergence_error(loss, self.state.epoch + 1, self.state.step + 1, self._config.learning_rate)

    def _checkpoint_content(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        others = self._train_step.other_state_dict()
        return {
            **self._best_content(),
            "tables": self._train_step.tables_state_dict(),
            **({"other_weights": others} if others else {}),
            "state": self.state.to_dict(),
            "rng": torch.get_rng_state(),
        }

    def _best_content(self) -> dict[str, Any]:
        """Return what the guide's checkpoints hold, without times: equal runs write equal files."""
        return {
            **self._model_content(),
            "optimizer_state_dict": self._train_step.optimizer_state_dict(),
        }

    def _model_content(self) -> dict[str, Any]:
        """Return the model with its losses and its config, without the state of the run and its times."""
        last: Mapping[str, Any] = self.state.history[-1] if self.state.history else {}
        return {
            "epoch": self.state.epoch,
            "model_state_dict": self.model.state_dict(),
            "train_loss": last.get("train_loss"),
            "val_loss": last.get("val_loss"),
            "config": self._run_config()
            | {"summary": summarize(self._config, self.state, self._shards, self._hardware.precision)},
        }

    def _run_config(self) -> dict[str, Any]:
        return checkpoint.describe_run(self.model.config, self._config, self._shards, self._tokenizer)
