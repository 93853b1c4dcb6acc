"""The previous run of a folder: its data is preserved until a new run starts, or restored if none does.

In: a run folder. Out: a subfolder of `previous/`, or the folder as it was.

To resume or export its checkpoints, a run needs its corpus, tokenizer and shards, and preparing other data
replaces them. tinyedge replaces those files by renaming only, so hard links preserve the old ones at no cost.
The links are in a hidden folder. Once the run's own files are moved there too, one rename turns it into the
folder of the previous run. Does not know torch: `tinyedge corpus` and `tinyedge tokenizer` use it too.
"""

import contextlib
import datetime
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tinyedge.core import files
from tinyedge.core.errors import CheckpointError, CorpusError, TokenizerError
from tinyedge.core.folder_lock import ensure_dir, exclusive_lock
from tinyedge.core.run_files import TEACHERS_FOLDER, TENSORBOARD_FOLDER, has_unfinished_run, list_run_files
from tinyedge.core.runs import PREVIOUS_FOLDER
from tinyedge.corpus.build import CORPUS_NAME
from tinyedge.corpus.build import REPORT_NAME as CORPUS_REPORT
from tinyedge.text.shards import FOLDER as SHARDS_FOLDER
from tinyedge.text.shards import INDEX_FILE, TRAIN_FILE, VALIDATION_FILE
from tinyedge.text.train_tokenizer import REPORT_FILE as TOKENIZER_REPORT
from tinyedge.text.vocabulary_report import discard_pending_report
from tinyedge.train.storage.written_data import is_written_by_tinyedge

FOLDER = ".earlier"
_TOKENIZER_PATTERN = "bilingual_*.model"  # as tokenizer.model_name names them
_DATA_PATTERNS = (
    *(CORPUS_NAME, CORPUS_REPORT),
    *(_TOKENIZER_PATTERN, "bilingual_*.vocab", TOKENIZER_REPORT),
    *(f"{SHARDS_FOLDER}/{name}" for name in (INDEX_FILE, TRAIN_FILE, VALIDATION_FILE)),
)
MAX_COPY_BYTES = 64 << 20  # of a file that two runs use; larger ones stay hard links
_KEPT_SUFFIX = ".kept"  # of a file that the user put where a preserved one was


@contextlib.contextmanager
def preserve_data(folder: Path, note: Callable[[str], None]) -> Iterator[Path | None]:
    """Preserve the data of the run in a folder for a block.

    If the block fails, the folder is restored. If the process is killed in it, the next call restores it.
    A folder without a run has nothing to restore: if the block refuses the text, what it wrote in addition is
    removed, and after any other failure it stays, because the next command can use it.
    Only files that tinyedge wrote are replaced or removed for that; others are renamed, with a message.

    Args:
        folder: Run folder.
        note: Receives a message if a killed process's changes are undone.

    Yields:
        Where the data is preserved, or None if the folder holds no run.

    Raises:
        CheckpointError: The hidden folder contains something that is not from a run.
    """
    preserved = folder / FOLDER
    _require_own(preserved)
    _require_own(_name_temporary(preserved))
    restored = _restore(preserved, folder, note)
    if restored:
        names = ", ".join(map(str, restored))
        note(f"data: restored what a killed command had replaced in {folder}: {names}")
    has_run = bool(list_run_files(folder))
    before = _list_data(folder)
    if has_run:
        temporary = _make_temporary_path(preserved)
        temporary.mkdir()
        _copy_data(folder, temporary)
        temporary.rename(preserved)
        files.sync_folder(folder)
    try:
        yield preserved if has_run else None
    except BaseException as failure:
        _restore(preserved, folder, note)
        if isinstance(failure, CorpusError | TokenizerError) and not has_run:
            new = _list_data(folder) - before
            _remove_data(folder, {name for name in new if is_written_by_tinyedge(folder, name)})
        raise
    _remove(preserved)


