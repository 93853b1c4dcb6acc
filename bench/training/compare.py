"""Compare three ways to train the same model on the same text and machine: quality against time.

- `guide`: the guide's recipe (AdamW at 3e-4, cosine by epochs), in tinyedge's loop.
- `plain`: the usual settings for GPT-2 (AdamW with a tuned rate, warm-up, cosine by steps, clipped gradients;
  those of nanoGPT), in a plain eager fp32 loop defined below.
- `fast`: tinyedge's own recipe.

    python -m bench.training.compare --input novels.txt --text en=english.txt es=spanish.txt --output-dir out

Writes `compare.json`, `compare.md` and `compare.png` to the output folder. The bits per byte after each epoch
are those of the corpus' held-out documents. The last columns are the results of `tinyedge eval` on the given
texts. `fast` also runs for a fraction of a minute, to find how soon it reaches the best quality of `guide`.
Throughput is measured separately, with plain and fast steps alternating in one process; the result is the
median of the ratios. Runs that are finished in the output folder are reused.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.text.evaluate import evaluate, read_passages
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.train.data import Batches
from tinyedge.train.hardware import choose_hardware
from tinyedge.train.methods.augmentation import make_augmentation
from tinyedge.train.methods.features import build_features
from tinyedge.train.methods.sampled_softmax import make_candidate_sampler
from tinyedge.train.model import TinyTransformer
from tinyedge.train.recipe import FAST, GUIDE
from tinyedge.train.step import TrainStep
from tinyedge.train.validation import CheckpointModel, validate

# From nanoGPT's train.py. The rate suits a model of this size: ten times the guide's, as in `fast`.
RATE, FLOOR, WARMUP, BETAS, DECAY, CLIP, BATCH = 3e-3, 0.1, 100, (0.9, 0.95), 0.1, 1.0, 32
MODEL = ModelConfig()
STEPS_PER_TURN, TURNS = 15, 6

Point = dict[str, Any]  # minutes, tokens, bits_per_byte by language


class PlainLoop:
    """The simplest training loop: eager, fp32, full logits, one AdamW."""

    def __init__(self, shards: Shards, epochs: int) -> None:
        torch.manual_seed(0)
        self.model = TinyTransformer(MODEL)
        self.model.initialize(0.02)
        self._batches = Batches(shards.training(), BATCH, MODEL.max_seq_length, 0, seed=0)
        self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=RATE, betas=BETAS, weight_decay=DECAY)
        self._steps = epochs * self.steps_per_epoch
        self._done = 0

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return self._batches.steps_per_epoch

    def step(self) -> int:
        """Run one step, and return the number of its tokens."""
        epoch, step = divmod(self._done, self.steps_per_epoch)
        batch = self._batches.batch(epoch, step)
        logits = self.model(batch.inputs)
        loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), batch.targets.view(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        for group in self._optimizer.param_groups:
            group["lr"] = RATE * self._factor()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._done += 1
        return batch.targets.numel()

    def _factor(self) -> float:
        if self._done < WARMUP:
            return (self._done + 1) / WARMUP
        progress = (self._done - WARMUP) / max(1, self._steps - WARMUP)
        return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * min(1.0, progress))) / 2


def main() -> None:
    """Run the comparison."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--input", type=Path, required=True, help="text to train on")
    arguments.add_argument("--text", nargs="+", default=[], metavar="NAME=FILE", help="text to evaluate on")
    arguments.add_argument("--output-dir", type=Path, default=Path("training-compare"))
    arguments.add_argument("--guide-epochs", type=int, default=GUIDE.epochs)
    arguments.add_argument("--plain-epochs", type=int, default=5)
    arguments.add_argument("--fast-epochs", type=int, default=FAST.epochs)
    arguments.add_argument("--short-minutes", type=float, default=0.5, help="length of the short run of fast")
    options = arguments.parse_args()
    out: Path = options.output_dir
    texts = dict(word.split("=", 1) for word in options.text)

    runs = {
        "fast": train(out / "fast", "fast", options.fast_epochs, options.input, texts),
        "fast-short": train(out / "fast-short", "fast", 1, options.input, texts, options.short_minutes),
        "guide": train(out / "guide", "guide", options.guide_epochs, options.input, texts),
        "plain": train_plain(out / "fast", options.plain_epochs, texts),
    }
    tokenizer = Tokenizer.load(out / "fast" / "bilingual_8k.model")
    shards = Shards.load(out / "fast" / "shards")
    ratios = throughput(shards, tokenizer)
    report = {
        "schema": "tinyedge.training-compare/1",
        "hardware": choose_hardware("auto", "auto").description,
        "runs": runs,
        "throughput_ratios": ratios,
        "time_to_guide_quality": time_to_quality(runs, "guide", "fast-short"),
    }
    files.write_json(out / "compare.json", report)
    files.write_bytes(out / "compare.md", format_table(report).encode())
    draw_chart(report, out / "compare.png")
    print(format_table(report))


