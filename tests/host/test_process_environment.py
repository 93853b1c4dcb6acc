"""A variable that is erased is not shown by the kernel any more."""

import subprocess
import sys
from pathlib import Path

import pytest

from tinyedge.host.process_environment import erase_variable

CODE = """
import os, subprocess
from pathlib import Path
from tinyedge.serve.settings import find_key
print(find_key(None))
print(os.environ.get("TINYEDGE_API_KEY"), "OTHER" in os.environ)
print(Path("/proc/self/environ").read_bytes().count(b"0123456789abcdef"))
print(Path("/proc/self/environ").read_bytes().count(b"OTHER=value"))
print(subprocess.run(["env"], capture_output=True).stdout.count(b"0123456789abcdef"))
"""


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
def test_the_api_key_is_not_in_the_environment_of_the_server_or_its_children() -> None:
    environment = {"TINYEDGE_API_KEY": "0123456789abcdef", "OTHER": "value"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["0123456789abcdef", "None True", "0", "1", "0"]


def test_a_variable_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINYEDGE_NOTHING", raising=False)
    erase_variable("TINYEDGE_NOTHING")
    monkeypatch.setenv("TINYEDGE_NOTHING", "x")
    erase_variable("TINYEDGE_NOTHING")
    assert subprocess.run(["printenv", "TINYEDGE_NOTHING"], capture_output=True, check=False).stdout == b"\n"
