"""Measure the peak memory of `tinyedge train` for texts of growing size, each in a new process.

    python -m bench.training.memory --corpus novels.txt more_novels.txt --synthetic-gb 2

Corpus and tokenizer are prepared first, each by its own command. The measured process tokenizes, trains for
--minutes, evaluates the held-out text, saves and draws. The synthetic text is a token file of the given size
with random pieces, in a folder with a small corpus and its tokenizer. Prints a table in Markdown: the peak of
resident memory as the kernel records it (VmHWM), and the largest sampled value of its anonymous part, the
process's own memory. Child processes count too. All files are created under --folder and deleted.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyedge.core import files
from tinyedge.core.runs import METRICS_FILE
from tinyedge.corpus.build import CORPUS_NAME
from tinyedge.text.shards import FOLDER, INDEX_FILE, SCHEMA, TRAIN_FILE, VALIDATION_FILE
from tinyedge.text.tokenizer import Tokenizer, model_name

PERIOD_S = 0.01  # between samples
MB = 1 << 20
PIECES = 8000  # the default
TOKENS_PER_WRITE = 1 << 24  # tokens
PASSAGES, PASSAGE_TOKENS = 200, 1000  # held out of the synthetic text


@dataclass(frozen=True)
class Peak:
    """Peak memory of a process."""

    resident: int
    """Bytes."""

    anonymous: int
    """Bytes of the anonymous part."""


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--corpus", type=Path, nargs="+", required=True, help="text files, small to large")
    arguments.add_argument(
        "--synthetic-gb", type=float, default=2.0, help="size of the synthetic token file; 0 omits it"
    )
    arguments.add_argument("--minutes", type=float, default=0.5, help="minutes of training for each text")
    arguments.add_argument(
        "--folder", type=Path, help="folder to work in; default: the system's temporary one"
    )
    options = arguments.parse_args()
    print("| text | token file | steps | corpus | tokenizer | train | of it anonymous |")
    print("|---|---|---|---|---|---|---|")
    for corpus in options.corpus:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            made = [prepare(command, corpus, Path(folder)) for command in ("corpus", "tokenizer")]
            print_row(f"{corpus.stat().st_size / 1e6:,.1f} MB", Path(folder), made, options.minutes)
    if options.synthetic_gb:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            for command in ("corpus", "tokenizer"):
                prepare(command, options.corpus[0], Path(folder))
            write_synthetic_shards(Path(folder), int(options.synthetic_gb * 1e9 / 2))
            print_row("synthetic", Path(folder), [], options.minutes)


def print_row(name: str, folder: Path, preparation: list[Peak], minutes: float) -> None:
    """Train in `folder`, and print its row of the table."""
    peak = measure("train", "--output-dir", folder, "--max-minutes", minutes, "--epochs", 1)
    metrics = json.loads((folder / METRICS_FILE).read_text())
    batch = metrics["configuration"]["batch_size"] * metrics["configuration"]["max_seq_length"]  # tokens
    before = [f"{each.resident / MB:.0f} MB" for each in preparation] or ["", ""]
    size = (folder / FOLDER / TRAIN_FILE).stat().st_size
    cells = [
        name,
        f"{size / 1e6:,.1f} MB",
        f"{-(-metrics['epoch_history'][-1]['tokens'] // batch)}",
        *before,
        f"{peak.resident / MB:.0f} MB",
        f"{peak.anonymous / MB:.0f} MB",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


def prepare(command: str, corpus: Path, folder: Path) -> Peak:
    """Prepare the corpus or the tokenizer of `folder`."""
    inputs = ["--input", corpus] if command == "corpus" else []
    return measure(command, *inputs, "--output-dir", folder)


def measure(*words: object) -> Peak:
    """Run a command of tinyedge, and sample its memory and that of its child processes.

    Returns:
        The sum of the processes' peaks. SentencePiece runs in a child.
    """
    command = [sys.executable, "-m", "tinyedge", *map(str, words)]
    peaks: dict[int, Peak] = {}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while process.poll() is None:
            with contextlib.suppress(OSError):
                for pid in (process.pid, *map(int, children.read_text().split())):
                    peaks[pid] = sample_memory(pid, peaks.get(pid, Peak(0, 0)))
            time.sleep(PERIOD_S)
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}: {process.stderr.read()}")
    return Peak(sum(each.resident for each in peaks.values()), sum(each.anonymous for each in peaks.values()))


def sample_memory(pid: int, before: Peak) -> Peak:
    """Return a process's peak so far.

    Args:
        pid: The process. If it has just ended, it has no memory.
        before: Its peak so far.

    Raises:
        OSError: The process does not exist any more.
    """
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    resident, anonymous = (int(fields.get(name, "0")[0]) * 1024 for name in ("VmHWM", "RssAnon"))
    return Peak(max(before.resident, resident), max(before.anonymous, anonymous))


def write_synthetic_shards(folder: Path, tokens: int) -> None:
    """Write shards of `tokens` random training tokens for the corpus and tokenizer in `folder`."""
    shards = folder / FOLDER
    shards.mkdir()
    random = np.random.default_rng(0)
    for name, count in ((TRAIN_FILE, tokens), (VALIDATION_FILE, PASSAGES * PASSAGE_TOKENS)):
        with (shards / name).open("wb") as file:
            for start in range(0, count, TOKENS_PER_WRITE):
                size = min(TOKENS_PER_WRITE, count - start)
                random.integers(4, PIECES, size, dtype=np.uint16).astype("<u2").tofile(file)
    index = {
        "schema": SCHEMA,
        "corpus_sha256": files.sha256_file(folder / CORPUS_NAME),
        "tokenizer_sha256": Tokenizer.load(folder / model_name(PIECES)).sha256,
        "train_tokens": tokens,
        "train_bytes": 4 * tokens,
        "train_sha256": files.sha256_file(shards / TRAIN_FILE),
        "validation_sha256": files.sha256_file(shards / VALIDATION_FILE),
        "held_out": "documents",
        "validation": [
            {
                "language": "en",
                "start": n * PASSAGE_TOKENS,
                "tokens": PASSAGE_TOKENS,
                "bytes": 4 * PASSAGE_TOKENS,
            }
            for n in range(PASSAGES)
        ],
    }
    files.write_json(shards / INDEX_FILE, index)


if __name__ == "__main__":
    main()