def train(
    folder: Path, recipe: str, epochs: int, text: Path, texts: dict[str, str], minutes: float | None = None
) -> dict[str, Any]:
    """Run `tinyedge train`, and read its results."""
    command = [sys.executable, "-m", "tinyedge", "train", "--input", str(text), "--output-dir", str(folder)]
    command += ["--recipe", recipe, "--epochs", str(epochs)]
    subprocess.run([*command, *(("--max-minutes", str(minutes)) if minutes else ())], check=True)
    metrics = json.loads((folder / "training_metrics.json").read_text())
    points = [
        {
            "minutes": record["elapsed_s"] / 60,
            "tokens": record["tokens"],
            "bits_per_byte": record["val_bits_per_byte"],
        }
        for record in metrics["epoch_history"]
    ]
    evaluated = {}
    if texts:
        words = [f"{name}={path}" for name, path in texts.items()]
        report = folder / "eval.json"
        command = [sys.executable, "-m", "tinyedge", "eval", str(folder / "final_model.pt"), "--text", *words]
        subprocess.run([*command, "--json", str(report)], check=True)
        evaluated = {r["name"]: r["bits_per_byte"] for r in json.loads(report.read_text())["results"]}
    return {"points": points, "judged": evaluated}


def train_plain(data: Path, epochs: int, texts: dict[str, str]) -> dict[str, Any]:
    """Run the plain loop on the shards of another run."""
    shards = Shards.load(data / "shards")
    tokenizer = Tokenizer.load(data / "bilingual_8k.model")
    loop = PlainLoop(shards, epochs)
    points: list[Point] = []
    seconds, tokens = 0.0, 0
    for epoch in range(epochs):
        started = time.monotonic()
        for _ in range(loop.steps_per_epoch):
            tokens += loop.step()
        seconds += time.monotonic() - started
        found = validate(loop.model, shards.validation(), torch.device("cpu"))
        bits = {quality.name: quality.bits_per_byte for quality in found}
        points.append({"minutes": seconds / 60, "tokens": tokens, "bits_per_byte": bits})
        print(f"plain epoch {epoch + 1}: {seconds:.0f} s, {bits['all']:.3f} bits per byte", flush=True)
    model = CheckpointModel(loop.model.eval())
    evaluated = {
        name: evaluate(name, model, read_passages(Path(path), tokenizer)).bits_per_byte
        for name, path in texts.items()
    }
    return {"points": points, "judged": evaluated}