@contextlib.contextmanager
def replace_data(folder: Path, note: Callable[[str], None]) -> Iterator[None]:
    """Let a block replace the corpus or the tokenizer of a folder, as the only process that writes to it.

    A finished run that needs the replaced files is moved to `previous/` together with them.

    Args:
        folder: Folder of the data, perhaps a run folder; created if missing.
        note: Receives a message if a run is moved.

    Raises:
        TinyEdgeError: Another process writes to the folder, or it cannot be created.
        CheckpointError: An unfinished run needs the replaced files. They are restored.
    """
    with ensure_dir(folder), exclusive_lock(folder), preserve_data(folder, note) as preserved:
        yield
        if preserved is None or not _is_replaced(folder, preserved):
            return
        if has_unfinished_run(folder):
            raise CheckpointError(
                f"{folder} holds an unfinished run, which needs its text and tokenizer",
                "pass another --output-dir, or finish the run with: tinyedge train --resume",
            )
        archive_run(folder, preserved, note)


def archive_run(folder: Path, preserved: Path, note: Callable[[str], None]) -> None:
    """Move a run to a new folder in `previous/`, completely or not at all.

    Args:
        folder: Run folder.
        preserved: Where `preserve_data` preserved the run's data.
        note: Receives a message with the new folder.
    """
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S-%f")
    previous = folder / PREVIOUS_FOLDER / stamp
    shared = _unshare(preserved, folder)
    for path in list_run_files(folder):
        path.rename(preserved / path.name)
    previous.parent.mkdir(exist_ok=True)
    files.sync_folder(preserved)
    preserved.rename(previous)
    files.sync_folder(previous.parent)
    files.sync_folder(folder)
    note(f"model: the previous run is now in {previous}, with the text and the vocabulary that it needs")
    for name in shared:
        note(f"data: {folder / name} and {previous / name} share their content: do not edit them in place")


def _unshare(preserved: Path, folder: Path) -> list[Path]:
    """Replace hard links to files that the folder still uses by copies: an edit in place would change both.

    Returns:
        The files that are too large to copy, relative to the folder.
    """
    large: list[Path] = []
    for name in sorted(_list_data(preserved)):
        path = preserved / name
        if not (folder / name).exists() or not path.samefile(folder / name):
            continue
        if path.stat().st_size > MAX_COPY_BYTES:
            large.append(name)
            continue
        _copy(path, path)
    return large


def _require_own(preserved: Path) -> None:
    """Check that the hidden folder contains a run's files only: it will be removed."""
    if not os.path.lexists(preserved):
        return
    foreign = None if preserved.is_dir() and not preserved.is_symlink() else preserved
    own = {Path(SHARDS_FOLDER), *_list_data(preserved)}
    own |= {path.relative_to(preserved) for path in list_run_files(preserved)}
    for path in sorted(preserved.rglob("*")) if foreign is None else ():
        inside = path.relative_to(preserved)
        is_temporary = path.name.startswith(".") and path.name.endswith(files.TEMPORARY_SUFFIX)
        if (
            inside not in own
            and inside.parts[0] not in (TENSORBOARD_FOLDER, TEACHERS_FOLDER)
            and not is_temporary
        ):
            foreign = path
            break
    if foreign is not None:
        raise CheckpointError(f"{foreign} is not from tinyedge", "move it, or pass another --output-dir")


def _restore(preserved: Path, folder: Path, note: Callable[[str], None]) -> list[Path]:
    """Move preserved files back, and remove what a command wrote in addition.

    Args:
        preserved: The hidden folder.
        folder: The run folder.
        note: Receives a message about each file of the user that is renamed.

    Returns:
        The files that differed from the preserved ones, relative to the folder.
    """
    restored: list[Path] = []
    if preserved.is_dir() and any(preserved.iterdir()):
        data = _list_data(preserved)
        # Checked before any file changes, because they are recognized by the other ones.
        own = {name for name in _list_data(folder) if is_written_by_tinyedge(folder, name)}
        for name in sorted(data):
            if _have_same_content(preserved / name, folder / name):
                continue
            if name not in own:
                _keep(folder / name, note)
            restored.append(name)
        for name in sorted(restored, key=_get_restore_rank):
            _link(preserved / name, folder / name)
        _remove_data(folder, own - data)
        discard_pending_report(folder)
        for path in list_run_files(preserved):
            _keep(folder / path.name, note)
            path.rename(folder / path.name)
            restored.append(Path(path.name))
        files.sync_folder(folder)
    _remove(preserved)
    return restored


