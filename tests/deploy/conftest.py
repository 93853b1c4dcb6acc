"""A board on loopback, and kits made without a network: their tinyedge runs the one under test."""

import importlib.metadata
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tinyedge
from tests.support import sshd
from tests.support.sshd import BASE_PYTHON, replace_program
from tests.support.wheels import make_wheel
from tinyedge.boards.load import known_machines, wheel_platform
from tinyedge.bundle.bundle import load_bundle
from tinyedge.deploy import own_wheel, wheelhouse
from tinyedge.deploy.kit import WHEELHOUSE, Kit, KitBuilder

ROOT = Path(tinyedge.__file__).resolve().parents[1]
PYTHON = "%d.%d" % sys.version_info[:2]  # noqa: UP031
SHIM = """
import os, sys
def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["bench"]:
        arguments += ["--samples", "25"]
    os.environ["PYTHONPATH"] = {root!r}
    os.execv({python!r}, [{python!r}, "-m", "tinyedge", *arguments])
"""


@pytest.fixture(scope="session")
def make_kit(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Kit]:
    """A function that makes kits for this machine."""
    machine = platform.machine()
    if machine not in known_machines():
        pytest.skip(f"there are no wheels for {machine}")
    pip_wheels = tmp_path_factory.mktemp("wheels")
    own_wheel.rebuild_wheel(importlib.metadata.distribution("pip"), pip_wheels)

    def make(bundle: Path, target: Path, version: str = tinyedge.__version__) -> Kit:
        with KitBuilder(wheel_platform(machine, (PYTHON,))) as builder:
            wheels = Path(shutil.copytree(pip_wheels, builder.folder / WHEELHOUSE))
            shim = SHIM.format(root=str(ROOT), python=sys.executable)
            entry = "[console_scripts]\ntinyedge = board_shim:main\n"
            own = make_wheel(
                wheels, "tinyedge-lm", version, {"board_shim.py": shim, "entry_points.txt": entry}
            )
            builder.packages = [wheelhouse.describe_package(own, [PYTHON])]
            return builder.write(load_bundle(bundle), target)

    return make


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    """An SSH server in place of the board."""
    if reason := sshd.find_missing_program():
        pytest.skip(reason)
    with sshd.run_server(tmp_path_factory.mktemp("sshd")) as running:
        replace_program(running, "python3", None, link=BASE_PYTHON)
        yield running


@pytest.fixture
def list_tree() -> Callable[[Path], dict[str, tuple[int, int]]]:
    """A function that lists the files in a folder with their inodes and modification times."""

    def list_files(folder: Path) -> dict[str, tuple[int, int]]:
        return {
            str(path.relative_to(folder)): (path.lstat().st_ino, path.lstat().st_mtime_ns)
            for path in sorted(folder.rglob("*"))
            if "__pycache__" not in path.parts
        }

    return list_files
