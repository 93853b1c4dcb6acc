"""The kit: written completely or not at all, and checked when it is loaded."""

import dataclasses
import errno
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import Disk
from tests.support.ngram_bundle import write_ngram_bundle
from tinyedge.bundle.bundle import bundle_digest, load_bundle
from tinyedge.core.errors import DeployError
from tinyedge.deploy import kit as kits
from tinyedge.deploy.kit import Kit, find_deploy_files, get_kit_folder

MakeKit = Callable[..., Kit]


def test_a_kit_has_everything_a_board_needs(make_kit: MakeKit, micro_bundle: Path, tmp_path: Path) -> None:
    kit = make_kit(micro_bundle, tmp_path / "a-kit")
    assert (
        kit.bundle
        == bundle_digest(load_bundle(micro_bundle))
        == bundle_digest(load_bundle(kit.path / "bundle"))
    )
    assert kit == Kit.load(kit.path)
    source = {path.name for path in find_deploy_files().iterdir()}
    assert {"install.sh", "tinyedge.service", "alerts.yml"} <= source
    rest = {"wheelhouse", "requirements.lock", "kit.json", "SHA256SUMS", "bundle"}
    assert {path.name for path in kit.path.iterdir()} == source | rest
    for path in kit.path.rglob("*"):
        assert re.fullmatch(kits.OWN_FILES, str(path.relative_to(kit.path)))
    assert os.access(kit.path / "install.sh", os.X_OK)
    about = json.loads((kit.path / "kit.json").read_text())
    assert about["schema"] == "tinyedge.kit/1"
    assert [package["name"] for package in about["packages"]] == ["tinyedge-lm"]
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=kit.path, check=True)


def test_the_lock_file_is_reproducible(make_kit: MakeKit, micro_bundle: Path, tmp_path: Path) -> None:
    locks = set()
    for name in ("a", "b"):
        kit = make_kit(micro_bundle, tmp_path / name)
        locks.add(hashlib.sha256((kit.path / "requirements.lock").read_bytes()).hexdigest())
    make_kit(micro_bundle, tmp_path / "a")  # replaces the first one
    assert len(locks) == 1
    assert not list(tmp_path.glob(".*"))


def test_loading_finds_damaged_and_missing_files(
    make_kit: MakeKit, micro_bundle: Path, tmp_path: Path
) -> None:
    kit = make_kit(micro_bundle, tmp_path / "kit")
    contents = {path: path.read_bytes() for path in kit.path.rglob("*") if path.is_file()}
    for path, content in contents.items():
        if "bundle" in path.parts:
            continue  # the bundle has its own manifest
        for bad in (b"", content[:-1], None):
            path.unlink() if bad is None else path.write_bytes(bad)
            with pytest.raises(DeployError):
                Kit.load(kit.path)
            path.write_bytes(content)
    assert Kit.load(kit.path) == kit


def test_a_folder_that_is_not_a_kit_is_not_replaced(
    make_kit: MakeKit, micro_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "one.jpg").write_bytes(b"x")
    with pytest.raises(DeployError, match="exists and is not a kit"):
        make_kit(micro_bundle, folder)
    assert [path.name for path in folder.iterdir()] == ["one.jpg"]


@pytest.mark.parametrize("name", ["photo.jpg", "wheelhouse/photo.jpg", "bundle/photo.jpg", "mine/photo.jpg"])
def test_a_kit_with_other_files_is_not_replaced(
    make_kit: MakeKit, micro_bundle: Path, tmp_path: Path, name: str
) -> None:
    kit = make_kit(micro_bundle, tmp_path / "kit")
    (kit.path / name).parent.mkdir(exist_ok=True)
    (kit.path / name).write_bytes(b"mine")
    with pytest.raises(DeployError, match="which is not part of a kit"):
        make_kit(micro_bundle, kit.path)
    assert (kit.path / name).read_bytes() == b"mine"


