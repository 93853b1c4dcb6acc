"""Reading and writing of bundles: flat folders of four files, or five if signed. A bundle contains no code.

In: a folder, or the content of its files. Out: a `Bundle`, or the folder. A bundle that is incomplete,
unknown or unsafe is refused. Does not use numpy or ONNX Runtime: they get a file's bytes only after its size
and hash were verified here. Each file is read once, and they get exactly the verified bytes, so that
nothing can change in between.
"""

import errno
import os
import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tinyedge import __version__
from tinyedge.bundle.expected_graph import check_expected
from tinyedge.bundle.manifest import (
    CARD_FILE,
    COPY_AGAIN,
    EXPORT_AGAIN,
    MANIFEST_FILE,
    MANIFEST_SCHEMA,
    MAX_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_SIGNATURE_BYTES,
    MODEL_FILE,
    SIGNATURE_FILE,
    TOKENIZER_FILE,
    check_manifest,
    format_untrusted,
    parse_manifest,
)
from tinyedge.bundle.onnx_scan import check_graph
from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import BundleError
from tinyedge.core.files import TEMPORARY_SUFFIX
from tinyedge.core.hashes import hash_blake2b, hash_sha256

if TYPE_CHECKING:  # imported for bundles that have such a file
    from tinyedge.ngram.mapped_file import NgramFile

BUNDLE_PATTERN = "|".join(map(re.escape, (MANIFEST_FILE, SIGNATURE_FILE, *MAX_BYTES)))
HASHES = {"blake2b": hash_blake2b, "sha256": hash_sha256}  # the fastest first
SCHEMA_FAMILY = b"tinyedge.bundle/"  # in every manifest, of older and newer versions too


class Bundle(NamedTuple):  # creating a frozen dataclass would cost every start of the device
    """A valid bundle. Each file was read once and verified."""

    path: Path
    """Folder of the bundle."""
    manifest: Mapping[str, Any]
    """The parsed manifest; its fields are described in `tinyedge.bundle.manifest`."""
    raw_manifest: bytes
    """Bytes of manifest.json. They contain the hashes of the other files."""
    signature: bytes | None
    """Signature of `raw_manifest` by `tinyedge sign`, not verified yet: see `tinyedge.bundle.signature`."""
    config: ModelConfig
    """The model's config, from the manifest."""
    model: bytes
    """Bytes of model.onnx. Release them with `without_bytes` when they have been loaded."""
    tokenizer: bytes
    """Bytes of tokenizer.model. Release them with `without_bytes` when they have been loaded."""
    card: bytes
    """Bytes of README.md."""
    weights: Mapping[str, memoryview]
    """Content of the model's tensors, by name: views of `model`, released with it."""
    ngrams: "NgramFile | None" = None
    """The table of n-grams that is mixed with the model; None if there is none."""

    @property
    def model_id(self) -> str | None:
        """Id of the trained model, equal for all exports of it; None in a bundle of an earlier version."""
        return self.manifest.get("model_id")

    @property
    def template(self) -> str | None:
        """Template of the conversations that the model was trained on; None for a model of plain text."""
        chat: dict[str, str] = self.manifest.get("chat", {})
        return chat.get("template")

    def __repr__(self) -> str:
        return f"Bundle({str(self.path)!r})"  # without megabytes

    def without_bytes(self) -> "Bundle":
        """Return this bundle without the bytes of its files, to release memory."""
        return self._replace(model=b"", tokenizer=b"", card=b"", weights={})

    def write_copy(self, folder: Path) -> None:
        """Write the verified bytes to an empty folder. The files of the bundle may have changed since."""
        content = {
            MANIFEST_FILE: self.raw_manifest,
            MODEL_FILE: self.model,
            TOKENIZER_FILE: self.tokenizer,
            CARD_FILE: self.card,
            SIGNATURE_FILE: self.signature,
        }
        for name, data in content.items():
            if data is not None:
                files.write_bytes(folder / name, data)


def bundle_digest(bundle: Bundle) -> str:
    """Return a bundle's identifier: the sha256 of its manifest, which contains those of the other files."""
    return hash_sha256(bundle.raw_manifest)


