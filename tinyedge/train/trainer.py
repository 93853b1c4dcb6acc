"""The training loop: batches in, checkpoints and history out.

Knows the model, the shards and the folder it saves to; prints nothing: what happens goes to a Reporter.
Every number of a run is a function of its configuration, its tokens and this machine, so a run that was
stopped and resumed ends with the weights of one that was not. A limit in minutes is the exception: its
schedule follows the clock.
"""

import dataclasses
import itertools
import math
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch

from tinyedge import __version__
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import CheckpointError, TrainingError
from tinyedge.text.evaluate import Quality
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.train.budget import TimeBudget
from tinyedge.train.data import Batches
from tinyedge.train.distributed import ALONE, Group
from tinyedge.train.hardware import Hardware, repeat_exactly
from tinyedge.train.methods.augmentation import drawn_for
from tinyedge.train.methods.features import features_for
from tinyedge.train.methods.init_local_heads import init_local_heads
from tinyedge.train.methods.sampled_softmax import sampler_for
from tinyedge.train.model import TinyTransformer
from tinyedge.train.recipe import TrainConfig
from tinyedge.train.report.advice import advise, diverged
from tinyedge.train.report.reporter import Progress, Reporter
from tinyedge.train.report.sample import sample_text
from tinyedge.train.state import EpochRecord, State
from tinyedge.train.step import Learner
from tinyedge.train.storage import checkpoint
from tinyedge.train.validation import validate

RESEGMENTED_SHARE = 0.88  # of a run; its rest has the segmentation that text is judged with
EPOCHS_PER_CHECKPOINT = 5  # the guide's; also how often samples are drawn
SAMPLE_PROMPTS = ("Hello", "Hola")  # the guide's
TRACE_POINTS = 200  # of a whole run, about: enough for a curve
ADVICE_STEP = 50  # of an epoch: its speed is known, the rest of it still to come
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last: the terminal is gone


@dataclass(frozen=True)
class RunLimits:
    """When to stop before the last epoch, and what to keep. None is never.

    max_minutes: of training, judging and saving; the schedule of the learning rate then fits them. patience:
    epochs without a lower held-out loss. checkpoint_minutes: between saves, besides those after epochs. keep:
    how many of the periodic checkpoints stay. prune: asked between epochs whether others do better anyway.
    """

    max_minutes: float | None = None
    checkpoint_minutes: float | None = None
    patience: int | None = None
    keep: int = 3
    prune: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Outcome:
    """How the loop ended. ended_by: "epochs", "max-minutes", "patience" or "pruned"; None for a signal."""

    state: State
    ended_by: str | None
    signal: int | None = None


class _Moment(NamedTuple):
    """How far the epoch under way is."""

    step: int
    tokens: int
    seconds: float


