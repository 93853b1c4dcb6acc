"""Kill training with SIGKILL at random moments, half of them inside a save, and resume it to the end.

    python -m bench.training.kill --kills 300

Passes if every killed run ends like the one that was not killed: the same sha256 of the final weights, the
same history, the same files. A run is killed and resumed until one of its processes finishes before its kill.
A bit changed by any kill would still differ at the end, so equal weights prove all kills of a run harmless.

Importing torch takes longer than training the tiny model. This process therefore imports it once and forks a
child for each attempt, which runs the code of `tinyedge train`. It computes nothing itself, and torch has one
thread, so that no thread pool breaks in a fork. Whether a kill hit a save is determined from what it left: an
incomplete `.name.pt.tmp` that is newer than the child.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # every optimizer imports it, which would take most of a child's time

from tinyedge.core.config import ModelConfig
from tinyedge.core.files import TEMPORARY_SUFFIX
from tinyedge.core.runs import METRICS_FILE
from tinyedge.corpus import phrasebook
from tinyedge.corpus.build import CorpusRequest
from tinyedge.text.train_tokenizer import TokenizerConfig
from tinyedge.train.hardware import choose_hardware
from tinyedge.train.limits import RunLimits
from tinyedge.train.pipeline import run
from tinyedge.train.recipe import resolve
from tinyedge.train.run_request import RunRequest
from tinyedge.train.storage import checkpoint

DOCUMENTS = 150  # of the phrasebook: enough for the vocabulary
MODEL = ModelConfig(  # more pieces than the fast recipe's softmax runs over, so that it samples
    vocab_size=1100, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
)
TRAINING = resolve("fast", {"epochs": 6, "batch_size": 32, "stride": 120})  # about 4 steps per epoch
LIMITS = RunLimits(checkpoint_minutes=0.001, keep=1)  # so that it also saves between steps
VOLATILE = {"tokens_per_second", "elapsed_s"}  # fields of the history
SAVE_S = 0.01  # approximate duration of a save


class NullReporter:
    """A Reporter that does nothing."""

    def phase(self, name: str) -> None:
        """Ignore."""

    def step(self, progress: object) -> None:
        """Ignore the progress."""

    def epoch(self, record: object) -> None:
        """Ignore the record."""

    def sample(self, prompt: str, text: str) -> None:
        """Ignore the sample."""

    def note(self, text: str) -> None:
        """Ignore the note."""


@dataclass(frozen=True)
class Result:
    """Result of a finished run."""

    sha256: str
    """Digest of the final weights."""

    history: list[dict[str, Any]]
    """Epoch records, without times."""

    names: tuple[str, ...]
    """Names of all files in the folder."""


def main() -> None:
    """Run the bench."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--kills", type=int, default=300)
    arguments.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if survives_kills(Path(folder), options.kills, random.Random(options.seed)) else 1)


def survives_kills(folder: Path, kills: int, random_source: random.Random) -> bool:
    """Kill runs, print the results, and return whether all runs ended as expected.

    Args:
        folder: Folder to work in.
        kills: Number of kills.
        random_source: Draws the moments.
    """
    text = folder / "text.txt"
    documents = itertools.islice(phrasebook.generate_documents(), DOCUMENTS)
    text.write_text("\n\n".join("\n".join(document.sentences) for document in documents), encoding="utf-8")
    first, whole = folder / "first", folder / "whole"
    wait_for(start_child(text, first))  # prepares corpus, tokenizer and shards
    prepare(first, whole)
    began = time.monotonic()
    wait_for(start_child(text, whole))
    seconds = time.monotonic() - began
    expected = read_result(whole)
    done = equal = inside = runs = 0
    while done < kills:
        killed = folder / "killed"
        prepare(whole, killed)
        here = 0
        while done + here < kills:
            in_save = 2 * inside <= done + here
            after = random_source.uniform(0, seconds / 2)  # resumed children reach the later moments
            fell_inside = kill_once(text, killed, after, in_save, random_source)
            if fell_inside is None:
                if here == 0 and not in_save:
                    seconds = after  # a complete run takes less: the machine is less busy now
                break
            here += 1
            inside += fell_inside
        else:
            wait_for(start_child(text, killed))
        result = read_result(killed)
        runs, done, equal = runs + 1, done + here, equal + (here if result == expected else 0)
        if result != expected:
            print(f"not equal after {here} kills:\n{expected}\n{result}")
        elif sys.stdout.isatty():
            print(f"\r{equal}/{kills} equal", end="", flush=True)
        shutil.rmtree(killed)
    print(f"\r{equal}/{done} equal, {inside} killed inside a save, {runs} runs")
    return equal == done


def prepare(whole: Path, folder: Path) -> None:
    """Copy a run folder without its checkpoints and metrics, so that only training is missing."""
    folder.mkdir()
    for path in whole.iterdir():
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        elif path.suffix != ".pt" and not path.name.startswith("training_"):
            shutil.copy2(path, folder)


def start_child(text: Path, folder: Path) -> int:
    """Fork a child that starts or resumes training in `folder`, and return its process id."""
    child = os.fork()
    if child:
        return child
    try:
        request = RunRequest(
            output_dir=folder,
            corpus=CorpusRequest((), (text,)),
            tokenizer=TokenizerConfig(MODEL.vocab_size),
            model=MODEL,
            training=TRAINING,
            hardware=choose_hardware("cpu", "fp32"),
            limits=LIMITS,
            resume=bool(checkpoint.list_resumable(folder)),
        )
        run(request, NullReporter())
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def wait_for(child: int) -> None:
    """Wait for a child that must succeed."""
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit("a child failed; see above")


def kill_once(
    text: Path, folder: Path, seconds: float, in_save: bool, random_source: random.Random
) -> bool | None:
    """Start a child, and kill it after `seconds` or inside the first save after that.

    Returns:
        Whether the kill hit a save; None if the child ended before.
    """
    began = time.time_ns()
    child = start_child(text, folder)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline or (in_save and not has_incomplete_save(folder, began)):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if status:
                sys.exit("a child failed; see above")
            return None
        time.sleep(0.0002)
    if in_save:
        time.sleep(random_source.uniform(0, SAVE_S))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return has_incomplete_save(folder, began) if os.WIFSIGNALED(status) else None


def has_incomplete_save(folder: Path, since_ns: int) -> bool:
    """Whether a checkpoint is being written, or was left incomplete, since a moment."""
    for path in folder.glob(f".*.pt{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime_ns >= since_ns:
                return True
    return False


def read_result(folder: Path) -> Result:
    """Read the result of a run, which must be finished."""
    content = checkpoint.load(folder / checkpoint.FINAL_FILE)
    digest = hashlib.sha256()
    for name, tensor in sorted(content["model_state_dict"].items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    metrics = json.loads((folder / METRICS_FILE).read_text())
    if metrics["status"] != "finished":
        sys.exit(f"{folder} has status {metrics['status']}")
    history = [{k: v for k, v in record.items() if k not in VOLATILE} for record in metrics["epoch_history"]]
    return Result(digest.hexdigest(), history, tuple(sorted(path.name for path in folder.rglob("*"))))


if __name__ == "__main__":
    main()
