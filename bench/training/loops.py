"""The plain training loop that other projects have, with the settings of two of them.

In: a run's token files and its shape. Out: a checkpoint in a folder like that of a run, and its curve.

The loop is eager, in fp32, with full logits and one AdamW. Its model is tinyedge's, so that only the training
differs; the settings are those of the projects' own train.py:

- `PLAIN`, nanoGPT: betas, weight decay, clipping, warm-up and a cosine to a tenth of the peak. The peak rate
  is tuned for a model of this size: 3e-3, ten times the guide's, as in `fast`.
- `LLAMA2C`, llama2.c at commit 350e04f: AdamW with its betas, weight decay and clipping, its peak rate of
  5e-4, a linear warm-up over 1% of the steps (1,000 of 100,000), a cosine to zero, no dropout, matrices drawn
  from N(0, 0.02). On a CPU its train.py computes in fp32 too.

What is not as in either project: the architecture (theirs have their norms before the blocks, and share one
table between embedding and output; llama2.c has RMSNorm, rotary positions and SwiGLU), a smaller start for
the matrices that end a block, the batch (32 windows of 128 tokens instead of 131,072 tokens or more, with
which a small text would be a few dozen steps), `torch.compile`, and the tokenizer.
"""

import dataclasses
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import BenchError
from tinyedge.core.run_files import FINAL_FILE
from tinyedge.text.shards import FOLDER as SHARDS_FOLDER
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer, model_name
from tinyedge.train.data import Batches
from tinyedge.train.hardware import choose_hardware
from tinyedge.train.methods.augmentation import make_augmentation
from tinyedge.train.methods.features import build_features
from tinyedge.train.methods.sampled_softmax import make_candidate_sampler
from tinyedge.train.model import TinyTransformer
from tinyedge.train.recipe import FAST
from tinyedge.train.step import TrainStep
from tinyedge.train.storage import checkpoint
from tinyedge.train.validation import validate

SCHEMA = "tinyedge.plain-loop/1"
CURVE_FILE = "loop.json"
STEPS_PER_TURN, TURNS = 15, 6

Point = dict[str, Any]  # minutes, tokens, bits_per_byte by language


