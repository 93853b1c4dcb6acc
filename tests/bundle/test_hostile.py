"""Every bad bundle there is: refused in one line, by this process alone, before ONNX Runtime sees a byte."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import hostile

CPU_SECONDS = 2.0  # of a processor's time, not of the clock on the wall
# Python opens these by the bundle folder's descriptor, so the name is all that is seen.
OWN = {*hostile.FILES, "manifest.json.sig"}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What `tinyedge verify` did with each bad bundle, and with a whole one."""
    root = tmp_path_factory.mktemp("hostile")
    (root / "secret").write_bytes(b"secret")
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    folders = {"whole": root / "0"}
    shutil.copytree(hostile.MICRO, folders["whole"])
    for number, (name, spoil) in enumerate(hostile.BUNDLES.items(), 1):
        folders[name] = root / str(number)
        shutil.copytree(hostile.MICRO, folders[name])
        spoil(folders[name])
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


def test_the_watch_sees_what_a_whole_bundle_does(reports: dict[str, dict[str, Any]]) -> None:
    report = reports["whole"]
    assert (report["code"], report["stderr"], report["sessions"]) == (0, [], 1)
    assert set(hostile.FILES) <= {name.rpartition("/")[2] for name in report["opened"]}


def test_there_are_enough() -> None:
    assert len(hostile.BUNDLES) > 300
    assert len(hostile.MODELS) > 80


@pytest.mark.parametrize("name", hostile.BUNDLES)
def test_is_refused(reports: dict[str, dict[str, Any]], name: str) -> None:
    report = reports[name]
    assert report["code"] == 1
    error, hint = report["stderr"]
    assert error.startswith(f"error: {report['path']}")
    assert hint.startswith("hint: ")
    assert error.isprintable()
    assert len(error) < 500
    assert "unexpected" not in error
    assert report["sessions"] == 0
    assert set(report["opened"]) <= OWN | {str(report["path"])}
    assert report["cpu_seconds"] < CPU_SECONDS
