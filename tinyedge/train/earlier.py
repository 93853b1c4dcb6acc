"""The data of a folder's earlier run: kept until another run begins, put back where none does.

Corpus, tokenizer and shards are what its checkpoints need to be resumed or exported, and preparing other data
replaces them. Every file of theirs is replaced by renaming, so a hard link keeps the earlier one at no cost.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tinyedge import files
from tinyedge.corpus.build import CORPUS_NAME
from tinyedge.corpus.build import REPORT_NAME as CORPUS_REPORT
from tinyedge.shards import FOLDER as SHARDS_FOLDER
from tinyedge.train import checkpoint
from tinyedge.vocabulary import REPORT_FILE as TOKENIZER_REPORT

FOLDER = ".earlier"
_PATTERNS = (
    *(CORPUS_NAME, CORPUS_REPORT),
    *("bilingual_*.model", "bilingual_*.vocab", TOKENIZER_REPORT),  # as tokenizer.model_name names them
    f"{SHARDS_FOLDER}/[!.]*",
)


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[Path]:
    """Keeps the data of the run in `folder` for a block, if there is one, and yields where.

    Where the block fails, the data is as it was before; so it is in the next block, if the process is killed.
    """
    place = folder / FOLDER
    _put_back(place, folder)
    if checkpoint.is_there(folder):
        part = _part_of(place)
        part.mkdir()
        copy(folder, part)
        part.rename(place)
        files.sync_folder(folder)
    try:
        yield place
    except BaseException:
        _put_back(place, folder)
        raise
    _discard(place)


def copy(source: Path, target: Path) -> None:
    """Gives one folder the data of another, as links where the file system has them."""
    for path in _data(source):
        _link(source / path, target / path)
    files.sync_folder(target)


def _put_back(place: Path, folder: Path) -> None:
    if place.is_dir():
        for path in _data(folder) - _data(place):
            (folder / path).unlink()
        copy(place, folder)
        _discard(place)


def _discard(place: Path) -> None:
    """Removes what was kept; never a part of it, which would pass for all there was."""
    if place.is_dir():
        shutil.rmtree(place.rename(_part_of(place)))


def _part_of(place: Path) -> Path:
    """Where it is being made or removed; what a killed process left there goes."""
    part = place.with_name(f"{FOLDER}{files.TEMPORARY_SUFFIX}")
    if part.is_dir():
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
        os.link(source, half)
    except OSError:  # such a file system has no links
        shutil.copy2(source, half)
    half.replace(target)
