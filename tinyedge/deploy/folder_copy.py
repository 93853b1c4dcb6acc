"""Copies of a folder to a board through ssh, with rsync or with tar.

In: ssh's command line, a local folder, the name of the folder on the board. Out: an equal folder there. Knows
neither kits nor bundles.
"""

import os
import secrets
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import IO

from tinyedge.core import files
from tinyedge.deploy import ssh_errors
from tinyedge.deploy.bounded_child import BoundedChild
from tinyedge.deploy.marked_script import encode_octal

STALL_SECONDS = 600.0  # for one file, or without any progress of rsync
COPY_SECONDS = 4 * 3600.0  # for rsync: 50 MB at 4 kB/s
OUTPUT_BYTES = 1 << 23  # of messages, with rsync's progress
# A smaller file is sent again instead of being looked for on the board.
PRESENT_BYTES = 1 << 16
# rsync read something else than its protocol: a start-up file of the account prints.
FOREIGN_OUTPUT = (
    *("is your shell clean", "protocol version mismatch", "protocol incompatibility", "unexpected tag"),
    *("multiplexing overflow", "Invalid checksum length", "unknown message"),
)
# The first lines of standard input are the folder, a word to print at the end, and files to keep from the
# folder that is replaced, up to an empty line. `read` does not read past a line. `$new` is next to `$to`, so
# that the old folder stays complete until the new one is.
UNPACK_SCRIPT = """
IFS= read -r to && IFS= read -r word || exit 1
new=${to%/*}/.${to##*/}.tinyedge.tmp
rm -rf "$new" && mkdir -p "$new" || exit 1
while IFS= read -r name && [ -n "$name" ]; do
  mkdir -p "$(dirname "$new/$name")" || exit 1
  ln "$to/$name" "$new/$name" 2>/dev/null || cp -p "$to/$name" "$new/$name" || exit 1
done
if tar -xf - -C "$new"; then
  rm -rf "$to" && mv "$new" "$to" && printf "%s" "$word"
else
  rm -rf "$new"
  exit 1
fi
"""


def can_rsync() -> bool:
    """Return whether rsync is installed with the options used here, which other rsync programs lack."""
    command = ["rsync", "--protect-args", "--info=progress2", "--version"]
    return shutil.which("rsync") is not None and not subprocess.run(command, capture_output=True).returncode


def copy_with_rsync(
    ssh: Sequence[str], destination: str, source: Path, target: str, excluded: Collection[str]
) -> bool:
    """Make a folder equal to a local one. Excluded files that are already there stay.

    Args:
        ssh: The command of ssh and its options.
        destination: user@host, an IPv6 address in brackets.
        source: The local folder.
        target: The folder on the board; its parent exists.
        excluded: Files not to send, as paths inside `source`.

    Returns:
        False if the account prints what rsync mistakes for its protocol; nothing was copied then.

    Raises:
        DeployError: The copy failed.
    """
    # --protect-args: the board's shell does not interpret the target's name. --checksum: a file that the
    # board's card has damaged is sent again, and one that only looks newer is not.
    command = ["rsync", "--recursive", "--times", "--perms", "--checksum", "--delete", "--protect-args"]
    command += [f"--timeout={STALL_SECONDS:.0f}", *(f"--exclude=/{name}" for name in sorted(excluded))]
    has_terminal = os.isatty(2)
    command += ["--info=progress2"] if has_terminal else []
    command += ["--rsh", shlex.join(ssh), "--", f"{source}/", f"{destination}:{target}/"]
    errors = bytearray()
    with BoundedChild(command, COPY_SECONDS, OUTPUT_BYTES) as child:
        child.close_input()
        for descriptor, chunk in child.read_chunks():
            if descriptor == 2:
                errors += chunk
            elif has_terminal:
                os.write(2, bytes(byte for byte in chunk if 32 <= byte < 127 or byte in b"\r\n"))
        code = child.wait(STALL_SECONDS)
        text = errors.decode(errors="replace")
        if child.ended_by:
            raise ssh_errors.explain_limit(destination, child.ended_by, COPY_SECONDS, "", text)
    if code and any(sign in text for sign in FOREIGN_OUTPUT):
        return False
    if code:
        raise ssh_errors.explain_copy(destination, text)
    return True


def find_present(source: Path, digests: str) -> set[str]:
    """Find the large files that a board has already.

    Args:
        source: The local folder.
        digests: What sha256sum prints for the files of the board's folder.

    Returns:
        Their paths inside `source`.
    """
    listed = {line[66:].removeprefix("./"): line[:64] for line in digests.splitlines()}
    present = set()
    for name, digest in listed.items():
        path = source / name
        is_large = path.is_file() and path.stat().st_size >= PRESENT_BYTES
        if is_large and files.sha256_file(path) == digest:
            present.add(name)
    return present


def copy_with_tar(
    ssh: Sequence[str],
    destination: str,
    source: Path,
    target: str,
    excluded: Collection[str],
    present: Collection[str],
    progress: Callable[[int], None],
) -> None:
    """Replace a folder by a local one, in one step at the end.

    Args:
        ssh: The command of ssh up to the destination.
        destination: user@host, for errors.
        source: The local folder.
        target: The folder on the board, as an absolute path.
        excluded: Files not to send, as paths inside `source`.
        present: Files that the board has in `target` already, as paths inside `source`; they are not sent.
        progress: Receives the bytes of the files that are done.

    Raises:
        DeployError: The copy failed.
    """
    word = secrets.token_hex(16)  # proof that the script ran to its end
    head = "".join(f"{line}\n" for line in (target, word, *sorted(present), ""))
    with BoundedChild([*ssh, format_command(UNPACK_SCRIPT)], STALL_SECONDS, OUTPUT_BYTES) as child:
        child.write(head.encode())
        with tarfile.open(fileobj=child, mode="w|") as archive:  # type: ignore[call-overload]
            try:
                for done in _add_files(archive, source, excluded, present):
                    if child.has_closed_input:
                        break  # standard error has the reason
                    child.restart_clock()
                    progress(done)
            except BaseException:
                child.kill()  # closing the archive writes its end, which a stalled board does not read
                raise
        child.close_input()
        child.restart_clock()
        output, errors = (part.decode(errors="replace") for part in child.read_all())
        code = child.wait(STALL_SECONDS)
    if word in output:
        return
    if child.ended_by:
        raise ssh_errors.explain_limit(destination, child.ended_by, STALL_SECONDS, output, errors)
    if code == ssh_errors.SSH_FAILED:
        raise ssh_errors.explain_lost_connection(destination, code)
    if code == 0:
        raise ssh_errors.explain_no_shell(destination, output, errors)
    raise ssh_errors.explain_copy(destination, errors)


def format_command(script: str) -> str:
    """Format a script for the command line of any login shell: without a character that one interprets."""
    return f'exec sh -c \'eval "$(printf %b "{encode_octal(script)}")"\''


def _add_files(
    archive: tarfile.TarFile, source: Path, excluded: Collection[str], present: Collection[str]
) -> Iterator[int]:
    """Add all files except the excluded and present ones; yield the bytes of those that are done."""
    done = 0
    for path in sorted(source.rglob("*")):
        name = str(path.relative_to(source))
        if name in excluded:
            continue
        entry = archive.gettarinfo(path, name)
        if name not in present:
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            with _open_content(path) as content:
                archive.addfile(entry, content)
        done += entry.size
        yield done


def _open_content(path: Path) -> IO[bytes]:
    """Open a file; for a folder, return an empty one."""
    return Path(os.devnull if path.is_dir() else path).open("rb")
