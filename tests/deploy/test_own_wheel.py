"""tinyedge's own wheel, from a checkout or an installation."""

import importlib.metadata
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from tests.support.wheels import make_wheel
from tinyedge.core.errors import DeployError
from tinyedge.deploy import own_wheel


@pytest.fixture
def installed(tmp_path: Path) -> importlib.metadata.Distribution:
    """A distribution that pip installed."""
    entry = "[console_scripts]\nsome = some:main\n"
    made = make_wheel(tmp_path, "some", "1.5", {"some/__init__.py": "x = 1\n", "entry_points.txt": entry})
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    subprocess.run([*command, "--target", tmp_path / "site", made], check=True)
    (found,) = importlib.metadata.distributions(path=[str(tmp_path / "site")])
    return found


def test_the_wheel_of_an_installation_is_rebuilt(
    installed: importlib.metadata.Distribution, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    made = []
    for folder in (first, second):
        folder.mkdir()
        made.append(own_wheel.rebuild_wheel(installed, folder))
    assert made[0].name == "some-1.5-py3-none-any.whl"
    assert made[0].read_bytes() == made[1].read_bytes()
    names = set(zipfile.ZipFile(made[0]).namelist())
    information = {
        f"some-1.5.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")
    }
    assert names == {"some/__init__.py", *information}
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    subprocess.run([*command, "--target", tmp_path / "again", made[0]], check=True)
    assert (tmp_path / "again" / "bin" / "some").exists()


def test_a_changed_installation_is_an_error(
    installed: importlib.metadata.Distribution, tmp_path: Path
) -> None:
    module = tmp_path / "site" / "some" / "__init__.py"
    module.write_text("x = 2\n")
    with pytest.raises(DeployError, match="was changed after it was installed"):
        own_wheel.rebuild_wheel(installed, tmp_path)
    module.unlink()
    with pytest.raises(DeployError, match="cannot be read"):
        own_wheel.rebuild_wheel(installed, tmp_path)


def test_neither_a_checkout_nor_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(own_wheel, "PACKAGE_ROOT", tmp_path)
    monkeypatch.setattr(importlib.metadata, "distribution", none)
    with pytest.raises(DeployError, match="neither a checkout nor an installed tinyedge"):
        own_wheel.build_own_wheel(tmp_path)


def test_an_error_of_pip_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        DeployError, match=r"^pip cannot download it: No matching distribution found for no-such"
    ):
        own_wheel.run_pip("download", "--dest", tmp_path, "no-such-package", task="download it")


def test_a_failed_pip_is_an_error_without_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ignored_sigchld: None
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DeployError, match="pip cannot download it"):
        own_wheel.run_pip("download", "--dest", tmp_path, "no-such-package", task="download it")


def test_an_unreachable_index_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nothing listens on this port
    with pytest.raises(DeployError, match="the package index cannot be reached"):
        own_wheel.run_pip("download", "--dest", tmp_path, "no-such-package", task="download it")


def test_without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(Path, "glob", lambda path, pattern: iter(()))
    with pytest.raises(DeployError, match="pip is not installed"):
        own_wheel.run_pip("download", task="download it")


def test_an_interrupted_pip_leaves_no_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed, and does not remove its own folders then."""
    (tmp_path / "pip.py").write_text(
        "import os, signal, tempfile, time\n"
        "tempfile.mkdtemp()\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(60)\n"
    )
    monkeypatch.setattr(own_wheel, "_find_pip", lambda: (str(tmp_path / "pip.py"),))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with pytest.raises(KeyboardInterrupt):
        own_wheel.run_pip("download", task="download it")
    assert list((tmp_path / "temporary").iterdir()) == []
