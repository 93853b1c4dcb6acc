"""Both engines for tests: the kernels where they are built, and their numpy reference where they are not."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

from tests.kernels import reference_model
from tinyedge import __version__
from tinyedge.core.engine import KERNELS, ONNXRUNTIME, PACKAGE, VARIABLE

STAND_INS = Path(__file__).parent / "packages"  # in PYTHONPATH: kernels in plain Python
ENGINES = (ONNXRUNTIME, KERNELS)
SESSION_MODULE = "tinyedge.runtime.kernels"  # imported again for each package


def make_package(**parts: object) -> ModuleType:
    """Make a package of kernels: the reference, with other parts in place of some of its own."""
    package = ModuleType(PACKAGE)
    package.__dict__["__version__"] = __version__
    for name in (
        "Model",
        "Decoder",
        "Ngrams",
        "KernelsError",
        "NgramsError",
        "NotFiniteError",
        "find_library",
    ):
        setattr(package, name, parts.get(name, getattr(reference_model, name)))
    return package


def find_package() -> ModuleType:
    """Return the kernels if they are built, else their reference."""
    try:
        import tinyedge_kernels
    except ImportError:
        return make_package()
    package: ModuleType = tinyedge_kernels
    return package


@contextlib.contextmanager
def use_package(package: ModuleType | None, variables: Mapping[str, str]) -> Iterator[None]:
    """Install a package of kernels in this process, and set environment variables; None: it is missing."""
    names = (PACKAGE, SESSION_MODULE)
    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.modules[PACKAGE] = package  # type: ignore[assignment]  # None: an import of it fails
    try:
        with patch.dict(os.environ, variables):
            if VARIABLE not in variables:
                del os.environ[VARIABLE]
            yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(before)


@contextlib.contextmanager
def use_engine(name: str) -> Iterator[None]:
    """Load sessions in one engine."""
    with use_package(find_package(), {VARIABLE: name}):
        yield