@pytest.mark.parametrize(
    "make", [lambda path: path.mkdir(), lambda path: path.write_text('{"name": "my kit"}')]
)
def test_only_a_kit_json_of_tinyedge_makes_a_kit(
    make_kit: MakeKit, micro_bundle: Path, tmp_path: Path, make: Callable[[Path], object]
) -> None:
    (tmp_path / "kit").mkdir()
    make(tmp_path / "kit" / "kit.json")
    with pytest.raises(DeployError, match="exists and is not a kit"):
        make_kit(micro_bundle, tmp_path / "kit")
    (tmp_path / "link").symlink_to(make_kit(micro_bundle, tmp_path / "real").path)
    with pytest.raises(DeployError, match="exists and is not a folder"):
        make_kit(micro_bundle, tmp_path / "link")


def test_the_verified_bytes_are_written(
    make_kit: MakeKit, micro_bundle: Path, bundle_copy: Callable[[], Path], tmp_path: Path
) -> None:
    """A file that is replaced by a FIFO after the verification is not opened again."""
    source = bundle_copy()
    bundle = load_bundle(source)
    (source / "model.onnx").unlink()
    os.mkfifo(source / "model.onnx")
    kit = make_kit(micro_bundle, tmp_path / "kit")
    with kits.KitBuilder(kit.board) as builder:
        assert builder.reuse_wheels(kit)
        assert builder.write(bundle, tmp_path / "other").contains(bundle)


def test_a_kit_has_the_ngrams_of_its_bundle(make_kit: MakeKit, micro_bundle: Path, tmp_path: Path) -> None:
    source = write_ngram_bundle(micro_bundle, tmp_path / "mixed")
    kit = make_kit(source, tmp_path / "kit")
    file = kit.path / "bundle" / "ngrams.bin"
    assert file.read_bytes() == (source / "ngrams.bin").read_bytes()
    assert re.fullmatch(kits.OWN_FILES, "bundle/ngrams.bin")
    assert re.fullmatch(kits.OWN_FILES, "bundle/.ngrams.bin.a1B2c3")  # while rsync writes it
    assert kit.contains(load_bundle(source))
    with file.open("r+b") as content:
        content.seek(-1, os.SEEK_END)
        content.write(b"\xff")
    assert not kit.contains(load_bundle(source))


@pytest.mark.parametrize("swap", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.touch])
def test_a_wheel_that_changes_after_the_kit_was_loaded_is_not_used(
    make_kit: MakeKit, micro_bundle: Path, tmp_path: Path, swap: Callable[[Path], object]
) -> None:
    kit = make_kit(micro_bundle, tmp_path / "kit")
    wheel = next((kit.path / "wheelhouse").glob("pip-*.whl"))
    wheel.unlink()
    swap(wheel)
    with pytest.raises(DeployError, match=wheel.name), kits.KitBuilder(kit.board) as builder:
        builder.reuse_wheels(kit)
    with pytest.raises(DeployError):
        Kit.load(kit.path)


def test_the_kit_is_next_to_the_bundle() -> None:
    assert get_kit_folder(Path("some/bundle/")) == Path.cwd() / "some" / "bundle-kit"


def test_a_disk_error_leaves_the_old_kit(
    make_kit: MakeKit,
    micro_bundle: Path,
    micro_bundle_fp32: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = tmp_path / "kit"
    old = make_kit(micro_bundle, target)
    disk = Disk(monkeypatch)
    for moment in ("rename", "write", "fsync"):
        disk.mend()
        disk.error = errno.ENOSPC
        disk.bad = lambda number, call, moment=moment: call.startswith(moment) and "kit" in call  # type: ignore[misc]
        with pytest.raises(OSError, match="No space left"):
            make_kit(micro_bundle_fp32, target)
        disk.mend()
        assert Kit.load(target) == old
        assert not list(tmp_path.glob(".*"))


def test_wheels_are_reused_from_a_kit_of_the_same_tinyedge_and_platform(
    make_kit: MakeKit, micro_bundle: Path, tmp_path: Path
) -> None:
    kit = make_kit(micro_bundle, tmp_path / "kit")
    with kits.KitBuilder(kit.board) as builder:
        assert builder.reuse_wheels(kit)
        assert builder.packages == list(kit.packages)
    with kits.KitBuilder(kit.board) as builder:
        assert not builder.reuse_wheels(dataclasses.replace(kit, source="0" * 64))  # a different tinyedge
        other_python = dataclasses.replace(kit.board, pythons=("3.99",))
        assert not builder.reuse_wheels(dataclasses.replace(kit, board=other_python))
        assert not list(builder.folder.iterdir())
