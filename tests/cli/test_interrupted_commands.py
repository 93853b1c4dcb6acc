"""A command that was killed, or that failed, at any of its calls succeeds when it is repeated."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.crash import iterate_crashes
from tests.support.syllables import syllable_lines
from tinyedge.bundle.bundle import load_bundle, write_bundle
from tinyedge.cli.corpus import corpus
from tinyedge.cli.tokenizer import tokenizer
from tinyedge.core.errors import CheckpointError
from tinyedge.core.files import sha256_file
from tinyedge.text import train_tokenizer
from tinyedge.text.trainer_process import train_unigram

MICRO_BUNDLE = Path(__file__).parents[1] / "data" / "micro_bundle_int8"
CASES = [
    ("a new folder", "kill"),
    ("other text", "kill"),
    *(("a finished run", how) for how in ("kill", "fail", "fail forever")),
]


def write_text(path: Path, lines: list[str]) -> Path:
    """Write a text of several documents."""
    documents = ("\n".join(lines[start : start + 40]) for start in range(0, len(lines), 40))
    path.write_text("\n\n".join(documents) + "\n")
    return path


@pytest.fixture(scope="module")
def trained() -> dict[int, bytes]:
    """Vocabularies by the number of lines that they were trained on."""
    return {}


@pytest.fixture
def make_vocabulary(monkeypatch: pytest.MonkeyPatch, trained: dict[int, bytes]) -> None:
    """Train each vocabulary once."""

    def train_once(lines: Iterable[str], options: dict[str, Any]) -> bytes:
        listed = list(lines)
        if len(listed) not in trained:
            trained[len(listed)] = train_unigram(listed, options)
        return trained[len(listed)]

    monkeypatch.setattr(train_tokenizer, "train_unigram", train_once)


def add_finished_run(folder: Path) -> None:
    """Write the files of a finished run, without weights."""
    for name in ("best_model.pt", "final_model.pt", "training_curve.png"):
        (folder / name).write_bytes(name.encode())
    metrics = {"schema": "tinyedge.training/1", "status": "finished"}
    (folder / "training_metrics.json").write_text(json.dumps(metrics))
    (folder / "shards").mkdir()
    (folder / "shards" / "train.bin").write_bytes(b"tokens")


def read_contents(folder: Path) -> dict[str, bytes]:
    """Return all files except the reports, which contain the time."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def check_repeats(
    start: Path, run: Callable[[Path], object], how: str, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """Let `run` crash at each of its calls in a copy of a folder, repeat it, and compare the result."""
    folder = tmp_path / "data"

    def prepare() -> Callable[[], object]:
        shutil.rmtree(folder, ignore_errors=True)
        if start.exists():
            shutil.copytree(start, folder)
        return lambda: run(folder)

    crashes = 0
    for crashes in iterate_crashes(prepare, how):
        run(folder)
        found = read_contents(folder)
        previous = {Path(*Path(name).parts[2:]): data for name, data in found.items() if "previous" in name}
        found = {name: data for name, data in found.items() if "previous" not in name}
        wanted = {name: data for name, data in expected.items() if not name.startswith("previous/")}
        assert found == wanted, f"call {crashes}"
        if any(name.startswith("previous/") for name in expected):
            old = {Path(name): data for name, data in read_contents(start).items()}
            assert previous == old, f"call {crashes}"
    assert crashes > 5


@pytest.mark.parametrize(("state", "how"), CASES)
def test_corpus_can_be_repeated(state: str, how: str, tmp_path: Path) -> None:
    lines = syllable_lines(80)
    old, new = write_text(tmp_path / "old.txt", lines[40:]), write_text(tmp_path / "new.txt", lines)
    start, complete = tmp_path / "start", tmp_path / "complete"
    settings = {"lines": "auto", "field": "", "strict": False, "templates": "", "pairs": 200_000}
    if state != "a new folder":
        corpus(inputs=[old], output_dir=start, **settings)
    if state == "a finished run":
        add_finished_run(start)
    if start.exists():
        shutil.copytree(start, complete)
    corpus(inputs=[new], output_dir=complete, **settings)
    assert (complete / "previous").exists() == (state == "a finished run")
    check_repeats(
        start,
        lambda folder: corpus(inputs=[new], output_dir=folder, **settings),
        how,
        read_contents(complete),
        tmp_path,
    )
    report = json.loads((tmp_path / "data" / "corpus.json").read_text())
    assert report["corpus"]["sha256"] == sha256_file(tmp_path / "data" / "corpus_bilingual.txt")


