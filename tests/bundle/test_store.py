"""`current` points to a complete bundle, whatever fails while a board changes its bundle."""

import errno
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import Disk
from tests.support.program import tinyedge
from tinyedge.bundle.bundle import Bundle, bundle_digest, load_bundle
from tinyedge.bundle.store import Activation, Store
from tinyedge.bundle.store_files import BUNDLES, CONFIRMED_FILE, MARKER_FILE
from tinyedge.cli import main
from tinyedge.core.errors import BundleError, StoreError

OLDER, OLD, NEW = "older", "old", "new"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return three bundles that differ in one field of the manifest."""
    folder = tmp_path_factory.mktemp("bundles")
    for name in (OLDER, OLD, NEW):
        shutil.copytree(Path(__file__).parents[1] / "data" / "micro_bundle_int8", folder / name)
        manifest = json.loads((folder / name / "manifest.json").read_text())
        (folder / name / "manifest.json").write_text(json.dumps({**manifest, "target": name}))
    return {name: folder / name for name in (OLDER, OLD, NEW)}


@pytest.fixture
def store(bundles: dict[str, Path], tmp_path: Path) -> Store:
    """Return a store in which OLD is active and OLDER is the previous bundle."""
    store = Store(tmp_path / "store")
    store.activate(bundles[OLDER], passes)
    store.activate(bundles[OLD], passes)
    return store


def passes(folder: Path) -> None:
    load_bundle(folder)


def fails(folder: Path) -> None:
    raise BundleError(f"{folder} failed its self-test: no text", "export it again")


def serving(store: Store) -> str:
    """Return the name of the bundle that `current` points to; it must be valid."""
    return str(load_bundle(store.root / "current").manifest["target"])


def stored_names(store: Store) -> set[str]:
    """Return the names of all bundles in the store; each of them must be valid."""
    return {str(load_bundle(folder).manifest["target"]) for folder in (store.root / BUNDLES).iterdir()}


def digest(bundle: Path) -> str:
    return bundle_digest(load_bundle(bundle))


def test_activation_keeps_the_previous_bundle(store: Store, bundles: dict[str, Path]) -> None:
    change = store.activate(bundles[NEW], passes)
    assert change == Activation(digest(bundles[NEW]), digest(bundles[OLD]))
    assert (serving(store), stored_names(store)) == (NEW, {OLD, NEW})
    assert (store.root / "current").readlink() == Path("bundles", digest(bundles[NEW]))
    status = store.status()
    assert status.current == status.confirmed == digest(bundles[NEW])
    assert status.previous == digest(bundles[OLD])
    assert [one.damage for one in status.bundles] == [None, None]


def test_activating_the_active_bundle_changes_nothing(store: Store, bundles: dict[str, Path]) -> None:
    def everything() -> dict[str, tuple[int, int]]:
        return {str(p): (p.lstat().st_ino, p.lstat().st_mtime_ns) for p in store.root.rglob("*")}

    before = everything()
    assert store.activate(bundles[OLD], fails) == Activation(digest(bundles[OLD]), digest(bundles[OLD]))
    assert store.recover() == Activation(digest(bundles[OLD]), digest(bundles[OLD]))
    assert everything() == before


def test_rollback_twice_returns_to_the_first_bundle(store: Store, bundles: dict[str, Path]) -> None:
    store.activate(store.previous(), passes)
    assert serving(store) == OLDER
    store.activate(store.previous(), passes)
    assert (serving(store), stored_names(store)) == (OLD, {OLD, OLDER})


def test_a_failed_self_test_changes_nothing(store: Store, bundles: dict[str, Path]) -> None:
    with pytest.raises(BundleError, match="failed its self-test"):
        store.activate(bundles[NEW], fails)
    assert (serving(store), stored_names(store)) == (OLD, {OLD, OLDER})


def test_the_self_test_gets_the_path_under_which_the_bundle_will_serve(
    store: Store, bundles: dict[str, Path]
) -> None:
    seen = []
    store.activate(bundles[NEW], lambda folder: seen.append((folder, serving(store))))
    assert seen == [(store.root / "current", NEW)]


def test_a_failed_first_bundle_leaves_an_empty_store(bundles: dict[str, Path], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(BundleError):
        store.activate(bundles[NEW], fails)
    assert not (store.root / "current").is_symlink()
    with pytest.raises(StoreError, match="has no valid bundle"):
        store.recover()
    with pytest.raises(StoreError, match="has no previous bundle"):
        store.previous()
    store.activate(bundles[OLD], passes)
    assert serving(store) == OLD


def test_a_refused_bundle_is_not_copied(store: Store, bundles: dict[str, Path], tmp_path: Path) -> None:
    def refuse(bundle: Bundle) -> None:
        if bundle.manifest["target"] == NEW:
            raise BundleError("not signed")

    with pytest.raises(BundleError, match="not signed"):
        Store(store.root, refuse).activate(bundles[NEW], passes)
    damaged = Path(shutil.copytree(bundles[NEW], tmp_path / "damaged"))
    (damaged / "model.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match="has 1 bytes"):
        store.activate(damaged, passes)
    assert (serving(store), stored_names(store)) == (OLD, {OLD, OLDER})


def test_an_unconfirmed_bundle_is_rolled_back_at_the_next_start(
    store: Store, bundles: dict[str, Path]
) -> None:
    def power_cut(folder: Path) -> None:
        os._exit(9)

    child = multiprocessing.get_context("fork").Process(target=store.activate, args=(bundles[NEW], power_cut))
    child.start()
    child.join()
    assert child.exitcode == 9
    assert serving(store) == NEW  # complete, but not tested
    change = store.recover()
    assert (change.serving, change.replaced) == (digest(bundles[OLD]), digest(bundles[NEW]))
    assert "was not confirmed" in change.reason
    assert serving(store) == OLD


def test_a_bundle_damaged_on_the_card_is_rolled_back(store: Store, bundles: dict[str, Path]) -> None:
    model = store.root / "bundles" / digest(bundles[OLD]) / "model.onnx"
    model.write_bytes(bytes(len(model.read_bytes())))
    change = store.recover()
    assert (serving(store), change.serving) == (OLDER, digest(bundles[OLDER]))
    assert "model.onnx has sha256" in change.reason
    assert [one.damage is None for one in store.status().bundles].count(True) == 1
    store.activate(bundles[OLD], passes)  # a new copy replaces the damaged one
    assert (serving(store), stored_names(store)) == (OLD, {OLD, OLDER})


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 100, b'{"schema": "tinyedge.store/1"}', b"[]", None])
def test_a_damaged_record_does_not_stop_the_service(store: Store, content: bytes | None) -> None:
    record = store.root / "confirmed.json"
    record.unlink() if content is None else record.write_bytes(content)
    assert store.recover().reason == ""
    assert serving(store) == OLD


def test_a_record_cannot_point_outside_the_store(store: Store, tmp_path: Path) -> None:
    value = {"schema": "tinyedge.store/1", "confirmed": "../../elsewhere", "previous": "/"}
    (store.root / "confirmed.json").write_text(json.dumps(value))
    (store.root / "current").unlink()
    (store.root / "current").symlink_to("/etc")
    store.recover()
    assert serving(store) in (OLD, OLDER)


def test_an_oversized_record_is_ignored(store: Store) -> None:
    before = serving(store)
    with (store.root / CONFIRMED_FILE).open("wb") as file:
        file.truncate(1 << 40)
    store.recover()
    assert serving(store) == before


def test_only_bundles_are_removed_from_a_store(
    store: Store, bundles: dict[str, Path], tmp_path: Path
) -> None:
    folder = store.root / BUNDLES
    os.mkfifo(folder / "f")
    (folder / "link").symlink_to(bundles[OLD])
    (folder / ("0" * 64)).symlink_to(bundles[OLD])
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.tex").write_text("mine")
    (folder / digest(bundles[OLDER]) / "note.txt").write_text("mine")
    shutil.copytree(bundles[OLD], folder / f".{'a' * 64}.12.tmp")
    store.activate(bundles[NEW], passes)
    names = {"f", "link", "0" * 64, "mine", *(digest(bundles[name]) for name in (OLDER, OLD, NEW))}
    assert {part.name for part in folder.iterdir()} == names
    assert (folder / "mine" / "thesis.tex").exists()
    assert (folder / digest(bundles[OLDER]) / "note.txt").exists()
    load_bundle(bundles[OLD])  # no link was followed


def list_tree(folder: Path) -> list[tuple[str, bytes]]:
    return [
        (str(path.relative_to(folder)), path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    ]


DIGEST = "0123456789abcdef" * 4
FOREIGN: dict[str, Callable[[Path, Path], object]] = {
    "the source bundle": lambda root, bundle: shutil.copytree(bundle, root / BUNDLES / "mine"),
    "a linked folder": lambda root, bundle: (root / BUNDLES).symlink_to(bundle.parent),
    "a file": lambda root, bundle: (root / "thesis.tex").write_text("mine"),
    "a file among the bundles": lambda root, bundle: (root / BUNDLES / "thesis.tex").write_text("mine"),
    "another folder with a digest's name": lambda root, bundle: shutil.copytree(
        bundle.parent, root / BUNDLES / DIGEST
    ),
    "a linked bundle": lambda root, bundle: (root / BUNDLES / DIGEST).symlink_to(bundle),
    "another current": lambda root, bundle: (root / "current").symlink_to("releases/7"),
    "another record": lambda root, bundle: (root / CONFIRMED_FILE).write_text('{"confirmed": true}'),
    "a linked record": lambda root, bundle: (root / CONFIRMED_FILE).symlink_to(bundle / "manifest.json"),
    "another lock": lambda root, bundle: (root / ".lock").write_text("123"),
    "a linked lock": lambda root, bundle: (root / ".lock").symlink_to(bundle / "new"),
    "a linked marker": lambda root, bundle: (root / ".tinyedge-store").symlink_to(bundle / "README.md"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_folder_that_is_not_a_store_is_refused_before_anything_is_changed(
    bundles: dict[str, Path], tmp_path: Path, what: str
) -> None:
    root = tmp_path / "root"
    (root / BUNDLES).mkdir(parents=True)
    if what == "a linked folder":
        (root / BUNDLES).rmdir()
    FOREIGN[what](root, bundles[OLD])
    before = list_tree(tmp_path), list_tree(bundles[OLD].parent)
    calls: list[Callable[[], object]] = [
        lambda: Store(root).activate(bundles[NEW], passes),
        Store(root).recover,
    ]
    for call in calls:
        with pytest.raises(StoreError, match=r"is not a store of tinyedge|is a symbolic link"):
            call()
    assert (list_tree(tmp_path), list_tree(bundles[OLD].parent)) == before


def test_a_store_without_a_marker_is_accepted(store: Store, bundles: dict[str, Path]) -> None:
    """Older versions wrote no marker."""
    marker = store.root / MARKER_FILE
    marker.unlink()
    (store.root / BUNDLES / f".{digest(bundles[NEW])}.12.tmp").mkdir()
    (store.root / BUNDLES / f".{digest(bundles[NEW])}.12.tmp" / ".model.onnx.tmp").write_text("half")
    (store.root / ".confirmed.json.tmp").write_text("half")
    assert store.recover().reason == ""
    assert not marker.exists()
    store.activate(bundles[NEW], passes)
    assert marker.exists()
    assert stored_names(store) == {OLD, NEW}


@pytest.mark.parametrize("name", ["confirmed.json", ".lock", ".current.tmp", ".confirmed.json.tmp"])
def test_a_link_in_a_store_is_not_followed(
    store: Store, bundles: dict[str, Path], tmp_path: Path, name: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (store.root / name).unlink(missing_ok=True)
    (store.root / name).symlink_to(victim)
    if name == ".lock":
        with pytest.raises(StoreError, match="is a symbolic link"):
            store.activate(bundles[NEW], passes)
    else:
        store.activate(bundles[NEW], passes)
        assert serving(store) == NEW
    assert victim.read_text() == "mine"


def test_a_current_that_points_outside_the_store_is_replaced(store: Store, bundles: dict[str, Path]) -> None:
    (store.root / "current").unlink()
    (store.root / "current").symlink_to(Path("..", "elsewhere", digest(bundles[OLD])))
    store.recover()
    assert serving(store) == OLD


def test_the_verified_bytes_are_stored(bundles: dict[str, Path], tmp_path: Path) -> None:
    """A file that is replaced by a FIFO after the verification is not opened again."""
    source = Path(shutil.copytree(bundles[NEW], tmp_path / "source"))

    def replace_model(bundle: Bundle) -> None:
        if bundle.path == source:
            (source / "model.onnx").unlink()
            os.mkfifo(source / "model.onnx")

    store = Store(tmp_path / "store", replace_model)
    store.activate(source, passes)
    assert serving(store) == NEW


def test_no_bundle_is_removed_if_it_is_unknown_which_to_keep(store: Store, bundles: dict[str, Path]) -> None:
    (store.root / CONFIRMED_FILE).unlink()
    (store.root / CONFIRMED_FILE).mkdir()
    with pytest.raises(OSError, match="not a regular file"):
        store.activate(bundles[OLDER], passes)
    assert stored_names(store) >= {OLDER, OLD}


def test_a_missing_current_is_restored(store: Store) -> None:
    (store.root / "current").unlink()
    store.recover()
    assert serving(store) == OLD


def test_a_folder_named_current_is_not_changed(store: Store, bundles: dict[str, Path]) -> None:
    (store.root / "current").unlink()
    (store.root / "current").mkdir()
    calls: list[Callable[[], object]] = [store.recover, lambda: store.activate(bundles[NEW], passes)]
    for call in calls:
        with pytest.raises(StoreError, match="current is not a symbolic link"):
            call()


def test_a_refused_bundle_creates_no_store(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        Store(tmp_path / "store").activate(tmp_path / "nothing", passes)
    assert list(tmp_path.iterdir()) == []


def test_only_one_process_may_change_the_store(store: Store, bundles: dict[str, Path]) -> None:
    def second(folder: Path) -> None:
        calls: list[Callable[[], object]] = [
            lambda: store.activate(bundles[OLDER], passes),
            lambda: store.recover(wait_s=0.2),
        ]
        for call in calls:
            with pytest.raises(StoreError, match="another process is changing"):
                call()

    store.activate(bundles[NEW], second)
    assert serving(store) == NEW


def test_a_read_only_card_still_serves(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def read_only(path: object, flags: int, *more: object, **named: object) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, flags, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", read_only)
    assert store.recover().reason == ""


def test_files_are_synced_before_current_points_to_them(
    store: Store, bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    store.activate(bundles[NEW], lambda folder: disk.calls.append("test"))
    new = digest(bundles[NEW])
    staged = next(call.split()[1] for call in disk.calls if call.startswith(f"rename .{new}"))
    order = [
        *(f"fsync .{name}.tmp" for name in ("manifest.json", "model.onnx", "tokenizer.model", "README.md")),
        f"rename {staged}",
        "fsync bundles",
        "symlink .current.tmp",
        "rename .current.tmp",
        "fsync store",
        "test",
        "fsync .confirmed.json.tmp",
        "rename .confirmed.json.tmp",
        "fsync store",
    ]
    calls = iter(disk.calls)
    for wanted in order:  # in this order, with other calls in between
        assert wanted in calls, wanted


@pytest.mark.parametrize("forever", [False, True])
@pytest.mark.parametrize(
    ("error", "short"),
    [(errno.EIO, False), (errno.ENOSPC, False), (errno.ENOSPC, True)],
    ids=["EIO", "ENOSPC", "short write"],
)
def test_a_failure_of_any_system_call_leaves_a_valid_bundle(
    bundles: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: int,
    short: bool,
    forever: bool,
) -> None:
    disk = Disk(monkeypatch)
    store = Store(tmp_path / "store")
    store.activate(bundles[OLDER], passes)
    store.activate(bundles[OLD], passes)
    shutil.copytree(store.root, tmp_path / "before", symlinks=True)
    disk.mend()
    store.activate(bundles[NEW], passes)
    calls = disk.calls
    assert len(calls) > 40
    assert {call.split()[0] for call in calls} == {"open", "write", "fsync", "rename", "symlink"}
    for bad in range(1, len(calls) + 1):
        disk.mend()
        shutil.rmtree(store.root)
        shutil.copytree(tmp_path / "before", store.root, symlinks=True)
        disk.mend()
        disk.error, disk.short, disk.forever = error, short, forever
        disk.bad = lambda number, call, bad=bad: number == bad  # type: ignore[misc]
        failures: list[BaseException] = []
        try:
            store.activate(bundles[NEW], passes)
        except (OSError, BundleError, StoreError) as failure:
            failures.append(failure)
        assert [main.explain(failure) for failure in failures] in ([], [1])
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(":")[0] for line in lines] in ([], ["error", "hint"])
        disk.mend()
        where = calls[bad - 1]
        assert serving(store) in (OLD, NEW), where
        store.recover()
        assert serving(store) in (OLD, NEW), where
        assert store.status().current == store.status().confirmed, where
        store.activate(bundles[NEW], passes)
        assert (serving(store), len(stored_names(store))) == (NEW, 2), where  # OLDER if OLD could not be read


KILLED = """
import sys
from pathlib import Path
from tinyedge.bundle.bundle import load_bundle
from tinyedge.bundle.store import Store
print("ready", flush=True)
store = Store(Path(sys.argv[1]))
for number in range(1000):
    store.activate(Path(sys.argv[2 + number % 3]), load_bundle)
