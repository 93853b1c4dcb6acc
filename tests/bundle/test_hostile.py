"""Every malicious bundle is refused with one line, in one process, before ONNX Runtime gets its bytes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import hostile

CPU_SECONDS = 2.0  # CPU time, not wall-clock time
# Python opens these relative to the folder's descriptor, so that only their names are recorded.
BUNDLE_FILES = {*hostile.FILES, "manifest.json.sig"}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return the report of `tinyedge verify` on each malicious bundle and on a valid one."""
    root = tmp_path_factory.mktemp("hostile")
    (root / "secret").write_bytes(b"secret")
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    folders = {"valid": root / "0"}
    shutil.copytree(hostile.MICRO, folders["valid"])
    for number, (name, corrupt) in enumerate(hostile.BUNDLES.items(), 1):
        folders[name] = root / str(number)
        shutil.copytree(hostile.MICRO, folders[name])
        corrupt(folders[name])
    done = subprocess.run(
        [sys.executable, Path(hostile.__file__).with_name("watched.py"), *folders.values()],
        capture_output=True,
        text=True,
        check=False,
        cwd=elsewhere,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {name: {**found[str(path)], "path": path} for name, path in folders.items()}


def test_the_files_and_sessions_of_a_valid_bundle_are_recorded(reports: dict[str, dict[str, Any]]) -> None:
    report = reports["valid"]
    assert (report["code"], report["stderr"], report["sessions"]) == (0, [], 1)
    assert set(hostile.FILES) <= {name.rpartition("/")[2] for name in report["opened"]}


def test_there_are_enough_malicious_bundles() -> None:
    assert len(hostile.BUNDLES) > 300
    assert len(hostile.MODELS) > 80


@pytest.mark.parametrize("name", hostile.BUNDLES)
def test_a_malicious_bundle_is_refused(reports: dict[str, dict[str, Any]], name: str) -> None:
    report = reports[name]
    assert report["code"] == 1
    error, hint = report["stderr"]
    assert error.startswith(f"error: {report['path']}")
    assert hint.startswith("hint: ")
    assert error.isprintable()
    assert len(error) < 500
    assert "unexpected" not in error
    assert report["sessions"] == 0
    assert set(report["opened"]) <= BUNDLE_FILES | {str(report["path"])}
    assert report["cpu_seconds"] < CPU_SECONDS