@pytest.mark.parametrize(("state", "how"), CASES[:4])
def test_tokenizer_can_be_repeated(state: str, how: str, tmp_path: Path, make_vocabulary: None) -> None:
    lines = syllable_lines(2000)
    old, new = write_text(tmp_path / "old.txt", lines[100:]), write_text(tmp_path / "new.txt", lines)
    start, complete = tmp_path / "start", tmp_path / "complete"
    settings = {
        "vocab_size": 1000, "character_coverage": None, "byte_fallback": False, "separate_spaces": False,
    }  # fmt: skip
    start.mkdir()
    if state != "a new folder":
        tokenizer(corpus=old, output_dir=start, **settings)
    if state == "a finished run":
        add_finished_run(start)
    shutil.copytree(start, complete)
    tokenizer(corpus=new, output_dir=complete, **settings)
    assert (complete / "previous").exists() == (state == "a finished run")
    check_repeats(
        start,
        lambda folder: tokenizer(corpus=new, output_dir=folder, **settings),
        how,
        read_contents(complete),
        tmp_path,
    )
    report = json.loads((tmp_path / "data" / "tokenizer.json").read_text())
    assert report["sha256"] == sha256_file(tmp_path / "data" / "bilingual_1k.model")


@pytest.mark.parametrize(
    ("state", "how"), [("a new folder", "kill"), ("a bundle", "kill"), ("a bundle", "fail")]
)
def test_an_export_can_be_repeated(state: str, how: str, tmp_path: Path) -> None:
    bundle = load_bundle(MICRO_BUNDLE)
    own = {"schema", "created", "tinyedge", "files"}
    manifest = {name: value for name, value in bundle.manifest.items() if name not in own}

    def export(folder: Path, card: str = "new") -> None:
        write_bundle(folder, manifest, bundle.model, bundle.tokenizer, card)

    start, complete = tmp_path / "start", tmp_path / "complete"
    if state == "a bundle":
        export(start, "old")
    export(complete)
    check_repeats(start, export, how, read_contents(complete), tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    load_bundle(tmp_path / "data")


def test_an_unfinished_run_keeps_its_text_and_its_tokenizer(tmp_path: Path, make_vocabulary: None) -> None:
    lines = syllable_lines(2000)
    old, new = write_text(tmp_path / "old.txt", lines[100:]), write_text(tmp_path / "new.txt", lines)
    folder = tmp_path / "data"
    settings = {"lines": "auto", "field": "", "strict": False, "templates": "", "pairs": 200_000}
    corpus(inputs=[old], output_dir=folder, **settings)
    tokenizer(
        output_dir=folder,
        vocab_size=1000,
        character_coverage=None,
        byte_fallback=False,
        separate_spaces=False,
    )
    (folder / "checkpoint_last.pt").write_bytes(b"weights")
    before = read_contents(folder)
    with pytest.raises(CheckpointError, match="unfinished run, which needs its text and tokenizer") as caught:
        corpus(inputs=[new], output_dir=folder, **settings)
    assert "--resume" in caught.value.hint
    with pytest.raises(CheckpointError, match="unfinished run"):
        tokenizer(
            corpus=new,
            output_dir=folder,
            vocab_size=1000,
            character_coverage=None,
            byte_fallback=False,
            separate_spaces=False,
        )
    assert read_contents(folder) == before
    corpus(inputs=[old], output_dir=folder, **settings)  # the same text is reused
    assert read_contents(folder) == before