class Trainer:
    """One run in one folder."""

    def __init__(
        self,
        model_config: ModelConfig,
        config: TrainConfig,
        shards: Shards,
        tokenizer: Tokenizer,
        hardware: Hardware,
        folder: Path,
        reporter: Reporter,
        group: Group = ALONE,
    ) -> None:
        repeat_exactly(hardware.device)
        torch.manual_seed(config.seed)
        self._config = config
        self._shards = shards
        self._tokenizer = tokenizer
        self._hardware = hardware
        self._folder = folder
        self._reporter = reporter
        self._batches = Batches(
            shards.training(),
            config.batch_size,
            model_config.max_seq_length,
            config.stride,
            config.seed,
            drawn_for(shards, config, tokenizer),
        )
        self.model = TinyTransformer(model_config)
        if config.init_std:
            self.model.initialize(config.init_std)
        if config.local_heads:
            init_local_heads(self.model, config.local_heads)
        self._group = group
        self._learner = Learner(
            self.model,
            config,
            hardware,
            group,
            sampler=sampler_for(shards, config, model_config.vocab_size),
            features=features_for(shards, config, tokenizer),
            rows=min(config.batch_size, self._batches.windows),
        )
        if hardware.compiles and not self._learner.compiled:
            reporter.note("model: compiling failed here; training goes on without it, slower")
        self.state = State()
        self._limits = RunLimits()
        self._budget = TimeBudget(None, shards.validation_tokens)
        self._began = 0.0  # on the clock: the run, as if in one go
        self._saved = 0.0  # and the last save in between
        self._pause_s = 0.0  # between the last two epochs
        self._timed: _Moment | None = None  # from where this process's speed counts
        self._signal = 0  # the last that came to this process
        self._stop_signal: int | None = None  # the one that all processes stop for

    def resume(self, path: Path) -> None:
        """Continues exactly where a checkpoint stopped. Raises CheckpointError, or UsageError where the
        run it belongs to was another one."""
        content = checkpoint.load_resumable(path)
        checkpoint.require_same_run(path, content, self._run_config())
        checkpoint.require_weights(path, self.model, content)
        try:
            state = State.from_dict(content["state"])
            if state.epoch > self._config.epochs or state.step > self._batches.steps_per_epoch:
                raise ValueError(f"it stands at epoch {state.epoch}, step {state.step}, which are not there")
            self._learner.load_state_dicts(content["optimizer_state_dict"], content["tables"])
            torch.set_rng_state(content["rng"])
            self.model.load_state_dict(content["model_state_dict"])
        except (KeyError, IndexError, AttributeError, ValueError, TypeError, RuntimeError) as failure:
            raise CheckpointError(
                f"{path} cannot be resumed: {failure}", "start again with --restart"
            ) from None
        self.state = state
        before, now = content["config"]["summary"].get("precision"), self._hardware.precision
        if before != now:
            self._reporter.note(f"model: computed in {before} until here, in {now} from here on")

    def run(self, limits: RunLimits, after_epoch: Callable[[State], None] = lambda state: None) -> Outcome:
        """Trains to the last epoch, to a limit or to a signal; saves in each case.

        after_epoch is called when an epoch is saved. A signal is to end the process: those after it stay
        ignored, or the next would cut short what the caller still writes. Raises TrainingError when the loss
        is no number.
        """
        ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set()  # nohup
        previous = {
            number: signal.signal(number, self._on_signal) for number in SIGNALS if number not in ignored
        }
        try:
            return self._run(limits, after_epoch)
        finally:
            for number, handler in previous.items():
                signal.signal(number, signal.SIG_IGN if self._signal else handler)

    def _run(self, limits: RunLimits, after_epoch: Callable[[State], None]) -> Outcome:
        self._limits = limits
        self._budget = dataclasses.replace(self._budget, minutes=limits.max_minutes)
        self._group.all_reduce_max()  # no process writes before all have read what they resume from
        self._saved = time.monotonic()
        self._began = self._saved - self.state.elapsed_s
        while (ended_by := self._ended_by()) is None:
            self._train_epoch()
            if self._stop_signal is None:
                self._finish_epoch()
            if self._stop_signal is not None:
                self._save_last()
                return Outcome(self.state, None, self._stop_signal)
            after_epoch(self.state)
            self._pause_s = time.monotonic() - self._began - self.state.elapsed_s
        if self._group.is_main:
            checkpoint.save(self._folder / checkpoint.FINAL_FILE, self._weights())
        return Outcome(self.state, ended_by)

    def _ended_by(self) -> str | None:
        """Why no epoch follows, or None: a function of the state alone, so that a resumed run agrees."""
        state, patience = self.state, self._limits.patience
        if state.epoch == self._config.epochs:
            return "epochs"
        if state.step == 0 and self._budget.is_over(state):
            return "max-minutes"
        if patience and state.epochs_since_best >= patience:
            return "patience"
        return "pruned" if state.epoch and state.step == 0 and self._limits.prune() else None

    def _train_epoch(self) -> None:
        """Steps to the end of the epoch, to a signal or to the time limit."""
        epoch_began = time.monotonic() - self.state.epoch_s
        if self.state.step == 0:
            self.state.resegmented = self._resegments()
            if self._timed:
                self._timed = _Moment(0, 0, 0.0)
        while self._goes_on():
            self._step()
            now = time.monotonic()
            self._agree(now - self._began, now - epoch_began)
            self._timed = self._timed or self._now()  # a process's first step compiles and warms up
            self._report_step()
            minutes = self._limits.checkpoint_minutes
            if minutes and now - self._saved > 60 * minutes and self._goes_on():
                self._save_last()

    def _agree(self, elapsed_s: float, epoch_s: float) -> None:
        """Takes the latest clock of all processes, and any one's signal: they decide alike what follows."""
        number, self.state.elapsed_s, self.state.epoch_s, pause_s = self._group.all_reduce_max(
            self._signal, elapsed_s, epoch_s, self._pause_s
        )
        self.state.pause_s = max(self.state.pause_s, pause_s)
        self._stop_signal = int(number) or None

    def _goes_on(self) -> bool:
        """Whether the epoch under way has another step."""
        if self._stop_signal is not None or self._budget.is_over(self.state):
            return False
        return self.state.step < self._batches.steps_per_epoch

    def _resegments(self) -> bool:
        """Whether the next epoch draws a segmentation: not if it ends in the run's last eighth."""
        if not self._batches.can_draw:
            return False
        following = self.state.epoch + 1
        share = following / self._config.epochs
        if self.state.epoch:
            share = max(share, self._budget.share_over(self.state) * following / self.state.epoch)
        return share <= RESEGMENTED_SHARE

    def _step(self) -> None:
        """One optimizer step."""
        batch = self._batches.batch(self.state.epoch, self.state.step, self.state.resegmented)
        steps = self._batches.steps_per_epoch
        step = self.state.epoch * steps + self.state.step
        factor = self._config.rate_factor(step, steps, self._budget.share_over(self.state))
        loss, rate = self._learner.learn(batch, step, factor)
        if not math.isfinite(loss):
            raise self._diverged(loss)
        self.state.count(loss, batch.targets.numel(), rate)

    def _finish_epoch(self) -> None:
        """Judges the epoch on the held-out text and saves it; a signal before that leaves it as it is."""
        state = self.state
        self._learner.fold()
        qualities = self._group.broadcast(self._judge() if self._group.is_main else [])
        self._agree(state.elapsed_s, state.epoch_s)
        if self._stop_signal is not None:
            return
        val_loss = math.log(qualities[0].perplexity)  # nats per token of the whole
        if not math.isfinite(val_loss):
            raise self._diverged(val_loss)
        record = EpochRecord(
            epoch=state.epoch + 1,
            train_loss=state.loss,
            val_loss=val_loss,
            lr=state.lr,
            val_bits_per_byte={quality.name: quality.bits_per_byte for quality in qualities},
            tokens_per_second=state.tokens_per_second,
            elapsed_s=state.elapsed_s,
            tokens=state.tokens,
        )
        seconds_left, speed = self._seconds_left(), self._speed()
        state.finish_epoch(record)
        self._reporter.epoch(record)
        self._advise(seconds_left, speed)
        if record.epoch % EPOCHS_PER_CHECKPOINT == 0 or record.epoch == self._config.epochs:
            self._draw_samples(record.epoch)
        self._save_epoch()

    def _judge(self) -> list[Quality]:
        """Quality on the held-out text; of a part of it when a signal comes."""
        passages = itertools.takewhile(lambda _: not self._signal, self._shards.validation())
        try:
            return validate(self.model, passages, self._hardware.device)
        except OverflowError:  # its perplexity has no number
            raise self._diverged(math.inf) from None

    def _save_epoch(self) -> None:
        """Best first: a run that is killed in between goes on from before it, and makes it again."""
        if not self._group.is_main:
            return
        if self.state.epochs_since_best == 0:
            self._save(checkpoint.BEST_FILE)
        if self.state.epoch % EPOCHS_PER_CHECKPOINT == 0:
            self._save(checkpoint.epoch_file(self.state.epoch))
            checkpoint.keep_newest(self._folder, self._limits.keep)
        else:
            self._save_last()  # a killed run loses no more than an epoch

    def _save_last(self) -> None:
        if self._group.is_main:
            checkpoint.save_last(self._folder, self._content())
        self._saved = time.monotonic()

    def _save(self, name: str) -> None:
        checkpoint.save(self._folder / name, self._content())

    def _draw_samples(self, epoch: int) -> None:
        for prompt in SAMPLE_PROMPTS:
            text = sample_text(self.model, self._tokenizer, prompt, seed=self._config.seed)
            self.state.samples.append({"epoch": epoch, "prompt": prompt, "text": text})
            self._reporter.sample(prompt, text)

    def _advise(self, eta_s: float | None, speed: float | None = None) -> None:
        """Notes what the run's course says, each kind of advice once a run. speed: of the last epoch."""
        for advice in advise(self.state.history, eta_s, speed):
            if advice.kind not in self.state.advised:
                self.state.advised.append(advice.kind)
                self._reporter.note(advice.sentence)

    def _report_step(self) -> None:
        """The progress, and a point of the curve now and then: when is a function of the step alone."""
        state, per_epoch = self.state, self._batches.steps_per_epoch
        steps = self._config.epochs * per_epoch
        if state.step % max(1, steps // TRACE_POINTS) == 0 or state.step == per_epoch:
            state.add_point()
        eta_s = self._seconds_left()
        self._reporter.step(
            Progress(
                epoch=state.epoch + 1,
                epochs=self._config.epochs,
                step=state.epoch * per_epoch + state.step,
                steps=steps,
                loss=state.loss,
                val_loss=state.history[-1]["val_loss"] if state.history else None,
                tokens=state.tokens,
                lr=state.lr,
                tokens_per_second=state.tokens_per_second,
                eta_s=eta_s,
            )
        )
        if state.step == ADVICE_STEP:
            self._advise(eta_s)

    def _now(self) -> _Moment:
        return _Moment(self.state.step, self.state.loss_tokens, self.state.epoch_s)

    def _speed(self) -> float | None:
        """Tokens a second of the epoch under way, as far as this process's speed counts; None before that."""
        now, since = self._now(), self._timed
        if since is None or now.seconds <= since.seconds:
            return None
        return (now.tokens - since.tokens) / (now.seconds - since.seconds)

    def _seconds_left(self) -> float | None:
        """At the speed of the epoch under way, within the time limit; None while there is no speed."""
        state, per_epoch = self.state, self._batches.steps_per_epoch
        now, since = self._now(), self._timed
        if since is None or now.step == since.step:
            return None
        steps = (self._config.epochs - state.epoch) * per_epoch - state.step
        seconds = steps * (now.seconds - since.seconds) / (now.step - since.step)
        if self._limits.max_minutes is None:
            return seconds
        return min(seconds, 60 * self._limits.max_minutes - state.elapsed_s)

    def _diverged(self, loss: float) -> TrainingError:
        return diverged(loss, self.state.epoch + 1, self.state.step + 1, self._config.learning_rate)

    def _content(self) -> dict[str, Any]:
        """All that a resume needs."""
        return {
            **self._weights(),
            "optimizer_state_dict": self._learner.optimizer_state_dict(),
            "tables": self._learner.tables_state_dict(),
            "state": self.state.to_dict(),
            "rng": torch.get_rng_state(),
        }

    def _weights(self) -> dict[str, Any]:
        last: Mapping[str, Any] = self.state.history[-1] if self.state.history else {}
        self._learner.fold()
        return {
            "epoch": self.state.epoch,
            "model_state_dict": self.model.state_dict(),
            "train_loss": last.get("train_loss"),
            "val_loss": last.get("val_loss"),
            "config": self._run_config() | {"summary": self._summary(last)},
        }

    def _run_config(self) -> dict[str, Any]:
        """What decides the weights; a resume needs it to be equal."""
        return {
            "model": self.model.config.to_dict(),
            "training": self._config.to_dict(),
            "tokenizer_sha256": self._tokenizer.sha256,
            "corpus_sha256": self._shards.corpus_sha256,
        }

    def _summary(self, last: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "recipe": self._config.recipe,
            "epochs": self.state.epoch,
            "train_tokens": self._shards.train_tokens,
            "train_loss": last.get("train_loss"),
            "val_loss": last.get("val_loss"),
            "val_bits_per_byte": last.get("val_bits_per_byte", {}),
            "held_out": self._shards.held_out,
            "seed": self._config.seed,
            "precision": self._hardware.precision,
            "elapsed_s": round(self.state.elapsed_s, 1),
            "tinyedge": __version__,
        }

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
