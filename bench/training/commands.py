"""The commands of tinyedge that the benchmarks of training run, and what they answer.

In: words of a command, as a shell has them. Out: its JSON. A command that fails is a BenchError with its
error line.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge.cli._named_files import parse_named_files
from tinyedge.core import files
from tinyedge.core.errors import BenchError, TinyEdgeError, UsageError
from tinyedge.core.run_files import BEST_FILE
from tinyedge.core.runs import METRICS_FILE
from tinyedge.ngram import DEFAULT_NGRAM_MB


@dataclass(frozen=True)
class Evaluation:
    """What `tinyedge eval` found."""

    bits_per_byte: dict[str, float]
    """By the name of the text."""
    is_mixed: bool
    """Whether the model was mixed with the n-grams of its bundle."""


def add_ngram_option(parser: argparse.ArgumentParser) -> None:
    """Add the option `--ngram-mb`, whose default is that of `tinyedge export`."""
    parser.add_argument(
        "--ngram-mb", type=float, default=DEFAULT_NGRAM_MB, help="largest table of n-grams, in MB"
    )


def run_main(body: Callable[[], None]) -> int:
    """Run a benchmark; print a known failure as one line and a hint, and return the exit code."""
    try:
        body()
    except TinyEdgeError as failure:
        print(f"error: {failure.message}", file=sys.stderr)
        if failure.hint:
            print(f"hint: {failure.hint}", file=sys.stderr)
        return failure.exit_code
    return 0


def run_shown(*words: object) -> None:
    """Run a command that takes minutes and shows its progress.

    Raises:
        BenchError: It failed; it has said why.
    """
    done = subprocess.run(_make_command(words), check=False)
    if done.returncode:
        raise BenchError(f"tinyedge {words[0]} ended with {done.returncode}, see above")


def run_json(*words: object) -> dict[str, Any]:
    """Run a command with `--json`, and return what it prints.

    Raises:
        BenchError: It failed.
    """
    print(f"tinyedge {' '.join(map(str, words))}", file=sys.stderr, flush=True)
    done = subprocess.run([*_make_command(words), "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        raise BenchError(f"tinyedge {words[0]}: {(errors or lines)[-1]}")
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def evaluate_texts(model: Path, texts: Mapping[str, Path], *flags: str) -> Evaluation:
    """Run `tinyedge eval` on a checkpoint or a bundle.

    Args:
        model: The checkpoint or the bundle.
        texts: Text files by name; at least one.
        flags: Further flags, such as `--no-ngrams`.

    Raises:
        BenchError: It failed.
    """
    named = [word for name, path in texts.items() for word in ("--text", f"{name}={path}")]
    value = run_json("eval", model, *named, *flags)
    bits = {str(result["name"]): float(result["bits_per_byte"]) for result in value["results"]}
    return Evaluation(bits, bool(value["ngrams"]))


def export_bundle(checkpoint: Path, bundle: Path, ngram_mb: float, *flags: str) -> dict[str, Any]:
    """Run `tinyedge export`, and return the manifest of the bundle.

    Args:
        checkpoint: A checkpoint in the folder of its run.
        bundle: Folder of the bundle; an older one is replaced.
        ngram_mb: Largest size of its table of n-grams in MB.
        flags: Further flags, such as `--quantize none`.

    Raises:
        BenchError: It failed.
    """
    words = ("export", checkpoint, "--output-dir", bundle, "--ngram-mb", f"{ngram_mb:g}", *flags)
    manifest: dict[str, Any] = run_json(*words)["manifest"]
    return manifest


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split the command line at `--`: words of this command, flags of `tinyedge train`."""
    end = list(words).index("--") if "--" in words else len(words)
    return [*words[:end]], [*words[end + 1 :]]


def parse_texts(values: Sequence[str], option: str = "--text") -> dict[str, Path]:
    """Return the text files of an option by name, in the order given.

    Raises:
        UsageError: A value is not NAME=FILE, a name is given twice, or a file does not exist.
    """
    texts = parse_named_files(values, option)
    for path in texts.values():
        files.require_file(path, UsageError)
    return texts


def parse_run_folders(values: Sequence[str]) -> dict[str, Path]:
    """Return the run folders of `--run` by name, in the order given. A value is DIR or NAME=DIR.

    Raises:
        UsageError: A name is given twice, or a folder holds no finished run.
    """
    named = [value if "=" in value else f"{Path(value).resolve().name}={value}" for value in values]
    folders = parse_named_files(named, "--run")
    for folder in folders.values():
        for name in (METRICS_FILE, BEST_FILE):
            files.require_file(folder / name, UsageError, "pass the folder of a finished `tinyedge train`")
    return folders


def _make_command(words: Sequence[object]) -> list[str]:
    return [sys.executable, "-m", "tinyedge", *map(str, words)]
