"""The build of the extension with the headers of Debian's Python; no compiler runs."""

import importlib.util
import platform
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tinyedge.deploy.kernels_wheel import SOURCES

HOOK = "hatchling.builders.hooks.plugin.interface"  # only a build needs it
TARGETS = ("aarch64", "x86_64")
CONFIGURATION = "#define SIZEOF_LONG 8\n"


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module hatch_build."""
    monkeypatch.setitem(sys.modules, HOOK, SimpleNamespace(BuildHookInterface=object))
    spec = importlib.util.spec_from_file_location("hatch_build", SOURCES / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=TARGETS)
def include(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """Debian's headers of Python on a machine of each platform."""
    monkeypatch.setattr(platform, "machine", lambda: request.param)
    include = tmp_path / "include" / "python3.11"
    own = tmp_path / "include" / f"{request.param}-linux-gnu" / "python3.11"
    for folder in (include, own):
        folder.mkdir(parents=True)
    (include / "Python.h").touch()
    (include / "pyconfig.h").write_text("# include <TARGET-linux-gnu/python3.11/pyconfig.h>\n")
    (own / "pyconfig.h").write_text(CONFIGURATION)
    return include


@pytest.mark.parametrize("target", TARGETS)
def test_the_header_that_debians_pyconfig_includes_is_copied_for_the_target(
    build: Any, include: Path, tmp_path: Path, target: str
) -> None:
    folder = tmp_path / "folder"
    build.copy_debian_header(include, target, folder)
    copies = [path for path in folder.rglob("*") if path.is_file()]
    assert copies == [folder / f"{target}-linux-gnu" / "python3.11" / "pyconfig.h"]
    assert copies[0].read_text() == CONFIGURATION


def test_other_pythons_have_no_such_header_and_nothing_is_copied(build: Any, tmp_path: Path) -> None:
    include, folder = tmp_path / "include" / "python3.11", tmp_path / "folder"
    include.mkdir(parents=True)
    (include / "pyconfig.h").write_text(CONFIGURATION)
    folder.mkdir()
    build.copy_debian_header(include, "aarch64", folder)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("target", TARGETS)
def test_the_compiler_finds_the_copy_before_pythons_headers(
    build: Any, include: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    searched: list[Path] = []

    def compile_nothing(command: list[str], check: bool) -> SimpleNamespace:
        searched.extend(Path(word.removeprefix("-I")) for word in command if word.startswith("-I"))
        copy = searched[0] / f"{target}-linux-gnu" / "python3.11" / "pyconfig.h"
        assert copy.read_text() == CONFIGURATION
        Path(command[command.index("-o") + 1]).touch()
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(build.subprocess, "run", compile_nothing)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(include))
    output = tmp_path / "kernels.so"
    build.compile_extension(target, output)
    assert output.exists()
    assert searched[1:] == [include]
    assert not searched[0].exists()
