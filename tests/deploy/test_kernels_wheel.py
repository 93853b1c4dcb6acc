"""The wheel of the native kernels: built from the checkout, or downloaded."""

from pathlib import Path

import pytest

from tests.support.wheels import make_wheel
from tinyedge import __version__
from tinyedge.boards.load import wheel_platform
from tinyedge.core.errors import DeployError
from tinyedge.deploy import kernels_wheel
from tinyedge.deploy.kernels_wheel import NoKernelsError, make_kernels_wheel

BOARD = wheel_platform("aarch64", ("3.11",))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local folder in place of the package index, for a tinyedge that is not a checkout."""
    monkeypatch.setattr(kernels_wheel, "is_checkout", lambda root: False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    (tmp_path / "made").mkdir()
    return tmp_path


def test_an_installed_tinyedge_downloads_it(index: Path) -> None:
    for version in (__version__, f"{__version__}.1"):  # a later one belongs to another tinyedge
        make_wheel(index, "tinyedge-kernels", version, {"tinyedge_kernels.py": ""})
    wheel = make_kernels_wheel(index / "made", BOARD)
    assert wheel.name.startswith(f"tinyedge_kernels-{__version__}-")
    assert wheel.read_bytes() == (index / wheel.name).read_bytes()


def test_an_index_without_it(index: Path) -> None:
    with pytest.raises(NoKernelsError, match=r"^the package index has none for aarch64"):
        make_kernels_wheel(index / "made", BOARD)


def test_without_pythons_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(NoKernelsError, match=r"has no Python\.h, of Debian's package python3-dev"):
        make_kernels_wheel(tmp_path, BOARD)


def test_an_unreachable_index_is_an_error(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nothing listens on this port
    with pytest.raises(DeployError, match="the package index cannot be reached"):
        make_kernels_wheel(index / "made", BOARD)


def test_a_failed_build_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels_wheel, "SOURCES", tmp_path / "nothing")
    with pytest.raises(DeployError, match="pip cannot build the native kernels"):
        make_kernels_wheel(tmp_path, BOARD)
