"""Writing of complete folders: a new one gets its name in one step; what killed processes left is removed.

In: the path of a folder, and what it may contain. Out: an empty folder next to it, and the swap of the two.
Does not know what is in a bundle; `load_bundle` does not need this module.
"""

import errno
import os
import re
import shutil
from pathlib import Path

from tinyedge.bundle.manifest import BUNDLE_FILES, format_untrusted
from tinyedge.core.errors import BundleError
from tinyedge.core.files import TEMPORARY_SUFFIX

BUNDLE_PATTERN = "|".join(map(re.escape, BUNDLE_FILES))


def create_staging_folder(target: Path, own_files: str = BUNDLE_PATTERN) -> Path:
    """Create an empty folder next to `target` for this process, and remove those of killed processes.

    Args:
        target: The folder that is written.
        own_files: Regular expression for the relative paths of what `target` may contain.

    Raises:
        BundleError: A folder has the name of such a folder, and contains other files.
    """
    from tinyedge.host.processes import is_running  # only when a bundle is written, not when it is loaded

    prefix = f".{target.name}."  # compared, not globbed: a folder may be named "**" or "[a]"
    staged = target.with_name(f"{prefix}{os.getpid()}{TEMPORARY_SUFFIX}")
    aside = _name_aside(target)
    for leftover in [path for path in target.parent.iterdir() if path.name.startswith(prefix)]:
        owner = leftover.name.removeprefix(prefix).removesuffix(TEMPORARY_SUFFIX)
        is_abandoned = (
            leftover.name.endswith(TEMPORARY_SUFFIX) and owner.isdecimal() and not is_running(int(owner))
        )
        if is_abandoned or leftover in (staged, aside):
            _require_own(leftover, own_files)
            if leftover != aside or os.path.lexists(target):  # otherwise it is the only copy
                shutil.rmtree(leftover, ignore_errors=True)
    staged.mkdir()
    return staged


def _require_own(leftover: Path, own_files: str) -> None:
    """Raise BundleError unless a folder contains what a killed process may have written, and nothing else."""
    is_folder = leftover.is_dir() and not leftover.is_symlink()
    foreign = []
    for path in leftover.rglob("*") if is_folder else ():
        name = str(path.relative_to(leftover))
        is_temporary = path.name.startswith(".") and path.name.endswith(TEMPORARY_SUFFIX)
        is_parent = path.is_dir() and not path.is_symlink()  # its files are checked too
        if not (is_parent or is_temporary or re.fullmatch(own_files, name)):
            foreign.append(name)
    if foreign or not is_folder:
        inside = f": it contains {format_untrusted(min(foreign))}" if foreign else ""
        raise BundleError(
            f"{leftover} is not from tinyedge and would be removed{inside}",
            "move it, or choose another folder",
        )


def swap_folders(staged: Path, target: Path) -> None:
    """Move `staged` to `target` atomically. An existing target is moved to `staged`."""
    try:
        staged.rename(target)  # works if there is no target, or an empty one
    except OSError as failure:
        if failure.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        _exchange(staged, target)


def _exchange(first: Path, second: Path) -> None:
    """Swap two names with renameat2(RENAME_EXCHANGE), for which Python has no function."""
    import ctypes  # only when a bundle is replaced, not when it is loaded

    at_working_folder, rename_exchange = -100, 2
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # since glibc 2.28
    if renameat2 and not renameat2(
        at_working_folder, os.fsencode(first), at_working_folder, os.fsencode(second), rename_exchange
    ):
        return
    if renameat2 and (code := ctypes.get_errno()) not in (errno.ENOSYS, errno.EINVAL):
        raise OSError(code, os.strerror(code))
    # The file system or the kernel does not support it. If the process is killed between the two renames, the
    # complete old bundle is still in `aside`.
    aside = _name_aside(second)
    second.rename(aside)
    try:
        first.rename(second)
    except OSError:
        aside.rename(second)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _name_aside(target: Path) -> Path:
    """Return where an old folder is while the new one gets its name, without RENAME_EXCHANGE."""
    return target.with_name(f".{target.name}.old{TEMPORARY_SUFFIX}")
