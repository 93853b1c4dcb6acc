"""Reading and writing of bundles: flat folders of four files, perhaps with n-grams and a signature.

In: a folder, or the content of its files. Out: a `Bundle`, or the folder. A bundle that is incomplete,
unknown or unsafe is refused; a bundle contains no code. Does not use numpy or ONNX Runtime: they get a file's
bytes only after its size and hash were verified here. Each file is read once, and they get exactly the
verified bytes, so that nothing can change in between. The n-grams alone are mapped: each of their blocks is
verified when it is first used, and the file must not be changed in place. No command of tinyedge does that.
"""

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from tinyedge import __version__
from tinyedge.bundle.expected_graph import check_expected
from tinyedge.bundle.manifest import (
    BUNDLE_FILES,
    CARD_FILE,
    COPY_AGAIN,
    EXPORT_AGAIN,
    MANIFEST_FILE,
    MANIFEST_SCHEMA,
    MAX_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_NGRAMS_BYTES,
    MAX_SIGNATURE_BYTES,
    MODEL_FILE,
    NGRAMS_FILE,
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
from tinyedge.core.hashes import hash_blake2b, hash_sha256

if TYPE_CHECKING:  # imported where there are n-grams
    from tinyedge.ngram.mapped_file import NgramFile

HASHES = {"blake2b": hash_blake2b, "sha256": hash_sha256}  # the fastest first
SCHEMA_FAMILY = b"tinyedge.bundle/"  # in every manifest, of older and newer versions too


class Bundle(NamedTuple):  # creating a frozen dataclass would cost every start of the device
    """A valid bundle. Each file was read once and verified; the n-grams are verified where they are used."""

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
    """The mapped table of n-grams to mix with the model; None if there is none."""

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
        """Return this bundle without the bytes that were read from its files, to release memory."""
        return self._replace(model=b"", tokenizer=b"", card=b"", weights={})

    def without_ngrams(self) -> "Bundle":
        """Return this bundle without its n-grams: its model alone."""
        return self._replace(ngrams=None)

    def check_ngrams(self) -> None:
        """Verify all n-grams, as the other files were verified when the bundle was loaded.

        Raises:
            BundleError: They are damaged.
        """
        if self.ngrams is not None:
            self.ngrams.check_all()

    def write_copy(self, folder: Path) -> None:
        """Write the verified bytes to an empty folder. The files of the bundle may have changed since.

        Raises:
            BundleError: The n-grams are damaged.
        """
        self.check_ngrams()
        content = {
            MANIFEST_FILE: self.raw_manifest,
            MODEL_FILE: self.model,
            TOKENIZER_FILE: self.tokenizer,
            CARD_FILE: self.card,
            SIGNATURE_FILE: self.signature,
            NGRAMS_FILE: None if self.ngrams is None else self.ngrams.data,
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
        all_hashes: Whether to compare every hash of a file that the manifest lists, not only the fastest one,
            and every block of the n-grams.

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
    listed_ngrams = manifest.get("ngrams")
    expected_names = {MANIFEST_FILE, *MAX_BYTES, *([NGRAMS_FILE] if listed_ngrams else [])}
    for name in sorted(expected_names - names):
        raise BundleError(f"{path} has no {name}", COPY_AGAIN)
    for name in sorted(names - expected_names - {SIGNATURE_FILE}):
        raise BundleError(
            f"{path} has {format_untrusted(name)}, which is not part of {_name_whole(name)}",
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
    ngrams = _map_ngrams(path, folder, listed_ngrams, config) if listed_ngrams else None
    model, tokenizer, card = (content[name] for name in (MODEL_FILE, TOKENIZER_FILE, CARD_FILE))
    bundle = Bundle(path, manifest, raw, signature, config, model, tokenizer, card, graph.weights, ngrams)
    if all_hashes:
        bundle.check_ngrams()
    return bundle


def _name_whole(foreign: str) -> str:
    return "the bundle that the manifest describes" if foreign == NGRAMS_FILE else "a bundle"


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


def _map_ngrams(path: Path, folder: int, listed: Mapping[str, Any], config: ModelConfig) -> "NgramFile":
    """Map the n-grams and verify what is before their blocks: header and hashes."""
    import mmap  # not loaded for a bundle without n-grams

    from tinyedge.ngram.mapped_file import NgramFile

    with _open_file(path, folder, NGRAMS_FILE, MAX_NGRAMS_BYTES, listed["size"]) as file:
        if not listed["size"]:
            raise BundleError(f"{path / NGRAMS_FILE} is empty", COPY_AGAIN)
        data = mmap.mmap(file.fileno(), listed["size"], access=mmap.ACCESS_READ)
    ngrams = NgramFile(data, listed["root"], str(path / NGRAMS_FILE))
    if ngrams.layout.vocab_size != config.vocab_size:
        raise BundleError(
            f"{path / NGRAMS_FILE} has {ngrams.layout.vocab_size} tokens, the model {config.vocab_size}",
            EXPORT_AGAIN,
        )
    return ngrams


def _read_file(path: Path, folder: int, name: str, limit: int, size: int | None = None) -> bytes:
    """Read a regular file of at most `limit` bytes, and of exactly `size` bytes if given."""
    with _open_file(path, folder, name, limit, size) as file:
        return file.read(os.fstat(file.fileno()).st_size)


@contextlib.contextmanager
def _open_file(path: Path, folder: int, name: str, limit: int, size: int | None = None) -> Iterator[BinaryIO]:
    """Open a regular file of at most `limit` bytes, and of exactly `size` bytes if given."""
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
        yield file


def _require_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a FIFO"}
        kind = kinds.get(stat.S_IFMT(status.st_mode), "a special file")
        raise BundleError(f"{path} is {kind}, a bundle contains regular files only", COPY_AGAIN)
    if status.st_nlink > 1:  # the file can be changed through its other name
        raise BundleError(f"{path} has {status.st_nlink} hard links, a file of a bundle has one", COPY_AGAIN)


def write_bundle(
    output_dir: Path,
    manifest: Mapping[str, Any],
    model: bytes,
    tokenizer: bytes,
    card: str,
    ngrams: bytes | bytearray | None = None,
) -> Path:
    """Write a bundle to the folder `output_dir`, completely or not at all.

    An existing bundle is replaced. An empty folder is filled.

    Args:
        output_dir: Folder to create.
        manifest: All fields of the manifest except schema, created, tinyedge, files and ngrams. The same
            fields and files give the same bytes; `created` is the date of SOURCE_DATE_EPOCH, or missing.
        model: Content of model.onnx.
        tokenizer: Content of tokenizer.model.
        card: Content of README.md.
        ngrams: Content of ngrams.bin; None for a bundle without n-grams.

    Returns:
        `output_dir`.

    Raises:
        BundleError: Something other than a bundle exists there, `load_bundle` would refuse the manifest, or
            the disk fails. Existing files are then unchanged.
    """
    from tinyedge.bundle.folder_swap import create_staging_folder, swap_folders  # not needed to load a bundle
    from tinyedge.core.source_date import read_source_date

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
    if ngrams is not None:
        from tinyedge.ngram.mapped_file import NgramFile

        full_manifest["ngrams"] = {"size": len(ngrams), "root": NgramFile(ngrams).root}
    staged: Path | None = None
    try:
        require_replaceable(output_dir)
        target = output_dir.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = create_staging_folder(target)
        for name, data in content.items():
            files.write_bytes(staged / name, data)
        if ngrams is not None:
            files.write_bytes(staged / NGRAMS_FILE, ngrams)
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
    foreign = sorted(names - set(BUNDLE_FILES))
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


def _describe_error(failure: Exception) -> str:
    return (failure.strerror if isinstance(failure, OSError) else None) or str(failure)