"""


def test_forty_kills_always_leave_a_valid_bundle(bundles: dict[str, Path], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.activate(bundles[OLD], passes)
    moments = random.Random(0)
    unconfirmed = 0
    for number in range(40):
        command = [sys.executable, "-c", KILLED, store.root, *bundles.values()]
        with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(moments.random() / 10)
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
        assert serving(store) in bundles, number
        status = store.status()
        unconfirmed += status.current != status.confirmed
        assert {one.damage for one in status.bundles} == {None}
        change = store.recover()
        assert change.serving == status.confirmed == store.status().current
    assert unconfirmed  # some kills came between the switch and the confirmation
    store.activate(bundles[NEW], passes)
    store.activate(bundles[OLD], passes)
    assert stored_names(store) == {NEW, OLD}  # all staged copies are gone


def test_the_activate_command(micro_bundle: Path, micro_bundle_fp32: Path, tmp_path: Path) -> None:
    def activate(*words: object) -> "subprocess.CompletedProcess[str]":
        return tinyedge("activate", *words, "--store", tmp_path / "store")

    assert activate(micro_bundle).stdout == f"bundle {digest(micro_bundle)[:12]} is active\n"
    found = json.loads(activate(micro_bundle_fp32, "--json").stdout)
    assert found == {
        "schema": "tinyedge.activate/1",
        "store": str(tmp_path / "store"),
        "serving": digest(micro_bundle_fp32),
        "replaced": digest(micro_bundle),
        "reason": "",
    }
    status = json.loads(activate("--status", "--json").stdout)
    assert (status["schema"], status["current"]) == (
        "tinyedge.store-status/1",
        digest(micro_bundle_fp32),
    )
    assert "serves, confirmed" in activate("--status").stdout
    assert activate("--rollback").returncode == 0
    assert activate("--recover").stdout == f"bundle {digest(micro_bundle)[:12]} is active, as before\n"
    for bad in ("", "~no-such-user/store"):
        done = tinyedge("activate", micro_bundle, "--store", bad)
        assert (done.returncode, done.stderr.splitlines()[0][:14]) == (2, "error: --store")
    for words in ((), (micro_bundle, "--status"), ("--recover", "--rollback")):
        done = activate(*words)
        assert done.returncode == 2
        assert done.stderr.startswith("error: tinyedge activate needs exactly one of")


def test_activate_with_a_key_refuses_an_unsigned_bundle(micro_bundle: Path, tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("needs OpenSSH's ssh-keygen")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)

    key = ("--key", tmp_path / "key.pub", "--store", tmp_path / "store")
    done = tinyedge("activate", micro_bundle, *key)
    assert done.returncode == 1
    assert "is not signed" in done.stderr
    bundle = shutil.copytree(micro_bundle, tmp_path / "bundle")
    tinyedge("activate", bundle, *key[2:])  # unsigned, and without a key
    tinyedge("sign", bundle, "--key", tmp_path / "key")
    assert tinyedge("activate", bundle, *key).returncode == 0  # only the signature is new
    assert tinyedge("activate", "--recover", *key).returncode == 0
