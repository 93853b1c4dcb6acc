"""`make demo`: run every step from text to verdict with the commands a user would type, and print a summary.

Existing results are reused, with a message. Exits with 0 if all steps ran, whatever the verdict is; otherwise
with the code of the step that failed.
"""

import argparse
import json
import shlex
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.demo_report import make_report, save_report
from tinyedge.bundle.bundle import load_bundle
from tinyedge.bundle.manifest import MIXED_BITS, NGRAMS_FILE
from tinyedge.core.errors import BundleError
from tinyedge.core.files import sha256_file

PROMPTS = {"en": "My sister", "es": "Mi hermana"}  # for a bundle without openings of its text
PHRASEBOOK = [
    "--source",
    "phrasebook",
    "--epochs",
    "4",
]  # made of patterns: half of the default epochs are enough
TASKS = {
    "commands": [
        *("--source", "commands", "--templates", "builtin", "--pairs", "40000", "--epochs", "4"),
        *("--vocab-size", "1000", "--num-layers", "3"),
    ]
}  # a task's flags of `train`: pairs that need no download
TASK_PROMPTS = {"en": "turn on the bedroom lamp", "es": "apaga la luz del pasillo"}
HOME = Path(__file__).parent / "commands/home.json"
SEED = 1
WIDTH = 80  # columns of the last screen
MAX_LINES = 2  # of a text


def main() -> None:
    """Run all steps."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, default=Path("data"))
    arguments.add_argument("--bundle", type=Path, default=Path("bundle"))
    arguments.add_argument("--corpus", help="your own text: a file or a folder; default: the phrasebook")
    arguments.add_argument("--task", choices=sorted(TASKS), help="train a model of a task instead of text")
    arguments.add_argument("--train-flags", default="", help="additional flags for `tinyedge train`")
    arguments.add_argument("--record", action="store_true", help="keep the durations for README.md")
    options = arguments.parse_args()
    data, bundle = options.data, options.bundle

    steps = Steps()
    if options.task and options.corpus:
        arguments.error("CORPUS and TASK are mutually exclusive: a task has pairs of its own")
    source = ["--input", options.corpus] if options.corpus else TASKS.get(options.task, PHRASEBOOK)
    resume = ["--resume"] if is_unfinished(data) else []
    flags = [*resume, *shlex.split(options.train_flags)]
    trained = steps.run("train", *source, "--output-dir", data, *flags, capture=True)
    print(trained.partition("next: ")[0].rstrip(), flush=True)  # the demo itself does what is next
    checkpoint = data / "best_model.pt"
    if is_export_of(bundle, checkpoint):
        print(f"export: reused {bundle}", flush=True)
    else:
        earlier = read_quality(bundle)
        steps.run("export", checkpoint, "--output-dir", bundle)
        if earlier:
            print(f"export: {bundle} held another model, {format_change(earlier, read_quality(bundle))}")
    prompts = TASK_PROMPTS if options.task else choose_prompts(load_bundle(bundle).manifest)
    how = ["--home", HOME, "--temperature", 0] if options.task else []
    completions = {
        language: json.loads(
            steps.run("generate", bundle, "--prompt", prompt, *how, "--seed", SEED, "--json", capture=True)
        )
        for language, prompt in prompts.items()
    }
    bench = data / "bench.json"
    verdict = steps.run("bench", bundle, "--json", bench, capture=True, allowed=(0, 3, 4))
    seconds = {**steps.seconds, "all": time.monotonic() - steps.started}
    print(format_summary(data, bundle, completions, verdict, seconds["all"]))
    if options.record:
        training_s = json.loads((data / "training_metrics.json").read_text())["elapsed_s"]
        save_report(make_report(json.loads(bench.read_text()), seconds, training_s))


class Steps:
    """Runs commands, and adds up how long each took."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.seconds: dict[str, float] = {}

    def run(self, *words: object, capture: bool = False, allowed: tuple[int, ...] = (0,)) -> str:
        """Print and run one command; end the demo if it fails.

        Args:
            words: Arguments of `tinyedge`.
            capture: Whether to return the standard output instead of showing it.
            allowed: Exit codes that are not failures.
        """
        command = [str(word) for word in words]
        print(f"$ tinyedge {shlex.join(command)}", flush=True)
        stdout = subprocess.PIPE if capture else None
        started = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-m", "tinyedge", *command], stdout=stdout, text=True
        ) as process:
            try:
                output, _ = process.communicate()
            except KeyboardInterrupt:  # the command receives it too, and saves before it exits
                process.wait()
                print("interrupted; run `make demo` again to continue", file=sys.stderr)
                sys.exit(130)
        if process.returncode not in allowed:
            sys.exit(process.returncode)
        self.seconds[command[0]] = self.seconds.get(command[0], 0) + time.monotonic() - started
        return output or ""