def load_bundle(path: Path, *, all_hashes: bool = False) -> Bundle:
    """Read and validate a bundle.

    Args:
        path: Its folder.
        all_hashes: Whether to compare every hash of a file that the manifest lists, not only the fastest one.

    Raises:
        BundleError: The bundle is missing, incomplete, damaged, unknown or unsafe.
    """
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BundleError(
            f"{path} does not exist", "check the path, or create a bundle with: tinyedge export"
        ) from None
    except NotADirectoryError:
        raise BundleError(
            f"{path} is a file, a bundle is a folder", "pass the folder that contains the file"
        ) from None
    except (OSError, ValueError) as failure:  # ValueError: a NUL in the path
        raise BundleError(f"{path} cannot be opened: {_describe_error(failure)}", "check the path") from None
    try:
        return _load_open_folder(path, folder, all_hashes)
    except OSError as failure:
        raise BundleError(f"{path} cannot be read: {_describe_error(failure)}", COPY_AGAIN) from None
    finally:
        os.close(folder)


def _load_open_folder(path: Path, folder: int, all_hashes: bool) -> Bundle:
    names = set(os.listdir(folder))
    if MANIFEST_FILE not in names:
        raise BundleError(
            f"{path} has no {MANIFEST_FILE}, so it is not a bundle", "create a bundle with: tinyedge export"
        )
    raw = _read_file(path, folder, MANIFEST_FILE, MAX_MANIFEST_BYTES)
    manifest = parse_manifest(raw, path / MANIFEST_FILE)
    config = check_manifest(manifest, path / MANIFEST_FILE)
    expected_names = {MANIFEST_FILE, *MAX_BYTES}
    for name in sorted(expected_names - names):
        raise BundleError(f"{path} has no {name}", COPY_AGAIN)
    for name in sorted(names - expected_names - {SIGNATURE_FILE}):
        raise BundleError(
            f"{path} has {format_untrusted(name)}, which is not part of a bundle",
            "remove it, or " + COPY_AGAIN,
        )
    content = {
        name: _read_verified(path, folder, name, manifest["files"][name], all_hashes) for name in MAX_BYTES
    }
    graph = check_graph(content[MODEL_FILE], path / MODEL_FILE)
    check_expected(graph, config, path / MODEL_FILE)
    signature = (
        _read_file(path, folder, SIGNATURE_FILE, MAX_SIGNATURE_BYTES) if SIGNATURE_FILE in names else None
    )
    model, tokenizer, card = (content[name] for name in (MODEL_FILE, TOKENIZER_FILE, CARD_FILE))
    return Bundle(path, manifest, raw, signature, config, model, tokenizer, card, graph.weights)


def _read_verified(path: Path, folder: int, name: str, listed: Mapping[str, Any], all_hashes: bool) -> bytes:
    """Read a file and verify its size and its hash, as listed in the manifest.

    Its BLAKE2b if it is listed: on the board that takes half the time of sha256, which is for people and
    other programs. `tinyedge verify` compares both.
    """
    content = _read_file(path, folder, name, MAX_BYTES[name], listed["size"])
    for algorithm in sorted(HASHES.keys() & listed.keys())[: None if all_hashes else 1]:
        found = HASHES[algorithm](content)
        if found != listed[algorithm]:
            raise BundleError(
                f"{path / name} has {algorithm} {found}, the manifest specifies {listed[algorithm]}",
                COPY_AGAIN,
            )
    return content


def _read_file(path: Path, folder: int, name: str, limit: int, size: int | None = None) -> bytes:
    """Read a regular file of at most `limit` bytes, and of exactly `size` bytes if given."""
    # The type is checked before opening, because opening a device can have side effects, and again
    # afterwards, because the file may have been replaced. O_NONBLOCK: opening a FIFO does not wait for a
    # writer.
    _require_regular(os.stat(name, dir_fd=folder, follow_symlinks=False), path / name)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(name, flags, dir_fd=folder), "rb") as file:  # noqa: PTH123
        status = os.fstat(file.fileno())
        _require_regular(status, path / name)
        if status.st_size > limit:
            raise BundleError(f"{path / name} has {status.st_size} bytes, more than {limit}", EXPORT_AGAIN)
        if size is not None and status.st_size != size:
            raise BundleError(
                f"{path / name} has {status.st_size} bytes, the manifest specifies {size}", COPY_AGAIN
            )
        return file.read(status.st_size)


