"""The bundles that tests run on; tests/make_micro_bundle.py makes them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def micro_bundle() -> Path:
    """The smallest bundle there is, int8. Read it, never write to it: `bundle_copy` is for that."""
    return DATA / "micro_bundle_int8"


@pytest.fixture(scope="session")
def micro_bundle_fp32() -> Path:
    """The same model as `micro_bundle`, not quantized."""
    return DATA / "micro_bundle_fp32"


@pytest.fixture
def bundle_copy(micro_bundle: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes fresh copies of `micro_bundle` that a test may damage."""

    def copy() -> Path:
        folder = tmp_path / "bundle"
        shutil.rmtree(folder, ignore_errors=True)
        return shutil.copytree(micro_bundle, folder, symlinks=True)

    return copy
