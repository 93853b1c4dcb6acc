"""A folder's earlier run: kept until another one begins, put back where none does.

Corpus, tokenizer and shards are what its checkpoints need to be resumed or exported, and preparing other data
replaces them. Every file of theirs is replaced by renaming, so a hard link keeps the earlier one at no cost.
They wait in a folder to which the run's own files come last; one rename then makes it that of a previous run.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tinyedge.core import files
from tinyedge.core.runs import METRICS_FILE
from tinyedge.corpus.build import CORPUS_NAME
from tinyedge.corpus.build import REPORT_NAME as CORPUS_REPORT
from tinyedge.text.shards import FOLDER as SHARDS_FOLDER
from tinyedge.text.train_tokenizer import REPORT_FILE as TOKENIZER_REPORT
from tinyedge.train.report.curve import CURVE_FILE
from tinyedge.train.report.tensorboard import FOLDER as TENSORBOARD_FOLDER
from tinyedge.train.storage import checkpoint

FOLDER = ".earlier"
_PATTERNS = (
    *(CORPUS_NAME, CORPUS_REPORT),
    *("bilingual_*.model", "bilingual_*.vocab", TOKENIZER_REPORT),  # as tokenizer.model_name names them
    f"{SHARDS_FOLDER}/[!.]*",
)
_RUN = (checkpoint.BEST_FILE, checkpoint.FINAL_FILE, CURVE_FILE, TENSORBOARD_FOLDER, METRICS_FILE)


@contextlib.contextmanager
def kept(folder: Path, note: Callable[[str], None]) -> Iterator[Path | None]:
    """Keeps the data of the run in `folder` for a block, and yields where; None where there is no run.

    Where the block fails all is as it was before; so it is in the next block, which notes it, if the process
    is killed.
    """
    place = folder / FOLDER
    if _put_back(place, folder):
        note(
            f"data: that of the run in {folder} is put back; a killed tinyedge train had begun to replace it"
        )
    there = bool(_run_files(folder))
    if there:
        part = _part_of(place)
        part.mkdir()
        _copy(folder, part)
        part.rename(place)
        files.sync_folder(folder)
    try:
        yield place if there else None
    except BaseException:
        _put_back(place, folder)
        raise
    _discard(place)


def move(folder: Path, place: Path, previous: Path) -> None:
    """Makes what is kept in `place`, with the run's own files, a previous run's folder: all or nothing."""
    for path in _run_files(folder):
        path.rename(place / path.name)
    previous.parent.mkdir(exist_ok=True)
    files.sync_folder(place)
    place.rename(previous)
    files.sync_folder(previous.parent)
    files.sync_folder(folder)


def _put_back(place: Path, folder: Path) -> bool:
    """Whether there was something to put back."""
    if place.is_symlink() or place.is_file():
        place.unlink()  # not ours
    there = place.is_dir() and any(place.iterdir())
    if there:
        for path in _data(folder) - _data(place):
            (folder / path).unlink()
        _copy(place, folder)
        for path in _run_files(place):
            path.rename(folder / path.name)
        files.sync_folder(folder)
    _discard(place)
    return there


def _run_files(folder: Path) -> list[Path]:
    return checkpoint.resumable(folder) + [path for name in _RUN if (path := folder / name).exists()]


def _copy(source: Path, target: Path) -> None:
    """Gives one folder the data of another, as links where the file system has them."""
    for path in _data(source):
        _link(source / path, target / path)
    files.sync_folder(target)


def _discard(place: Path) -> None:
    """Removes what was kept; never a part of it, which would pass for all there was."""
    if place.is_dir():
        shutil.rmtree(place.rename(_part_of(place)))


def _part_of(place: Path) -> Path:
    """Where it is being made or removed; what a killed process left there goes."""
    part = place.with_name(f"{FOLDER}{files.TEMPORARY_SUFFIX}")
    if part.is_symlink() or part.is_file():
        part.unlink()
    elif part.is_dir():
        shutil.rmtree(part)
    return part


def _data(folder: Path) -> set[Path]:
    """The data's files, by their names in the folder."""
    found = (path for pattern in _PATTERNS for path in folder.glob(pattern))
    return {path.relative_to(folder) for path in found if path.is_file()}


def _link(source: Path, target: Path) -> None:
    """Puts a file in the place of another, which stays whole until then."""
    if target.exists() and source.samefile(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".{target.name}{files.TEMPORARY_SUFFIX}")
    half.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), half)  # of the file itself, where a user's link stands for it
    except OSError:  # such a file system has no links
        shutil.copy2(source, half)
    half.replace(target)
