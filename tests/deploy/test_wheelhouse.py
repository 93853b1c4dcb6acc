"""The wheelhouse: requirements are resolved for the board's Python, not for the package that runs pip."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support.wheels import make_wheel
from tinyedge.boards.load import load_board, wheel_platform
from tinyedge.core.errors import DeployError
from tinyedge.deploy import wheelhouse

BOARD = wheel_platform("aarch64", ("3.11", "3.13"))
NEEDS = ("plain>=1", "typer<0.29", 'starlette>=0.40; extra == "serve"', 'torch; extra == "train"')


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local folder in place of the package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    make_wheel(folder, "plain", "1.0", {"plain.py": ""})
    make_wheel(
        folder,
        "plain",
        "2.0",
        {"plain.py": ""},
        ('old; python_version < "3.13"', "new; python_version >= '3.12'"),
    )
    make_wheel(folder, "old", "1.0", {"old.py": ""}, ('mac; sys_platform == "darwin"',))
    make_wheel(folder, "new", "1.0", {"new.py": ""})
    make_wheel(folder, "typer", "0.28", {"typer.py": ""}, ('arm; platform_machine == "aarch64"',))
    make_wheel(folder, "typer", "0.29", {"typer.py": ""})
    make_wheel(folder, "arm", "1.0", {"arm.py": ""})
    make_wheel(folder, "starlette", "1.0", {"starlette.py": ""}, ("anyio[trio]>=3",))
    make_wheel(folder, "anyio", "4.0", {"anyio.py": ""}, ('trio; extra == "trio"',))
    make_wheel(folder, "trio", "0.1", {"trio.py": ""})
    make_wheel(folder, "pip", "99.0", {"pip.py": ""})
    return folder


def test_each_python_gets_its_requirements(index: Path, tmp_path: Path) -> None:
    """Markers are evaluated for both versions of Python; at least package does not run this test."""
    own = make_wheel(tmp_path, "tinyedge-lm", "0.1.0", {"tinyedge.py": ""}, NEEDS)
    (tmp_path / "house").mkdir()
    packages = wheelhouse.fill_wheelhouse(tmp_path / "house", BOARD, own)
    found = {(package.name, package.version): package.pythons for package in packages}
    both = ("3.11", "3.13")
    assert found == {
        ("tinyedge-lm", "0.1.0"): both,
        ("plain", "2.0"): both,
        ("old", "1.0"): ("3.11",),
        ("new", "1.0"): ("3.13",),
        ("typer", "0.28"): both,
        ("arm", "1.0"): both,
        ("starlette", "1.0"): both,
        ("anyio", "4.0"): both,
        ("trio", "0.1"): both,
    }
    files = {path.name for path in (tmp_path / "house").iterdir()}
    assert files == {package.file for package in packages} | {"pip-99.0-py3-none-any.whl"}
    assert all(package.size == (tmp_path / "house" / package.file).stat().st_size for package in packages)


def test_the_wheel_of_the_kernels_is_one_of_the_boards_wheels(index: Path, tmp_path: Path) -> None:
    needs = (*NEEDS, 'tinyedge-kernels; extra == "kernels"')
    own = make_wheel(tmp_path, "tinyedge-lm", "0.1.0", {"tinyedge.py": ""}, needs)
    kernels = make_wheel(tmp_path, "tinyedge-kernels", "0.1.0", {"tinyedge_kernels.py": ""})
    for name, wheel in (("with", kernels), ("without", None)):
        (tmp_path / name).mkdir()
        packages = wheelhouse.fill_wheelhouse(tmp_path / name, BOARD, own, wheel)
        found = [package.pythons for package in packages if package.name == "tinyedge-kernels"]
        assert found == ([BOARD.pythons] if wheel else [])


def test_the_lock_pins_every_wheel_by_version_and_hash(index: Path, tmp_path: Path) -> None:
    own = make_wheel(tmp_path, "tinyedge-lm", "0.1.0", {"tinyedge.py": ""}, NEEDS)
    (tmp_path / "house").mkdir()
    packages = wheelhouse.fill_wheelhouse(tmp_path / "house", BOARD, own)
    lines = wheelhouse.format_lock(packages, BOARD, "a note").replace("\\\n", "").splitlines()
    assert lines[0] == "# a note"
    locked = {}
    for line in lines[1:]:
        requirement, *hashes = line.split("--hash=sha256:")
        parsed = Requirement(requirement)
        locked[parsed.name] = (parsed, [digest.strip() for digest in hashes])
    assert set(locked) == {package.name for package in packages}
    for package in packages:
        parsed, hashes = locked[package.name]
        assert str(parsed.specifier) == f"=={package.version}"
        assert package.sha256 in hashes
        for python in BOARD.pythons:
            applies = parsed.marker is None or parsed.marker.evaluate({"python_version": python})
            assert applies == (python in package.pythons)


def test_a_requirement_that_the_index_lacks_is_named(index: Path, tmp_path: Path) -> None:
    own = make_wheel(tmp_path, "tinyedge-lm", "0.1.0", {"tinyedge.py": ""}, ("absent>=2",))
    (tmp_path / "house").mkdir()
    with pytest.raises(
        DeployError, match=r"pip cannot download the wheels for Python 3\.11 on aarch64: .*absent"
    ):
        wheelhouse.fill_wheelhouse(tmp_path / "house", BOARD, own)


def test_a_file_that_is_not_a_wheel(tmp_path: Path) -> None:
    (tmp_path / "x-1-py3-none-any.whl").write_bytes(b"PK")
    with pytest.raises(DeployError, match="is not a wheel"):
        wheelhouse.Wheel.read(tmp_path / "x-1-py3-none-any.whl")


def test_the_board_lists_every_platform_tag() -> None:
    platforms = load_board("pi-zero-2w").wheel_platform.platforms
    assert platforms[0] == "manylinux_2_36_aarch64"
    assert {"manylinux_2_28_aarch64", "manylinux2014_aarch64", "manylinux_2_17_aarch64", "any"} <= set(
        platforms
    )
    assert load_board("pi-zero-2w").pythons == ("3.11", "3.13")
