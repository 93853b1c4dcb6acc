"""The package around the extension: its version, ONNX Runtime's library, and CPUs that it refuses."""

import builtins
import contextlib
import importlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

import tinyedge
from tests.support.engines import use_package
from tinyedge.core.engine import KERNELS, ONNXRUNTIME, PACKAGE
from tinyedge.deploy.kernels_wheel import SOURCES
from tinyedge.runtime.generator import Generator

EXTENSION = f"{PACKAGE}._kernels"
FEATURES = "fpu sse2 avx avx2 fma bmi1 bmi2 f16c movbe abm avx512f"


@pytest.fixture
def package(kernels: Any) -> Any:
    """The module tinyedge_kernels."""
    return importlib.import_module(PACKAGE)


def locate_package() -> Path:
    """Return the folder of the package with its extension; that of the sources if it was not compiled."""
    folders = (SOURCES, *map(Path, sys.path))
    return next((path for path in folders if list((path / PACKAGE).glob("_kernels*.so"))), SOURCES)


@pytest.fixture
def fresh() -> Iterator[None]:
    """The package is imported as if for the first time."""
    with (
        patch.dict(sys.modules),
        use_package(None, {}),
        patch.object(sys, "path", [str(locate_package()), *sys.path]),
    ):
        del sys.modules[PACKAGE]
        sys.modules.pop(EXTENSION, None)
        yield


@contextlib.contextmanager
def use_cpu(machine: str, cpuinfo: str | None) -> Iterator[None]:
    """Replace the machine's name and /proc/cpuinfo; None: it cannot be read."""
    real = builtins.open

    def open_file(path: Any, *arguments: Any, **named: Any) -> Any:
        if path != "/proc/cpuinfo":
            return real(path, *arguments, **named)
        if cpuinfo is None:
            raise PermissionError(path)
        return io.StringIO(cpuinfo)

    name = SimpleNamespace(machine=machine)
    with patch.object(builtins, "open", open_file), patch.object(os, "uname", lambda: name):
        yield


def describe_cpu(features: str) -> str:
    """Format a /proc/cpuinfo of one core."""
    return f"processor\t: 0\nmodel name\t: avx2 fma\nflags\t\t: {features}\nbugs\t\t: none\n\n"


@pytest.mark.parametrize("missing", [("avx2",), ("avx2", "fma"), ("movbe",)], ids=str)
@pytest.mark.usefixtures("fresh")
def test_an_x86_cpu_without_the_features_falls_back(micro_bundle: Path, missing: tuple[str, ...]) -> None:
    """The extension itself must not be loaded: its first instruction may be an illegal one."""
    features = " ".join(name for name in FEATURES.split() if name not in missing)
    with use_cpu("x86_64", describe_cpu(features)):
        engine = Generator.load(micro_bundle).session.engine
    assert EXTENSION not in sys.modules
    assert (engine.name, engine.reason) == (
        ONNXRUNTIME,
        "tinyedge_kernels cannot be loaded: the kernels need an x86-64 CPU with AVX2 and FMA;"
        f" this one lacks {', '.join(missing)}",
    )


@pytest.mark.parametrize(
    ("machine", "cpuinfo"),
    [
        ("x86_64", describe_cpu(FEATURES)),
        ("x86_64", "processor : 0\n"),
        ("x86_64", None),
        ("aarch64", "Features : fp asimd\nflags : none\n"),
    ],
)
@pytest.mark.usefixtures("kernels", "fresh")
def test_other_cpus_are_not_refused(micro_bundle: Path, machine: str, cpuinfo: str | None) -> None:
    with use_cpu(machine, cpuinfo):
        assert Generator.load(micro_bundle).session.engine.name == KERNELS


def test_the_versions_are_equal(package: Any) -> None:
    assert package.__version__ == tinyedge.__version__


def test_the_library_is_found_without_an_import(package: Any) -> None:
    with patch("importlib.util.find_spec", return_value=None):
        assert package.find_library() is None
    found = package.find_library()
    assert found is None or Path(found).is_file()
