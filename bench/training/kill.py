"""Kills training with SIGKILL at random moments, half of them inside a save, and resumes it to the end.

    python -m bench.training.kill --kills 300

Passes when every run that was killed ends like the one that was not: the same sha256 of the final weights,
the same history, the same files. A run is killed and resumed until one of its lives ends before its kill; a
bit that one kill changed would still be changed at the end, so equal weights clear all of a run's kills.

Importing torch takes longer than a life of the tiny model, so this process imports it once and forks a child
for each life, which runs what `tinyedge train` runs. It computes nothing itself and torch gets one thread, so
that there is no thread pool for a fork to break. Where a kill fell is read from what it left: a half-written
`.name.pt.tmp` that is younger than the life.
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
import torch._dynamo  # every optimizer imports it, which would take most of a life

from tinyedge.core.config import ModelConfig
from tinyedge.core.files import TEMPORARY_SUFFIX
from tinyedge.core.runs import METRICS_FILE
from tinyedge.corpus import phrasebook
from tinyedge.corpus.build import CorpusRequest
from tinyedge.text.train_tokenizer import TokenizerConfig
from tinyedge.train.hardware import choose_hardware
from tinyedge.train.limits import RunLimits
from tinyedge.train.pipeline import RunRequest, run
from tinyedge.train.recipe import resolve
from tinyedge.train.storage import checkpoint

DOCUMENTS = 150  # of the phrasebook: enough for its vocabulary
MODEL = ModelConfig(  # more pieces than the fast recipe's softmax runs over, so that it samples
    vocab_size=1100, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
)
TRAINING = resolve("fast", {"epochs": 6, "batch_size": 32, "stride": 120})  # some 4 steps an epoch
LIMITS = RunLimits(checkpoint_minutes=0.001, keep=1)  # so that saves fall between steps too
VOLATILE = {"tokens_per_second", "elapsed_s"}  # of the history
SAVE_S = 0.01  # a save takes about so long


class Silent:
    """A Reporter that says nothing."""

    def step(self, progress: object) -> None: ...
    def epoch(self, record: object) -> None: ...
    def sample(self, prompt: str, text: str) -> None: ...
    def note(self, text: str) -> None: ...


@dataclass(frozen=True)
class Result:
    """What a run left: its weights' sha256, its history, its files."""

    sha256: str
    history: list[dict[str, Any]]
    names: tuple[str, ...]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--kills", type=int, default=300)
    arguments.add_argument("--seed", type=int, default=0, help="of the moments")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if survives(Path(folder), options.kills, random.Random(options.seed)) else 1)


def survives(folder: Path, kills: int, chance: random.Random) -> bool:
    """Kills so often, prints what became of it, and says whether all was well."""
    text = folder / "text.txt"
    documents = itertools.islice(phrasebook.generate_documents(), DOCUMENTS)
    text.write_text("\n\n".join("\n".join(document.sentences) for document in documents), encoding="utf-8")
    first, whole = folder / "first", folder / "whole"
    wait(begin_life(text, first))  # makes corpus, tokenizer and shards
    prepare(first, whole)
    began = time.monotonic()
    wait(begin_life(text, whole))
    seconds = time.monotonic() - began
    expected = read_result(whole)
    done = equal = inside = runs = 0
    while done < kills:
        killed = folder / "killed"
        prepare(whole, killed)
        here = 0
        while done + here < kills:
            in_save = 2 * inside <= done + here
            after = chance.uniform(0, seconds / 2)  # later moments are reached by the lives that go on
            fell_inside = kill_once(text, killed, after, in_save, chance)
            if fell_inside is None:
                if here == 0 and not in_save:
                    seconds = after  # a whole life is shorter: the machine has become less busy
                break
            here += 1
            inside += fell_inside
        else:
            wait(begin_life(text, killed))
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
    """A folder where only training is left to do."""
    folder.mkdir()
    for path in whole.iterdir():
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        elif path.suffix != ".pt" and not path.name.startswith("training_"):
            shutil.copy2(path, folder)


def begin_life(text: Path, folder: Path) -> int:
    """Forks a child that trains, or goes on training, in `folder`; returns its process id."""
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
        run(request, Silent())
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def wait(child: int) -> None:
    """Waits for a life that must end well."""
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit("a life failed; see above")


def kill_once(text: Path, folder: Path, seconds: float, in_save: bool, chance: random.Random) -> bool | None:
    """Begins a life and kills it after `seconds`, or inside the first save from then on.

    Says whether the kill fell inside a save; None when the life ended before it.
    """
    began = time.time_ns()
    child = begin_life(text, folder)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline or (in_save and not half_written(folder, began)):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if status:
                sys.exit("a life failed; see above")
            return None
        time.sleep(0.0002)
    if in_save:
        time.sleep(chance.uniform(0, SAVE_S))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return half_written(folder, began) if os.WIFSIGNALED(status) else None


def half_written(folder: Path, since_ns: int) -> bool:
    """Whether a checkpoint is being written, or was left so, since then."""
    for path in folder.glob(f".*.pt{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime_ns >= since_ns:
                return True
    return False


def read_result(folder: Path) -> Result:
    """Of a run that must be finished."""
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
