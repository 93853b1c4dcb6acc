"""What a killed command left in a run's folder is undone; what the user put there since then is not lost."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tinyedge.core.errors import CheckpointError
from tinyedge.corpus.build import CorpusRequest, prepare_corpus
from tinyedge.train.storage import previous_run
from tinyedge.train.storage.previous_run import archive_run, preserve_data, replace_data

OLD, NEW, MINE = "The old text of the run.\n", "A new text that was asked for.\n", "Text of the user.\n"


class KilledError(BaseException):
    """Stands for a kill: the folder is copied before any cleanup."""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """Return a run folder in which `tinyedge corpus` was killed after it had replaced the text."""
    folder, copy = tmp_path / "run", tmp_path / "killed"
    build(folder, OLD)
    (folder / "best_model.pt").write_bytes(b"weights")
    (folder / "training_metrics.json").write_text('{"schema": "tinyedge.training/1", "status": "finished"}')

    def copy_and_stop() -> None:
        build(folder, NEW)
        shutil.copytree(folder, copy)
        raise KilledError

    with pytest.raises(KilledError), replace_data(folder, print):
        copy_and_stop()
    assert (copy / "corpus_bilingual.txt").read_text() == NEW
    return copy


def build(folder: Path, text: str) -> None:
    source = folder.parent / "source.txt"
    source.write_text(text)
    prepare_corpus(CorpusRequest((), (source,)), folder)


def restore(folder: Path) -> list[str]:
    """Run a command that changes nothing; return its messages."""
    notes: list[str] = []
    with preserve_data(folder, notes.append):
        pass
    assert not (folder / ".earlier").exists()
    return notes


def test_what_a_killed_command_wrote_is_replaced(killed: Path) -> None:
    notes = restore(killed)
    assert (killed / "corpus_bilingual.txt").read_text() == OLD
    assert list(killed.rglob("*.kept*")) == []
    assert len(notes) == 1
    assert "corpus.json, corpus_bilingual.txt" in notes[0]


def edit(path: Path, text: str) -> None:
    with path.open("r+") as file:
        file.truncate()
        file.write(text)


@pytest.mark.parametrize("put", [Path.write_text, edit])
@pytest.mark.parametrize("name", ["corpus_bilingual.txt", "corpus.json"])
def test_a_file_of_the_user_is_kept_under_another_name(
    killed: Path, name: str, put: Callable[[Path, str], object]
) -> None:
    put(killed / name, MINE)
    (killed / f"{name}.kept").write_text("an older one")
    notes = restore(killed)
    assert (killed / "corpus_bilingual.txt").read_text() == OLD
    assert json.loads((killed / "corpus.json").read_text())["corpus"]["bytes"] == len(OLD)
    assert (killed / f"{name}.kept").read_text() == "an older one"
    assert (killed / f"{name}.kept-1").read_text() == MINE
    assert f"it is now {killed / name}.kept-1" in notes[0]


@pytest.mark.parametrize(
    "name", ["bilingual_2k.model", "bilingual_2k.vocab", "shards/notes.txt", "shards/train.bin"]
)
def test_other_files_of_the_user_stay(killed: Path, name: str) -> None:
    (killed / "shards").mkdir()
    (killed / name).write_text(MINE)
    restore(killed)
    assert (killed / name).read_text() == MINE


def test_a_model_that_the_user_put_in_place_of_a_moved_one_is_kept(killed: Path) -> None:
    (killed / "best_model.pt").rename(killed / ".earlier" / "best_model.pt")  # killed while the run was moved
    (killed / "best_model.pt").write_text(MINE)
    restore(killed)
    assert (killed / "best_model.pt").read_bytes() == b"weights"
    assert (killed / "best_model.pt.kept").read_text() == MINE


def test_a_text_that_was_edited_in_place_is_not_reported_as_restored(killed: Path) -> None:
    preserved = killed / ".earlier" / "corpus_bilingual.txt"
    (killed / "corpus_bilingual.txt").unlink()
    (killed / "corpus_bilingual.txt").hardlink_to(preserved)  # killed before the text was replaced
    edit(killed / "corpus_bilingual.txt", MINE)
    (note,) = restore(killed)
    assert (killed / "corpus_bilingual.txt").read_text() == MINE
    assert "corpus_bilingual.txt" not in note


@pytest.mark.parametrize("name", [".earlier", ".earlier.tmp"])
@pytest.mark.parametrize("inside", ["", "notes.txt"])
def test_hidden_files_of_others_are_refused(killed: Path, name: str, inside: str) -> None:
    shutil.rmtree(killed / ".earlier")
    if inside:
        (killed / name).mkdir()
    (killed / name / inside).write_text(MINE)
    with pytest.raises(CheckpointError, match="is not from tinyedge") as caught:
        restore(killed)
    assert str(killed / name) in caught.value.message
    assert (killed / name / inside).read_text() == MINE


@pytest.mark.parametrize("is_large", [False, True])
def test_an_edit_in_place_does_not_change_the_text_of_a_previous_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    """Unless the text is large: then a message tells that both runs use the same file."""
    if is_large:
        monkeypatch.setattr(previous_run, "MAX_COPY_BYTES", len(OLD) - 1)
    folder, notes = tmp_path / "run", list[str]()
    build(folder, OLD)
    (folder / "best_model.pt").write_bytes(b"weights")
    with preserve_data(folder, notes.append) as preserved:
        assert preserved is not None
        archive_run(folder, preserved, notes.append)
    (previous,) = (folder / "previous").iterdir()
    edit(folder / "corpus_bilingual.txt", MINE)
    assert (previous / "corpus_bilingual.txt").read_text() == (MINE if is_large else OLD)
    assert any("corpus_bilingual.txt and" in note for note in notes) == is_large


@pytest.mark.parametrize("has_links", [True, False])
def test_copies_for_a_previous_run_survive_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    synced: set[int] = set()
    fsync = os.fsync

    def sync(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def refuse(*_: object) -> None:
        raise OSError

    folder = tmp_path / "run"
    build(folder, OLD)
    (folder / "best_model.pt").write_bytes(b"weights")
    monkeypatch.setattr(os, "fsync", sync)
    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    with preserve_data(folder, print) as preserved:
        assert preserved is not None
        archive_run(folder, preserved, print)
    (previous,) = (folder / "previous").iterdir()
    copies = [previous / "corpus_bilingual.txt", previous / "corpus.json"]
    assert {copy.stat().st_ino for copy in copies} <= synced