@dataclass(frozen=True)
class LoopSettings:
    """What a project's training script sets."""

    name: str
    """Name in tables."""
    rate: float
    """Peak learning rate."""
    floor: float
    """Learning rate at the end, as a share of the peak."""
    warmup_steps: int = 0
    """Steps of warm-up; 0 for `warmup_share`."""
    warmup_share: float = 0.0
    """Steps of warm-up as a share of all steps."""
    betas: tuple[float, float] = (0.9, 0.95)
    """AdamW's."""
    weight_decay: float = 0.1
    """Of matrices; vectors have none."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""
    batch_size: int = 32
    """Windows in a step."""
    init_std: float = 0.02
    """Standard deviation of the matrices before the first step."""

    def rate_factor(self, step: int, steps: int) -> float:
        """Compute the learning rate of a step as a share of the peak."""
        warmup = max(1, self.warmup_steps or round(self.warmup_share * steps))
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * progress)) / 2


PLAIN = LoopSettings("plain", rate=3e-3, floor=0.1, warmup_steps=100)
LLAMA2C = LoopSettings("llama2.c", rate=5e-4, floor=0.0, warmup_share=0.01)


class PlainLoop:
    """The simplest training loop.

    Args:
        settings: The settings.
        shards: The token files.
        config: Shape of the model.
        epochs: Length of the learning-rate schedule.
    """

    def __init__(self, settings: LoopSettings, shards: Shards, config: ModelConfig, epochs: int) -> None:
        torch.manual_seed(0)
        self.settings = settings
        self.model = TinyTransformer(config)
        self.model.initialize(settings.init_std)
        self._batches = Batches(shards.training(), settings.batch_size, config.max_seq_length, 0, seed=0)
        parameters = list(self.model.parameters())
        matrices: dict[str, Any] = {"params": [each for each in parameters if each.dim() >= 2]}
        vectors: dict[str, Any] = {
            "params": [each for each in parameters if each.dim() < 2],
            "weight_decay": 0.0,
        }
        self._optimizer = torch.optim.AdamW(
            [matrices, vectors], lr=settings.rate, betas=settings.betas, weight_decay=settings.weight_decay
        )
        self._steps = epochs * self.steps_per_epoch
        self._done = 0
        self.loss = math.nan
        """Loss of the latest step, in nats."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return self._batches.steps_per_epoch

    def step(self) -> int:
        """Run one step, and return the number of its tokens."""
        batch = self._batches.batch(*divmod(self._done, self.steps_per_epoch))
        logits = self.model(batch.inputs)
        loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), batch.targets.view(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.rate * self.settings.rate_factor(self._done, self._steps)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._done += 1
        self.loss = float(loss.detach())
        return batch.targets.numel()


def train_loop(
    settings: LoopSettings, data: Path, config: ModelConfig, epochs: int, folder: Path
) -> list[Point]:
    """Run the plain loop on the tokens of another run, and save its model like that of a run.

    A folder that holds the same loop, finished, is not trained again.

    Args:
        settings: The settings.
        data: Folder of a run with its tokenizer and token files.
        config: Shape of the model.
        epochs: Number of epochs.
        folder: Where the checkpoint, the curve, and copies of tokenizer and token files go.

    Returns:
        A point for each epoch.
    """
    vocabulary = data / model_name(config.vocab_size)
    tokenizer = Tokenizer.load(vocabulary)
    shards = Shards.load(data / SHARDS_FOLDER, tokenizer)
    trained = {
        "settings": {**dataclasses.asdict(settings), "betas": list(settings.betas)},
        "epochs": epochs,
        "model": config.to_dict(),
        "corpus_sha256": shards.corpus_sha256,
        "tokenizer_sha256": tokenizer.sha256,
    }
    if (folder / FINAL_FILE).exists() and (folder / CURVE_FILE).exists():
        found = files.read_json(folder / CURVE_FILE, SCHEMA, BenchError)
        if all(found[name] == value for name, value in trained.items()):
            print(f"{settings.name}: reused {folder}", flush=True)
            points: list[Point] = found["points"]
            return points
    shutil.copytree(data / SHARDS_FOLDER, folder / SHARDS_FOLDER, dirs_exist_ok=True)
    shutil.copy(vocabulary, folder)
    (folder / CURVE_FILE).unlink(missing_ok=True)
    loop = PlainLoop(settings, shards, config, epochs)
    points = []
    seconds, tokens = 0.0, 0
    for epoch in range(epochs):
        started = time.monotonic()
        for _ in range(loop.steps_per_epoch):
            tokens += loop.step()
        seconds += time.monotonic() - started
        qualities = validate(loop.model, shards.validation(), torch.device("cpu"))
        bits = {quality.name: quality.bits_per_byte for quality in qualities}  # of all text first
        points.append({"minutes": seconds / 60, "tokens": tokens, "bits_per_byte": bits})
        print(
            f"{settings.name} epoch {epoch + 1}: {seconds:.0f} s, {bits['all']:.3f} bits per byte", flush=True
        )
    checkpoint.save(
        folder / FINAL_FILE,
        {
            "epoch": epochs,
            "model_state_dict": loop.model.state_dict(),
            "train_loss": loop.loss,
            "val_loss": math.log(qualities[0].perplexity),
            "config": {
                "model": config.to_dict(),
                "tokenizer_sha256": tokenizer.sha256,
                "summary": {"recipe": settings.name, "epochs": epochs, "train_tokens": shards.train_tokens},
            },
        },
    )
    files.write_json(folder / CURVE_FILE, {"schema": SCHEMA, **trained, "points": points})
    return points


def measure_throughput(shards: Shards, tokenizer: Tokenizer, config: ModelConfig) -> list[float]:
    """Measure the speed of `fast` relative to the plain loop. Returns one ratio for each turn."""
    plain = PlainLoop(PLAIN, shards, config, epochs=10)
    turns = (
        (plain.step, STEPS_PER_TURN),
        (_make_fast_step(shards, tokenizer, config), STEPS_PER_TURN * PLAIN.batch_size // FAST.batch_size),
    )
    ratios = []
    for turn in range(TURNS + 1):
        speeds = []
        for step, steps in turns:
            started = time.perf_counter()
            tokens = sum(step() for _ in range(steps))
            speeds.append(tokens / (time.perf_counter() - started))
        if turn:  # the first turn is for warming up
            ratios.append(speeds[1] / speeds[0])
    return ratios


def _make_fast_step(shards: Shards, tokenizer: Tokenizer, config: ModelConfig) -> Callable[[], int]:
    """Return a function that runs a step of `fast` and returns the number of its tokens."""
    torch.manual_seed(0)
    model = TinyTransformer(config)
    model.initialize(FAST.init_std)
    sampler = make_candidate_sampler(shards, FAST, tokenizer.vocab_size)
    features = build_features(shards, FAST, tokenizer)
    train_step = TrainStep(model, FAST, choose_hardware("cpu", "auto"), sampler=sampler, features=features)
    augment = make_augmentation(shards, FAST, tokenizer)
    batches = Batches(shards.training(), FAST.batch_size, config.max_seq_length, 0, 0, augment)
    done = 0

    def fast_step() -> int:
        nonlocal done
        batch = batches.batch(*divmod(done, batches.steps_per_epoch), augmented=True)
        train_step.run(batch, done, 1.0)
        done += 1
        return batch.targets.numel()

    return fast_step