def throughput(shards: Shards, tokenizer: Tokenizer) -> list[float]:
    """Measure the speed of `fast` relative to the plain loop. Returns one ratio for each turn."""
    plain = PlainLoop(shards, epochs=10)
    torch.manual_seed(0)
    model = TinyTransformer(MODEL)
    model.initialize(FAST.init_std)
    sampler = make_candidate_sampler(shards, FAST, tokenizer.vocab_size)
    features = build_features(shards, FAST, tokenizer)
    train_step = TrainStep(model, FAST, choose_hardware("cpu", "auto"), sampler=sampler, features=features)
    augment = make_augmentation(shards, FAST, tokenizer)
    batches = Batches(shards.training(), FAST.batch_size, MODEL.max_seq_length, 0, 0, augment)
    done = 0

    def fast_step() -> int:
        nonlocal done
        batch = batches.batch(*divmod(done, batches.steps_per_epoch), augmented=True)
        train_step.run(batch, done, 1.0)
        done += 1
        return batch.targets.numel()

    ratios = []
    for turn in range(TURNS + 1):
        speeds = []
        for step, steps in (
            (plain.step, STEPS_PER_TURN),
            (fast_step, STEPS_PER_TURN * BATCH // FAST.batch_size),
        ):
            started = time.perf_counter()
            tokens = sum(step() for _ in range(steps))
            speeds.append(tokens / (time.perf_counter() - started))
        if turn:  # the first turn is for warming up
            ratios.append(speeds[1] / speeds[0])
    return ratios


def time_to_quality(runs: dict[str, Any], slow: str, quick: str) -> dict[str, float] | None:
    """Return when `slow` and `quick` reach the best quality of `slow`, in minutes; None if `quick` fails."""
    best = min(runs[slow]["points"], key=lambda point: point["bits_per_byte"]["all"])
    goal = best["bits_per_byte"]["all"]
    for point in runs[quick]["points"]:
        if point["bits_per_byte"]["all"] <= goal:
            return {"goal": goal, slow: best["minutes"], quick: point["minutes"]}
    return None


def format_table(report: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    names = sorted({name for run in report["runs"].values() for name in run["judged"]})
    lines = [
        f"{report['hardware']}, one machine, one run after the other.",
        "",
        "| recipe | epochs | minutes | held-out documents, bits per byte | "
        + " | ".join(f"{name}, bits per byte" for name in names)
        + (" |" if names else ""),
        "|---|---|---|---|" + "---|" * len(names),
    ]
    for name, run in report["runs"].items():
        for number, point in enumerate(run["points"], 1):
            last = number == len(run["points"])
            evaluated = [f"{run['judged'].get(text, math.nan):.3f}" if last else "" for text in names]
            cells = [
                name,
                str(number),
                f"{point['minutes']:.1f}",
                f"{point['bits_per_byte']['all']:.3f}",
                *evaluated,
            ]
            lines.append(f"| {' | '.join(cells)} |")
    ratios = report["throughput_ratios"]
    lines += [
        "",
        f"Throughput of fast over plain: {statistics.median(ratios):.2f} (median of {len(ratios)} turns,"
        f" {min(ratios):.2f} to {max(ratios):.2f}).",
    ]
    reached = report["time_to_guide_quality"]
    if reached:
        lines.append(
            f"The guide's recipe was best after {reached['guide']:.1f} minutes, at {reached['goal']:.3f} bits"
            f" per byte; a short run of fast that is better took {reached['fast-short']:.2f} minutes:"
            f" 1/{reached['guide'] / reached['fast-short']:.0f}."
        )
    return "\n".join(lines) + "\n"


def draw_chart(report: dict[str, Any], path: Path) -> None:
    """Draw held-out bits per byte against minutes."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, run in report["runs"].items():
        minutes = [point["minutes"] for point in run["points"]]
        bits = [point["bits_per_byte"]["all"] for point in run["points"]]
        (line,) = axes.plot(minutes, bits, marker="o", markersize=4)
        axes.annotate(f" {name}", (minutes[-1], bits[-1]), color=line.get_color(), va="center", fontsize=12)
    axes.set_xscale("log")
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("held-out documents, bits per byte")
    axes.set_title(f"Quality against time: {report['hardware']}")
    axes.grid(alpha=0.3)
    axes.margins(x=0.15)
    with files.atomic_writer(path) as file:
        figure.savefig(file, format="png", dpi=130)


if __name__ == "__main__":
    main()