def is_unfinished(data: Path) -> bool:
    """Return whether a training run was interrupted and left a checkpoint to resume from."""
    metrics = data / "training_metrics.json"
    status = json.loads(metrics.read_text()).get("status", "finished") if metrics.exists() else "running"
    return any(data.glob("checkpoint_*.pt")) and bool(status != "finished")


def is_export_of(bundle: Path, checkpoint: Path) -> bool:
    """Return whether an existing bundle was exported from exactly this checkpoint."""
    try:
        training: Any = load_bundle(bundle).manifest["training"]
    except BundleError:
        return False
    return bool(training["checkpoint_sha256"] == sha256_file(checkpoint))


def read_quality(bundle: Path) -> dict[str, float]:
    """Return the bits per byte of an existing bundle by text; empty if there is none."""
    try:
        quality: Any = load_bundle(bundle).manifest["quality"]
    except BundleError:
        return {}
    return {name: row["bits_per_byte"] for name, row in quality.items()}


def format_change(earlier: Mapping[str, float], now: Mapping[str, float]) -> str:
    """Format the quality before and after, each on the held-out text of its own run."""
    before, after = (", ".join(f"{name} {bits:.3f}" for name, bits in one.items()) for one in (earlier, now))
    return f"bits per byte before: {before}; now: {after}"


def choose_prompts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Choose a prompt for each text that the model was measured on: an opening of it, or one of PROMPTS."""
    openings = manifest.get("openings", {})
    return {
        name: openings[name][0] if name in openings else PROMPTS.get(name, "") for name in manifest["quality"]
    }


def format_summary(
    data: Path, bundle: Path, completions: dict[str, dict[str, Any]], verdict: str, seconds: float
) -> str:
    """Format one screen: what was learned, a text in each language, quality, sizes, the bench table."""
    manifest: Any = load_bundle(bundle).manifest
    metrics = json.loads((data / "training_metrics.json").read_text())
    training_s = metrics["elapsed_s"]
    reused = " with reused results" if seconds < training_s else ""
    lines = [
        f"== tinyedge: text to verdict in {seconds:.0f} s{reused}; training took {training_s:.0f} s ==",
        *format_samples(metrics.get("samples", [])),
        "the bundle writes",
    ]
    for name, completion in completions.items():
        lines.append(format_text(name, completion["prompt"] + completion["text"]))
    lines.append("held-out text, bits per byte     fp32   shipped   change")
    for name, row in manifest["quality"].items():
        fp32, shipped = row["fp32_bits_per_byte"], row.get(MIXED_BITS, row["bits_per_byte"])
        lines.append(f"  {name:<29} {fp32:6.3f} {shipped:9.3f} {100 * (shipped / fp32 - 1):+7.2f}%")
    sizes = {"final_model.pt": (data / "final_model.pt").stat().st_size}
    sizes |= {name: file["size"] for name, file in manifest["files"].items() if name != "README.md"}
    if "ngrams" in manifest:
        sizes[NGRAMS_FILE] = manifest["ngrams"]["size"]
    listed = ", ".join(f"{name} {size / 2**20:.2f} MB" for name, size in sizes.items())
    lines.append(textwrap.fill(f"sizes  {listed}", WIDTH, subsequent_indent="       "))
    return "\n".join([*lines, verdict.rstrip()])


def format_samples(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    """Format what the model wrote for one prompt at its first two samples and at the last one."""
    texts = {
        sample["epoch"]: sample["text"] for sample in samples if sample["prompt"] == samples[0]["prompt"]
    }
    if len(texts) < 2:
        return []
    epochs = sorted(texts)
    return [
        "it learned to write",
        *(
            format_text(f"epoch {epoch}" if epoch else "untrained", texts[epoch])
            for epoch in sorted({*epochs[:2], epochs[-1]})
        ),
    ]


def format_text(label: str, text: str) -> str:
    """Format a text behind its label, in at most MAX_LINES lines."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=f"  {label:<9} ",
        subsequent_indent=" " * 12,
        max_lines=MAX_LINES,
        placeholder=" ...",
    )


if __name__ == "__main__":
    main()
