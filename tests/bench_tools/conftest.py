"""Fixtures: a run that `tinyedge train` finishes in seconds, and texts that it has not seen."""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.program import tinyedge
from tinyedge.corpus import phrasebook

FLAGS = (
    *("--vocab-size", "1000", "--d-model", "64", "--nhead", "2", "--num-layers", "1"),
    *("--dim-feedforward", "128", "--max-seq-length", "32", "--epochs", "1"),
)


def write_documents(path: Path, seed: int, documents: int, languages: str = "en es") -> Path:
    """Write documents of the phrasebook, with blank lines between them."""
    found = (d for d in phrasebook.generate_documents(seed) if d.language in languages.split())
    path.write_text("\n\n".join("\n".join(d.sentences) for d in itertools.islice(found, documents)) + "\n")
    return path


@pytest.fixture(scope="session")
def phrases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_documents(tmp_path_factory.mktemp("text") / "phrases.txt", seed=1, documents=400)


@pytest.fixture(scope="session")
def tiny_run(phrases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="training needs the extra `train`")
    folder = tmp_path_factory.mktemp("runs") / "tiny-run"
    done = tinyedge("train", "--input", phrases, "--output-dir", folder, *FLAGS)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("unseen")
    return {name: write_documents(folder / f"{name}.txt", 7, 8, name) for name in ("en", "es")}


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of more than 21 kB, to learn from."""
    path = write_documents(tmp_path_factory.mktemp("letters") / "letters.txt", 9, 90, "en")
    assert path.stat().st_size > 24_000
    return path


@pytest.fixture
def run_bench(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A function that runs the `main` of a benchmark of training, and returns its last error, or ""."""

    def run(main: Callable[[], None], *words: object) -> str:
        from bench.training.commands import run_main

        monkeypatch.setattr(sys, "argv", ["bench", *map(str, words)])
        code = run_main(main)
        errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
        assert bool(code) == bool(errors)
        return errors[-1] if errors else ""

    return run