def _remove_data(folder: Path, names: set[Path]) -> None:
    for name in sorted(names, key=_get_restore_rank):
        (folder / name).unlink()
    with contextlib.suppress(OSError):  # it has other files, or does not exist
        (folder / SHARDS_FOLDER).rmdir()


def _get_restore_rank(name: Path) -> int:
    """Return when a file is restored: a file by which others are recognized comes after them."""
    return (".model", ".json").index(name.suffix) + 1 if name.suffix in (".model", ".json") else 0


def _have_same_content(first: Path, second: Path) -> bool:
    return second.is_file() and (
        second.samefile(first) or files.sha256_file(second) == files.sha256_file(first)
    )


def _keep(path: Path, note: Callable[[str], None]) -> None:
    """Rename a file or a folder of the user, so that a preserved one can get its name."""
    if not os.path.lexists(path):
        return
    names = (f"{path.name}{_KEPT_SUFFIX}{f'-{number}' if number else ''}" for number in itertools.count())
    kept = next(path.with_name(name) for name in names if not os.path.lexists(path.with_name(name)))
    path.rename(kept)
    note(f"data: {path} is not from the killed command: it is now {kept}")


def _is_replaced(folder: Path, preserved: Path) -> bool:
    """Whether the folder's corpus or a tokenizer differs from what was preserved."""
    for old in (preserved / CORPUS_NAME, *preserved.glob(_TOKENIZER_PATTERN)):
        new = folder / old.name
        if old.is_file() and not _have_same_content(old, new):
            return True
    return False


def _copy_data(source: Path, target: Path) -> None:
    """Copy a folder's data to another, as hard links where the file system supports them."""
    for path in _list_data(source):
        _link(source / path, target / path)
    files.sync_folder(target)


def _remove(preserved: Path) -> None:
    """Remove a folder. It is renamed first, so that no incomplete folder can be mistaken for it."""
    if preserved.is_dir():
        shutil.rmtree(preserved.rename(_make_temporary_path(preserved)))


def _make_temporary_path(preserved: Path) -> Path:
    """Return a path for an incomplete folder, removing what a killed process left there."""
    temporary = _name_temporary(preserved)
    _require_own(temporary)
    if temporary.is_dir():
        shutil.rmtree(temporary)
    return temporary


def _name_temporary(preserved: Path) -> Path:
    return preserved.with_name(f"{FOLDER}{files.TEMPORARY_SUFFIX}")


def _list_data(folder: Path) -> set[Path]:
    """Return the data files, relative to the folder."""
    found = (path for pattern in _DATA_PATTERNS for path in folder.glob(pattern))
    return {path.relative_to(folder) for path in found if path.is_file()}


def _link(source: Path, target: Path) -> None:
    """Replace a file by a link to another, atomically."""
    if target.exists() and source.samefile(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _name_temporary_file(target)
    temporary.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), temporary)  # resolved, because the user may have put a symbolic link there
    except OSError:  # the file system has no hard links
        _copy(source, target)
    else:
        temporary.replace(target)


def _copy(source: Path, target: Path) -> None:
    """Replace a file by a copy of another one, or of itself, atomically; synced as in `core.files`."""
    temporary = _name_temporary_file(target)
    shutil.copy2(source, temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(target)


def _name_temporary_file(target: Path) -> Path:
    return target.with_name(f".{target.name}{files.TEMPORARY_SUFFIX}")
