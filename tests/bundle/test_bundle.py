"""Valid bundles load; incomplete, unknown or unsafe ones are refused with a one-line error."""

import contextlib
import ctypes
import functools
import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tinyedge.bundle import folder_swap
from tinyedge.bundle.bundle import Bundle, bundle_digest, load_bundle, require_replaceable, write_bundle
from tinyedge.core import files
from tinyedge.core.errors import BundleError

Copy = Callable[[], Path]
GENERATED = ("schema", "created", "tinyedge", "files")


@pytest.fixture
def parts(micro_bundle: Path) -> dict[str, Any]:
    """Return the arguments of `write_bundle` that recreate the micro bundle."""
    loaded = load_bundle(micro_bundle)
    manifest = {name: value for name, value in loaded.manifest.items() if name not in GENERATED}
    return {"manifest": manifest, "model": loaded.model, "tokenizer": loaded.tokenizer, "card": "# A card\n"}


def expect_refusal(path: Path) -> BundleError:
    """Load an invalid bundle; check that the error is a single line with a hint, and return it."""
    with pytest.raises(BundleError) as caught:
        load_bundle(path)
    error = caught.value
    assert error.hint
    assert error.message.isprintable(), ascii(error.message)
    assert len(error.message) < 700
    return error


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Apply `change` to the manifest."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    return folder


def test_a_valid_bundle_loads(micro_bundle: Path) -> None:
    loaded = load_bundle(micro_bundle)
    assert loaded.config.vocab_size == 1000
    assert hashlib.sha256(loaded.model).hexdigest() == files.sha256_file(micro_bundle / "model.onnx")
    assert loaded.tokenizer == (micro_bundle / "tokenizer.model").read_bytes()
    assert bundle_digest(loaded) == files.sha256_file(micro_bundle / "manifest.json")
    assert bundle_digest(loaded.without_bytes()) == bundle_digest(loaded)
    assert loaded.without_bytes().model == b""


