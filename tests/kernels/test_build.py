"""The build of the extension."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tinyedge.deploy.kernels_wheel import SOURCES

BUILD = SOURCES / "hatch_build.py"
FIRST = """
#include <Python.h>
double absent(double x);
PyMODINIT_FUNC PyInit_first(void);
PyMODINIT_FUNC PyInit_first(void) { return PyFloat_FromDouble(absent(atof(getenv("HOME")))); }
"""


@pytest.fixture(scope="module")
def hatch_build() -> ModuleType:
    """The module that compiles the extension."""
    for package in ("ziglang", "hatchling"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    spec = importlib.util.spec_from_file_location("hatch_build", BUILD)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("target", ["x86_64", "aarch64"])
def test_a_missing_c_file_fails_the_build(
    hatch_build: ModuleType, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shared library may leave symbols open; those of Python and of the C library are no error."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "first.c").write_text(FIRST)
    monkeypatch.setattr(hatch_build, "ROOT", tmp_path)
    output = tmp_path / "library.so"
    with pytest.raises(SystemExit, match=r"c defines nowhere: absent$"):
        hatch_build.compile_extension(target, output)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    (tmp_path / "c" / "second.c").write_text("double absent(double x) { return x; }")
    hatch_build.compile_extension(target, output)
    assert output.exists()
