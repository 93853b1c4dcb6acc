"""A small run of the kill bench: a killed and resumed run gives the same result."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

SCRIPT = Path(__file__).parents[2] / "bench" / "training" / "kill.py"


def test_thirty_kills_do_not_change_the_result() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "30"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    inside = re.search(r"30/30 equal, (\d+) killed inside a save", done.stdout)
    assert inside
    assert int(inside[1]) >= 15