def test_a_link_to_a_bundle_loads(micro_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(micro_bundle)
    assert isinstance(load_bundle(tmp_path / "current"), Bundle)


def test_the_fixtures_are_small_and_share_one_model(micro_bundle: Path, micro_bundle_fp32: Path) -> None:
    one, other = load_bundle(micro_bundle), load_bundle(micro_bundle_fp32)
    assert one.manifest["training"] == other.manifest["training"]
    assert (one.manifest["precision"], other.manifest["precision"]) == ("int8", "fp32")
    assert sum(f.stat().st_size for p in (one.path, other.path) for f in p.iterdir()) < 1_000_000


# --- the folder ---


def test_paths_that_are_not_bundles_are_refused(micro_bundle: Path, tmp_path: Path) -> None:
    assert "does not exist" in expect_refusal(tmp_path / "nowhere").message
    assert "is a file, a bundle is a folder" in expect_refusal(micro_bundle / "model.onnx").message
    assert "has no manifest.json, so it is not a bundle" in expect_refusal(tmp_path).message
    with pytest.raises(BundleError, match="cannot be opened: embedded null byte"):
        load_bundle(Path("nul\0"))
    os.mkfifo(tmp_path / "fifo")
    assert "is a file, a bundle is a folder" in expect_refusal(tmp_path / "fifo").message


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.model", "README.md", "manifest.json"])
class TestEachFile:
    """Damage to each of the files."""

    def test_a_missing_file_is_refused(self, bundle_copy: Copy, name: str) -> None:
        folder = bundle_copy()
        (folder / name).unlink()
        assert f"{folder} has no {name}" in expect_refusal(folder).message

    def test_a_folder_instead_of_a_file_is_refused(self, bundle_copy: Copy, name: str) -> None:
        folder = bundle_copy()
        (folder / name).unlink()
        (folder / name).mkdir()
        assert (
            expect_refusal(folder).message
            == f"{folder / name} is a folder, a bundle contains regular files only"
        )

    def test_a_symbolic_link_is_refused(self, bundle_copy: Copy, micro_bundle: Path, name: str) -> None:
        folder = bundle_copy()
        (folder / name).unlink()
        (folder / name).symlink_to(micro_bundle / name)
        assert f"{folder / name} is a symbolic link" in expect_refusal(folder).message

    def test_a_fifo_is_refused(self, bundle_copy: Copy, name: str) -> None:
        folder = bundle_copy()
        (folder / name).unlink()
        os.mkfifo(folder / name)
        assert f"{folder / name} is a FIFO" in expect_refusal(folder).message

    def test_a_hard_link_is_refused(self, bundle_copy: Copy, name: str, tmp_path: Path) -> None:
        folder = bundle_copy()
        (tmp_path / "other name").hardlink_to(folder / name)
        assert f"{folder / name} has 2 hard links" in expect_refusal(folder).message

    def test_an_empty_file_is_refused(self, bundle_copy: Copy, name: str) -> None:
        folder = bundle_copy()
        (folder / name).write_bytes(b"")
        assert str(folder / name) in expect_refusal(folder).message

    def test_a_truncated_file_is_refused(self, bundle_copy: Copy, name: str) -> None:
        folder = bundle_copy()
        data = (folder / name).read_bytes()
        for length in sorted({len(data) * part // 20 for part in range(1, 20)} | {len(data) - 1}):
            (folder / name).write_bytes(data[:length])
            if name == "manifest.json" and length == len(data) - 1:
                continue  # only the last line break is gone: still the same manifest
            assert str(folder / name) in expect_refusal(folder).message

    def test_flipped_bits_are_found(self, bundle_copy: Copy, name: str) -> None:
        """A flipped bit in a data file is found; a changed manifest never loads with the same digest."""
        folder = bundle_copy()
        data = (folder / name).read_bytes()
        for offset in range(0, len(data), max(1, len(data) // 60)):
            damaged = bytearray(data)
            damaged[offset] ^= 1 << (offset % 8)
            (folder / name).write_bytes(damaged)
            if name == "manifest.json":
                with contextlib.suppress(BundleError):
                    assert bundle_digest(load_bundle(folder)) != hashlib.sha256(data).hexdigest()
            else:
                assert "the manifest specifies" in expect_refusal(folder).message


def test_a_file_is_verified_by_the_hash_that_is_fastest(parts: dict[str, Any], tmp_path: Path) -> None:
    """Earlier versions wrote sha256 alone; see the damaged files above."""
    folder = write_bundle(tmp_path / "new", **parts)
    listed = load_bundle(folder).manifest["files"]["README.md"]
    card = (folder / "README.md").read_bytes()
    assert listed["blake2b"] == hashlib.blake2b(card, digest_size=32).hexdigest()
    rewrite(folder, lambda manifest: manifest["files"]["README.md"].update(sha256="0" * 64))
    load_bundle(folder)
    with pytest.raises(BundleError, match=r"README\.md has sha256 .*, the manifest specifies 0{64}"):
        load_bundle(folder, all_hashes=True)
    (folder / "README.md").write_bytes(card[:-1] + b"?")
    assert "README.md has blake2b " in expect_refusal(folder).message


def test_the_error_for_a_damaged_file_has_the_expected_and_the_found_digest(bundle_copy: Copy) -> None:
    folder = bundle_copy()
    expected = files.sha256_file(folder / "README.md")
    size = (folder / "README.md").stat().st_size
    (folder / "README.md").write_bytes(b"x" * size)
    error = expect_refusal(folder)
    found = hashlib.sha256(b"x" * size).hexdigest()
    assert error.message == f"{folder}/README.md has sha256 {found}, the manifest specifies {expected}"
    assert error.hint == "copy the bundle again"


@pytest.mark.parametrize("name", ["extra.bin", "Model.onnx", ".hidden", "model.onnx.data", "a\nb", "\udcff"])
def test_additional_files_are_refused(bundle_copy: Copy, name: str) -> None:
    folder = bundle_copy()
    (folder / name).write_bytes(b"")
    assert "which is not part of a bundle" in expect_refusal(folder).message
    (folder / name).unlink()
    (folder / name).mkdir()
    assert "which is not part of a bundle" in expect_refusal(folder).message


def test_no_file_outside_the_bundle_is_opened(bundle_copy: Copy, tmp_path: Path) -> None:
    """The manifest can only list the known files, so no path can point outside the folder."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    entry = {"size": 6, "sha256": hashlib.sha256(b"secret").hexdigest()}
    for name in ("../secret", str(secret), "..", ".", "", "a/b", "model.onnx\0", "Model.onnx"):
        folder = rewrite(bundle_copy(), lambda m, name=name: m["files"].update({name: entry}))  # type: ignore[misc]
        assert (
            "is not a field of" in expect_refusal(folder).message
            or "control" in expect_refusal(folder).message
        )


# --- the manifest ---


def list_fields(value: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every field of the manifest, including nested ones but not those of open objects."""
    for name, part in value.items():
        if name in ("weight_type", "worst_matrix", "worst_relative_error", "relative_errors", "recipe"):
            continue
        yield (*path, name)
        if isinstance(part, dict):
            yield from list_fields(part, (*path, name))


MANIFEST = json.loads((Path(__file__).parents[1] / "data/micro_bundle_int8/manifest.json").read_text())
QUALITY = {
    "fp32_bits_per_byte": 1.5,
    "bits_per_byte": 1.6,
    "change_percent": -0.1,
    "kl_nats": 0.001,
    "top1_agreement": 0.99,
    "tokens": 100,
    "bytes": 300,
}
MANIFEST["quality"] = {"en": QUALITY}
FIELDS = list(list_fields(MANIFEST))
BAD_VALUES: list[Any] = [
    None,
    -1,
    -0.5,
    1e300,
    10**20,
    True,
    "",
    "x" * 5000,
    "nul\0",
    "\ud800",
    "\x1b[2J",
    [],
    ["a"],
    {},
    {"a": 1},
    [[[[[[[[[[1]]]]]]]]]],
]
# Values of BAD_VALUES that are valid for some fields.
ALLOWED: dict[tuple[str, ...], list[object]] = {("parity", "greedy_tokens_equal"): [True], ("quality",): [{}]}
ALLOWED |= {("quantization", "per_channel"): [True]}
ALLOWED |= {("quantization", "kept_fp32"): [[], ["a"]]}
ALLOWED |= {("quality", "en", name): [-1, -0.5] for name in ("change_percent", "kl_nats")}


def parent_of(manifest: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path[:-1]:
        manifest = manifest[name]
    return manifest


def set_quality(manifest: dict[str, Any]) -> None:
    manifest["quality"] = {"en": dict(QUALITY)}


@pytest.mark.parametrize(
    ("openings", "message"),
    [
        (["My sister"], "openings is ['My sister'], expected an object"),
        ({"en": "My sister"}, "openings.en is 'My sister', expected a list of 1 to 4 texts"),
        ({"en": []}, "expected a list of 1 to 4 texts"),
        ({"en": ["a"] * 5}, "expected a list of 1 to 4 texts"),
        ({"en": ["a" * 49]}, "of 1 to 48 characters"),
        ({"en": [""]}, "of 1 to 48 characters"),
        ({"en": [1]}, "of 1 to 48 characters"),
        ({"en": ["\x1b[2J"]}, "has control characters"),
        ({"de": ["Meine"]}, "openings has 'de', which quality has not"),
    ],
)
def test_openings_are_few_short_printable_and_of_measured_texts(
    bundle_copy: Copy, openings: object, message: str
) -> None:
    folder = rewrite(bundle_copy(), set_quality)
    assert "openings" not in load_bundle(folder).manifest  # a bundle may lack them
    rewrite(folder, lambda manifest: manifest.update(openings={"en": ["My sister", "The"]}))
    assert load_bundle(folder).manifest["openings"] == {"en": ["My sister", "The"]}
    rewrite(folder, lambda manifest: manifest.update(openings=openings))
    assert message in expect_refusal(folder).message


@pytest.mark.parametrize("path", FIELDS, ids=".".join)
def test_every_field_is_required_and_validated(bundle_copy: Copy, path: tuple[str, ...]) -> None:
    folder = rewrite(bundle_copy(), set_quality)
    load_bundle(folder)
    original = (folder / "manifest.json").read_text()

    if path not in (("quality", "en"), ("model_id",)):
        rewrite(folder, lambda m: parent_of(m, path).pop(path[-1]))
        assert path[-1] in expect_refusal(folder).message
    for value in BAD_VALUES:
        if value in ALLOWED.get(path, []):
            continue
        (folder / "manifest.json").write_text(original)
        rewrite(folder, lambda m, value=value: parent_of(m, path).update({path[-1]: value}))  # type: ignore[misc]
        assert str(folder / "manifest.json") in expect_refusal(folder).message


def test_a_bundle_of_an_earlier_version_has_a_date_and_no_model_id(bundle_copy: Copy) -> None:
    folder = bundle_copy()
    assert load_bundle(folder).model_id == json.loads((folder / "manifest.json").read_text())["model_id"]

    def make_earlier(manifest: dict[str, Any]) -> None:
        del manifest["model_id"]
        manifest["created"] = "2026-01-31T12:00:00+00:00"

    assert load_bundle(rewrite(folder, make_earlier)).model_id is None


def test_the_template_of_a_model_of_pairs_is_read_and_may_lack_its_turns(bundle_copy: Copy) -> None:
    assert load_bundle(bundle_copy()).template is None
    for chat in ({"template": "turns/1"}, {"template": "turns/1", "turns": 3}):
        folder = rewrite(bundle_copy(), functools.partial(dict.update, chat=chat))
        assert load_bundle(folder).template == "turns/1"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("model_id",), "0123456789AB", "expected 12 hexadecimal digits"),
        (("schema",), "tinyedge.bundle/2", "has schema 'tinyedge.bundle/2', this version reads"),
        (("created",), "yesterday", "created is 'yesterday', expected a time in UTC"),
        (("created",), "2026-01-01T00:00:00+02:00", "expected a time in UTC"),
        (("parameters",), 1, "parameters is 1, model requires 163072"),
        (("tokenizer", "vocab_size"), 1001, "tokenizer.vocab_size is 1001, model requires 1000"),
        (("tokenizer", "sha256"), "0" * 64, "files.tokenizer.model requires"),
        (("tokenizer", "bos_id"), 1, "tokenizer.bos_id is 1, expected 0"),
        (("tokenizer", "bos_id"), False, "tokenizer.bos_id is False, expected 0"),
        (("model", "d_model"), 65, "does not divide"),
        (("model", "num_layers"), 10**9, "num_layers 1000000000 is outside 1-6"),
        (("precision",), "fp16", "precision is 'fp16', expected 'int8' or 'fp32'"),
        (("precision",), "fp32", "quantization is an object, expected None"),
        (("files", "model.onnx", "sha256"), "A" * 64, "expected 64 hexadecimal digits"),
        (("files", "model.onnx", "size"), 1 << 40, "bytes, the manifest specifies 1099511627776"),
        (("budgets", "max_rss_mb"), 0, "budgets.max_rss_mb is 0, expected a number above 0"),
        (("budgets", "extra"), 1, "budgets.'extra' is not a field of"),
        (("surprise",), 1, "'surprise' is not a field of tinyedge.bundle/1"),
        (("chat",), {"template": "turns/2"}, "chat.template is 'turns/2', expected 'turns/1'"),
        (("chat",), {"turns": 1}, "chat.template is missing"),
        (("chat",), {"template": "turns/1", "turns": -1}, "chat.turns is -1, expected an integer, 0 or more"),
        (("chat",), {"template": "turns/1", "roles": []}, "chat.'roles' is not a field of"),
    ],
)
def test_invalid_or_inconsistent_values_are_refused(
    bundle_copy: Copy, path: tuple[str, ...], value: Any, message: str
) -> None:
    folder = rewrite(bundle_copy(), lambda m: parent_of(m, path).update({path[-1]: value}))
    error = expect_refusal(folder)
    assert message in error.message
    if path == ("schema",):
        assert error.hint == "export the bundle again with this version, or install the tinyedge that made it"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\xff\xfe{}", "can't decode byte"),
        (b"{", "Expecting property name"),
        (b"[]", "it is not an object"),
        (b"null", "it is not an object"),
        (b'{"schema": 1, "schema": 1}', "field 'schema' appears twice"),
        (b'{"a": {"b": 1, "b\\u0000": 2, "b": 3}}', "field 'b' appears twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1e999}', "number inf is too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not a valid manifest"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not a valid manifest"),
        (b'{"a\\u0007": 1}', "has control characters"),
        (b"{}" + b" " * (1 << 20), "bytes, more than 1048576"),
        (b"\xef\xbb\xbf{}", "BOM"),
    ],
)
def test_manifests_that_are_not_strict_json_are_refused(bundle_copy: Copy, raw: bytes, message: str) -> None:
    folder = bundle_copy()
    (folder / "manifest.json").write_bytes(raw)
    assert message in expect_refusal(folder).message


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx"])
@pytest.mark.parametrize("swap", ["link", "fifo", "folder"])
def test_a_file_that_is_replaced_between_check_and_open_is_refused(
    bundle_copy: Copy, micro_bundle: Path, monkeypatch: pytest.MonkeyPatch, name: str, swap: str
) -> None:
    folder = bundle_copy()
    real_stat = os.stat

    def stat_then_swap(path: Any, **options: Any) -> os.stat_result:
        status = real_stat(path, **options)
        if path == name:
            (folder / name).unlink()
            if swap == "link":
                (folder / name).symlink_to(micro_bundle / name)
            elif swap == "fifo":
                os.mkfifo(folder / name)
            else:
                (folder / name).mkdir()
        return status

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat_then_swap)
        with pytest.raises(BundleError):
            load_bundle(folder)


