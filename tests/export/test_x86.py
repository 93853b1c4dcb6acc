"""int8 gives the same model on all kinds of x86-64 that bench/x86 simulates."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="export needs tinyedge[train]")

from tinyedge.export.pipeline import ExportOptions, export_bundle

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    platform.machine() != "x86_64" or sys.platform != "linux" or not shutil.which("cc"),
    reason="simulates processors of the same architecture, with a C compiler",
)
def test_int8_is_the_same_model_without_vnni(run: Any, tmp_path: Path) -> None:
    bundle = export_bundle(
        ExportOptions(run.checkpoint, tmp_path / "bundle", text=run.texts), lambda line: None
    )
    command: list[str | Path] = [sys.executable, "-m", "bench.x86", bundle, "--turns", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if "no CPUID faulting" in done.stderr:
        pytest.skip("this processor cannot hide anything")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("same model: ") == 5
