"""Both engines for tests: the kernels where they are built, and their numpy reference where they are not."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from unittest.mock import patch

from tests.kernels import reference_model
from tinyedge.core.engine import KERNELS, ONNXRUNTIME, PACKAGE, VARIABLE

ENGINES = (ONNXRUNTIME, KERNELS)
SESSION_MODULE = "tinyedge.runtime.kernels"  # imported again for each package


def make_package(**parts: object) -> ModuleType:
    """Make a package of kernels: the reference, with other parts in place of some of its own."""
    package = ModuleType(PACKAGE)
    for name in ("Model", "Decoder", "KernelsError", "NotFiniteError"):
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
    before = sys.modules.pop(SESSION_MODULE, None)
    with patch.dict(sys.modules, {PACKAGE: package}), patch.dict(os.environ, variables):
        if VARIABLE not in variables:
            del os.environ[VARIABLE]
        yield
    sys.modules.pop(SESSION_MODULE, None)
    if before is not None:
        sys.modules[SESSION_MODULE] = before


@contextlib.contextmanager
def use_engine(name: str) -> Iterator[None]:
    """Load sessions in one engine."""
    with use_package(find_package(), {VARIABLE: name}):
        yield