def test_an_unreadable_disk_is_an_error(bundle_copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    folder = bundle_copy()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fail)
        with pytest.raises(BundleError) as caught:
            load_bundle(folder)
    assert caught.value.message == f"{folder} cannot be read: Input/output error"


# --- writing ---


def test_a_written_bundle_can_be_loaded(parts: dict[str, Any], tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "new" / "bundle", **parts)
    loaded = load_bundle(path)
    assert loaded.model == parts["model"]
    assert loaded.manifest["model"] == parts["manifest"]["model"]
    assert (path / "README.md").read_text() == "# A card\n"
    assert [part.name for part in path.parent.iterdir()] == ["bundle"]
    assert (path.stat().st_mode & 0o055) == (path.parent.stat().st_mode & 0o055)


def test_an_existing_bundle_is_replaced_even_if_damaged(parts: dict[str, Any], bundle_copy: Copy) -> None:
    folder = bundle_copy()
    (folder / "model.onnx").write_bytes(b"damaged")
    (folder / "manifest.json").write_text('{"schema": "tinyedge.bundle/0"}')
    write_bundle(folder, **parts)
    assert load_bundle(folder).model == parts["model"]
    assert [part.name for part in folder.parent.iterdir()] == [folder.name]


def test_an_empty_folder_is_filled(parts: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    load_bundle(write_bundle(tmp_path / "bundle", **parts))


@pytest.mark.parametrize(
    "what", ["file", "link", "other folder", "bundle with a note", "no manifest", "other manifest"]
)
def test_other_files_and_folders_are_not_replaced(
    what: str, parts: dict[str, Any], bundle_copy: Copy, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    if what == "file":
        target.write_text("mine")
    elif what == "link":
        target.symlink_to(bundle_copy())
    elif what == "other folder":
        target.mkdir()
        (target / "thesis.tex").write_text("mine")
    else:
        bundle_copy().rename(target)
        if what == "no manifest":
            (target / "manifest.json").unlink()
        elif what == "other manifest":
            (target / "manifest.json").write_text('{"manifest_version": 3, "name": "a browser extension"}')
        else:
            (target / "note.txt").write_text("mine")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(BundleError, match="exists and is not a") as caught:
        write_bundle(target, **parts)
    assert "--output-dir" in caught.value.hint
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_an_invalid_manifest_is_not_written(parts: dict[str, Any], bundle_copy: Copy, tmp_path: Path) -> None:
    folder = bundle_copy()
    changes: list[dict[str, Any]] = [
        {"parameters": 5},
        {"parity": {}},
        {"target": float("nan")},
        {"unknown": 1},
    ]
    for change in changes:
        wrong = {**parts, "manifest": {**parts["manifest"], **change}}
        with pytest.raises(BundleError):
            write_bundle(folder, **wrong)
        with pytest.raises(BundleError):
            write_bundle(tmp_path / "new", **wrong)
    load_bundle(folder)
    assert [part.name for part in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "without exchange"])
@pytest.mark.parametrize("existing", [True, False], ids=["replacing", "new"])
def test_a_failure_of_any_system_call_leaves_the_old_or_the_new_bundle(
    parts: dict[str, Any], bundle_copy: Copy, monkeypatch: pytest.MonkeyPatch, existing: bool, exchange: bool
) -> None:
    """For every k, if the k-th system call fails, a valid bundle remains and no temporary files do."""
    calls = 0
    failing = -1

    def breaking(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise OSError(28, "No space left on device")
            return function(*arguments, **options)

        return call

    for owner, name in ((os, "fsync"), (os, "rename"), (os, "replace"), (os, "mkdir"), (Path, "open")):
        monkeypatch.setattr(owner, name, breaking(getattr(owner, name)))
    monkeypatch.setattr(folder_swap, "_exchange", breaking(folder_swap._exchange))
    if not exchange:
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    for k in itertools.count(1):
        failing = -1
        old = bundle_copy()
        digest = bundle_digest(load_bundle(old))
        target = old if existing else old.with_name(f"new{k}")
        calls, failing = 0, k
        error = None
        try:
            write_bundle(target, **parts)
        except BundleError as failure:
            error = failure
        done, failing = calls, -1
        if existing or error is None:
            load_bundle(target)
        assert not [part.name for part in target.parent.iterdir() if part.name.startswith(".")]
        if done < k:
            break  # every call has failed once
        if error:
            assert "No space left on device" in error.message
    assert error is None
    assert k > 15
    assert bundle_digest(load_bundle(target)) != digest


@pytest.mark.parametrize("name", ["bundle", "**", "[a]?"])
def test_leftovers_of_a_killed_process_are_removed(parts: dict[str, Any], tmp_path: Path, name: str) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    for owner in (dead.pid, os.getppid()):
        (tmp_path / f".{name}.{owner}.tmp").mkdir()
        (tmp_path / f".{name}.{owner}.tmp" / "model.onnx").write_bytes(b"half")
    load_bundle(write_bundle(tmp_path / name, **parts))
    alive = f".{name}.{os.getppid()}.tmp"  # of another export that is still running
    assert sorted(part.name for part in tmp_path.iterdir()) == sorted([alive, name])


@pytest.mark.parametrize("name", [".bundle.{dead}.tmp", ".bundle.{own}.tmp", ".bundle.old.tmp"])
@pytest.mark.parametrize("inside", ["", "notes.txt", "more/model.onnx"])
def test_a_hidden_folder_of_the_user_is_not_removed(
    parts: dict[str, Any], tmp_path: Path, name: str, inside: str
) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    write_bundle(tmp_path / "bundle", **parts)
    hidden = tmp_path / name.format(dead=dead.pid, own=os.getpid())
    (hidden / inside).parent.mkdir(parents=True, exist_ok=True)
    (hidden / inside).write_text("mine")
    with pytest.raises(BundleError) as caught:
        write_bundle(tmp_path / "bundle", **parts)
    assert str(hidden) in caught.value.message
    assert (hidden / inside).read_text() == "mine"


def test_an_old_bundle_that_was_moved_aside_is_removed_after_the_new_one_is_complete(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    """As after a kill between the two renames where folders cannot be exchanged."""
    aside = write_bundle(tmp_path / "bundle", **parts).rename(tmp_path / ".bundle.old.tmp")
    with pytest.raises(BundleError):
        write_bundle(tmp_path / "bundle", **{**parts, "model": b"invalid"})
    load_bundle(aside)
    for _ in range(2):
        write_bundle(tmp_path / "bundle", **parts)
    assert [part.name for part in tmp_path.iterdir()] == ["bundle"]


WRITER = """
import sys
from pathlib import Path
from tinyedge.bundle.bundle import load_bundle, write_bundle
source, target = load_bundle(Path(sys.argv[1])), Path(sys.argv[2])
own = ("schema", "created", "tinyedge", "files")
manifest = {name: value for name, value in source.manifest.items() if name not in own}
for _ in range(40):
    write_bundle(target, manifest, source.model, source.tokenizer, "card")
"""


def test_concurrent_writers_leave_a_valid_bundle(micro_bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    command = [sys.executable, "-c", WRITER, str(micro_bundle), str(target)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [writer.communicate()[1] for writer in writers] == [""] * 3
    load_bundle(target)
    assert [part.name for part in tmp_path.iterdir()] == ["bundle"]


def test_a_path_below_a_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="file is not a folder"):
        require_replaceable(tmp_path / "file" / "a" / "bundle")


def test_reading_a_bundle_imports_no_heavy_library(micro_bundle: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tinyedge.bundle.bundle import load_bundle;"
        " load_bundle(Path(sys.argv[1]));"
        " print(sorted({'numpy', 'onnx', 'onnxruntime', 'sentencepiece', 'torch'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(micro_bundle)], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