def _require_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a FIFO"}
        kind = kinds.get(stat.S_IFMT(status.st_mode), "a special file")
        raise BundleError(f"{path} is {kind}, a bundle contains regular files only", COPY_AGAIN)
    if status.st_nlink > 1:  # the file can be changed through its other name
        raise BundleError(f"{path} has {status.st_nlink} hard links, a file of a bundle has one", COPY_AGAIN)


def write_bundle(
    output_dir: Path, manifest: Mapping[str, Any], model: bytes, tokenizer: bytes, card: str
) -> Path:
    """Write a bundle to the folder `output_dir`, completely or not at all.

    An existing bundle is replaced. An empty folder is filled.

    Args:
        output_dir: Folder to create.
        manifest: All fields of the manifest except schema, created, tinyedge and files. The same fields and
            files give the same bytes; `created` is the date of SOURCE_DATE_EPOCH, or missing.
        model: Content of model.onnx.
        tokenizer: Content of tokenizer.model.
        card: Content of README.md.

    Returns:
        `output_dir`.

    Raises:
        BundleError: Something other than a bundle exists there, `load_bundle` would refuse the manifest, or
            the disk fails. Existing files are then unchanged.
    """
    from tinyedge.core.source_date import read_source_date  # not needed to load a bundle

    content = {MODEL_FILE: model, TOKENIZER_FILE: tokenizer, CARD_FILE: card.encode("utf-8")}
    created = read_source_date()
    sizes = {
        name: {"size": len(data), **{algorithm: compute(data) for algorithm, compute in HASHES.items()}}
        for name, data in content.items()
    }
    full_manifest = {
        "schema": MANIFEST_SCHEMA,
        **({"created": created} if created else {}),
        "tinyedge": __version__,
        **manifest,
        "files": sizes,
    }
    staged: Path | None = None
    try:
        require_replaceable(output_dir)
        target = output_dir.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = create_staging_folder(target)
        for name, data in content.items():
            files.write_bytes(staged / name, data)
        files.write_json(staged / MANIFEST_FILE, full_manifest)
        load_bundle(staged)  # a bundle that cannot be loaded must not replace another one
        swap_folders(staged, target)
        files.sync_folder(target.parent)
    except (OSError, ValueError) as failure:  # ValueError: a number is NaN or infinite
        raise BundleError(
            f"{output_dir} cannot be written: {_describe_error(failure)}",
            "check the free space and the permissions",
        ) from None
    finally:
        if staged:
            shutil.rmtree(staged, ignore_errors=True)
    return output_dir


def require_replaceable(output_dir: Path) -> None:
    """Raise BundleError unless `output_dir` is new, empty, or a bundle, even a damaged or an older one."""
    hint = "choose another --output-dir, or remove it first"
    if output_dir.is_symlink() or (output_dir.exists() and not output_dir.is_dir()):
        raise BundleError(f"{output_dir} exists and is not a folder", hint)
    existing_parent = next(parent for parent in output_dir.absolute().parents if parent.exists())
    if not existing_parent.is_dir() or not os.access(existing_parent, os.W_OK | os.X_OK):
        problem = "not writable" if existing_parent.is_dir() else "not a folder"
        raise BundleError(
            f"{output_dir} cannot be created: {existing_parent} is {problem}",
            "choose another --output-dir",
        )
    names = {part.name for part in output_dir.iterdir()} if output_dir.exists() else set()
    foreign = sorted(names - {MANIFEST_FILE, SIGNATURE_FILE, *MAX_BYTES})
    if foreign or (names and MANIFEST_FILE not in names):
        unexpected = format_untrusted((foreign or sorted(names))[0])
        raise BundleError(f"{output_dir} exists and is not a bundle: it contains {unexpected}", hint)
    # Other programs have a manifest.json too: a browser extension, for example.
    if names and SCHEMA_FAMILY not in _read_start(output_dir / MANIFEST_FILE):
        raise BundleError(f"{output_dir} exists and is not a bundle: see its {MANIFEST_FILE}", hint)


def _read_start(path: Path) -> bytes:
    """Return the first bytes of a regular file; empty if it is none."""
    try:
        with files.open_regular(path, follow_links=False) as file:
            return file.read(MAX_MANIFEST_BYTES)
    except OSError:
        return b""


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


def _describe_error(failure: Exception) -> str:
    return (failure.strerror if isinstance(failure, OSError) else None) or str(failure)
