"""The training loop: batches in, checkpoints and history out.

Knows the model, the shards and the folder it saves to; prints nothing: what happens goes to a Reporter.
Every number of a run is a function of its configuration, its tokens and this machine, so a run that was
stopped and resumed ends with the weights of one that was not.
"""

import math
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch

from tinyedge import __version__
from tinyedge.config import ModelConfig
from tinyedge.errors import CheckpointError, UsageError
from tinyedge.evaluate import Quality
from tinyedge.shards import Shards
from tinyedge.tokenizer import Tokenizer
from tinyedge.train import checkpoint
from tinyedge.train.data import Batches
from tinyedge.train.hardware import Hardware
from tinyedge.train.learner import Learner
from tinyedge.train.model import TinyTransformer
from tinyedge.train.recipe import TrainConfig
from tinyedge.train.sample import sample_text
from tinyedge.train.validation import validate

EPOCHS_PER_CHECKPOINT = 5  # the guide's; also how often samples are drawn
SAMPLE_PROMPTS = ("Hello", "Hola")  # the guide's
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the last: the terminal is gone


@dataclass(frozen=True)
class Progress:
    """After a step. step, steps: in the whole run. loss: mean of the epoch so far, nats per token.

    tokens_per_second and eta_s: of this process. val_loss: of the last finished epoch.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    val_loss: float | None
    tokens_per_second: float
    eta_s: float


@dataclass(frozen=True)
class EpochRecord:
    """One line of the history. Losses in nats per token; val_bits_per_byte by language and for "all"."""

    epoch: int
    train_loss: float
    val_loss: float
    lr: float
    val_bits_per_byte: dict[str, float]
    tokens_per_second: float
    elapsed_s: float


@dataclass(frozen=True)
class Limits:
    """When to save and when to stop early. Minutes of wall time; None is never."""

    max_minutes: float | None = None
    checkpoint_minutes: float | None = None


class Reporter(Protocol):
    """Who is told what happens."""

    def step(self, progress: Progress) -> None: ...
    def epoch(self, record: EpochRecord) -> None: ...
    def sample(self, prompt: str, text: str) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass
class State:
    """What a resume needs besides weights, optimizer and random numbers; all of it JSON-able.

    epoch, step: finished epochs, and finished steps of the one under way. loss_sum: nats over loss_tokens.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_tokens: int = 0
    elapsed_s: float = 0.0
    best_val_loss: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """How the loop ended. signal: the one that stopped it, else None. timed_out: by max_minutes."""

    state: State
    signal: int | None
    timed_out: bool


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
    ) -> None:
        torch.manual_seed(config.seed)
        self._config = config
        self._shards = shards
        self._tokenizer = tokenizer
        self._hardware = hardware
        self._folder = folder
        self._reporter = reporter
        self._batches = Batches(
            shards.training(), config.batch_size, model_config.max_seq_length, config.stride, config.seed
        )
        self.model = TinyTransformer(model_config)
        if config.init_std:
            self.model.initialize(config.init_std)
        self._learner = Learner(self.model, config, hardware)
        self.state = State()
        self._stop_signal: int | None = None

    def resume(self, path: Path) -> None:
        """Continues exactly where a checkpoint stopped. Raises CheckpointError, or UsageError where the
        run it belongs to was another one."""
        content = checkpoint.load(path)
        self._require_same_run(path, content)
        checkpoint.restore_weights(path, self.model, content)
        try:
            self._learner.load_state_dict(content["optimizer_state_dict"])
            self.state = State(**content["state"])
            torch.set_rng_state(content["rng"])
        except (KeyError, ValueError, TypeError, RuntimeError) as failure:
            raise CheckpointError(
                f"{path} cannot be resumed: {failure}", "start again with --restart"
            ) from None

    def run(self, limits: Limits) -> Outcome:
        """Trains to the last epoch, or until a signal or the time limit; saves in each case."""
        previous = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        try:
            return self._run(limits)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _run(self, limits: Limits) -> Outcome:
        started = last_saved = time.monotonic()
        before = self.state.elapsed_s
        done_here = 0
        timed_out = False
        while self.state.epoch < self._config.epochs:
            epoch_started, epoch_tokens = time.monotonic(), 0
            while self.state.step < self._batches.steps_per_epoch:
                tokens, rate = self._step()
                epoch_tokens += tokens
                done_here += 1
                now = time.monotonic()
                self.state.elapsed_s = before + now - started
                speed = epoch_tokens / (now - epoch_started)
                self._reporter.step(self._progress(speed, (now - started) / done_here))
                timed_out = limits.max_minutes is not None and self.state.elapsed_s > 60 * limits.max_minutes
                if self._stop_signal is not None or timed_out:
                    break
                if limits.checkpoint_minutes and now - last_saved > 60 * limits.checkpoint_minutes:
                    self._save(checkpoint.LAST_FILE)
                    last_saved = time.monotonic()
            if self._stop_signal is not None:
                self._save(checkpoint.LAST_FILE)
                return Outcome(self.state, self._stop_signal, timed_out=False)
            self._finish_epoch(rate, speed)
            if timed_out:
                break
        self._save_final()
        return Outcome(self.state, None, timed_out)

    def _step(self) -> tuple[int, float]:
        """One optimizer step; returns its tokens and AdamW's learning rate."""
        inputs, targets = self._batches.batch(self.state.epoch, self.state.step)
        steps = self._batches.steps_per_epoch
        step = self.state.epoch * steps + self.state.step
        loss, rate = self._learner.learn(inputs, targets, step, self._config.rate_factor(step, steps))
        self.state.step += 1
        self.state.loss_sum += loss * targets.numel()
        self.state.loss_tokens += targets.numel()
        return targets.numel(), rate

    def _finish_epoch(self, rate: float, speed: float) -> None:
        qualities = validate(self.model, self._shards.validation(), self._hardware.device)
        record = EpochRecord(
            epoch=self.state.epoch + 1,
            train_loss=self.state.loss_sum / self.state.loss_tokens,
            val_loss=_loss(qualities),
            lr=rate,
            val_bits_per_byte={quality.name: quality.bits_per_byte for quality in qualities},
            tokens_per_second=speed,
            elapsed_s=self.state.elapsed_s,
        )
        state = self.state
        state.epoch, state.step, state.loss_sum, state.loss_tokens = record.epoch, 0, 0.0, 0
        state.history.append(asdict(record))
        self._reporter.epoch(record)
        if record.epoch % EPOCHS_PER_CHECKPOINT == 0 or record.epoch == self._config.epochs:
            self._draw_samples(record.epoch)
        if state.best_val_loss is None or record.val_loss < state.best_val_loss:
            state.best_val_loss = record.val_loss
            self._save(checkpoint.BEST_FILE)
        if record.epoch % EPOCHS_PER_CHECKPOINT == 0:
            self._save(checkpoint.epoch_file(record.epoch))
            (self._folder / checkpoint.LAST_FILE).unlink(missing_ok=True)
        else:
            self._save(checkpoint.LAST_FILE)  # a killed run loses no more than an epoch

    def _draw_samples(self, epoch: int) -> None:
        for prompt in SAMPLE_PROMPTS:
            text = sample_text(self.model, self._tokenizer, prompt, seed=self._config.seed)
            self.state.samples.append({"epoch": epoch, "prompt": prompt, "text": text})
            self._reporter.sample(prompt, text)

    def _save(self, name: str) -> None:
        checkpoint.save(
            self._folder / name,
            {
                **self._weights(),
                "optimizer_state_dict": self._learner.state_dict(),
                "state": asdict(self.state),
                "rng": torch.get_rng_state(),
            },
        )

    def _save_final(self) -> None:
        checkpoint.save(self._folder / checkpoint.FINAL_FILE, self._weights())
        (self._folder / checkpoint.LAST_FILE).unlink(missing_ok=True)

    def _weights(self) -> dict[str, Any]:
        last: Mapping[str, Any] = self.state.history[-1] if self.state.history else {}
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
            "elapsed_s": round(self.state.elapsed_s, 1),
            "tinyedge": __version__,
        }

    def _require_same_run(self, path: Path, content: Mapping[str, Any]) -> None:
        for section, mine in self._run_config().items():
            saved = content["config"].get(section)
            if saved == mine:
                continue
            if isinstance(saved, dict) and isinstance(mine, dict):
                odd = [f"{k} {saved.get(k)} there, {mine[k]} here" for k in mine if saved.get(k) != mine[k]]
                raise UsageError(
                    f"{path} belongs to another run: {'; '.join(odd)}",
                    "resume with the flags of that run, or begin again with --restart",
                )
            what = section.removesuffix("_sha256")
            raise CheckpointError(
                f"{path} was trained with another {what} than the one in {self._folder}",
                f"put that {what} back, or begin again with --restart",
            )

    def _progress(self, speed: float, seconds_per_step: float) -> Progress:
        state, per_epoch = self.state, self._batches.steps_per_epoch
        done, steps = state.epoch * per_epoch + state.step, self._config.epochs * per_epoch
        return Progress(
            epoch=state.epoch + 1,
            epochs=self._config.epochs,
            step=done,
            steps=steps,
            loss=state.loss_sum / state.loss_tokens,
            val_loss=state.history[-1]["val_loss"] if state.history else None,
            tokens_per_second=speed,
            eta_s=(steps - done) * seconds_per_step,
        )

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop_signal = number


def _loss(qualities: list[Quality]) -> float:
    """Nats per token of the whole; perplexity is its exponential."""
    return math.log(qualities[0].perplexity)
