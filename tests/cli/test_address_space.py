"""A command under a limit of the address space (`ulimit -v`): one error line that names the limit."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tinyedge.cli import main as program
from tinyedge.host import address_space

MICRO_BUNDLE = Path(__file__).parents[1] / "data" / "micro_bundle_int8"


@pytest.mark.parametrize("kilobytes", [60_000, 100_000, 140_000])
def test_a_start_with_too_little_address_space_names_the_limit(kilobytes: int) -> None:
    """60 MB: numpy cannot be mapped; 100 MB: its OpenBLAS would end the process; 140 MB: onnxruntime."""
    command = [sys.executable, "-m", "tinyedge", "generate", str(MICRO_BUNDLE), "--prompt", "The house"]
    limit = kilobytes * 1024
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    error, hint = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert error == f"error: out of memory: the address space is limited to {limit // 1_000_000} MB"
    assert "ulimit -v" in hint


@pytest.mark.parametrize(
    "failure", [MemoryError(), ImportError("failed to map segment"), OSError(12, os.strerror(12))], ids=repr
)
def test_errors_of_little_memory_name_the_limit(
    failure: BaseException,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    limits = tmp_path / "limits"
    monkeypatch.setattr(address_space, "LIMITS_FILE", limits)
    row = "Max address space         {}            unlimited            bytes     \n"
    for value, expected in (("102400000", 102_400_000), ("unlimited", 0)):
        limits.write_text("Max open files 1024 4096 files\n" + row.format(value))
        assert address_space.read_limit() == expected
    assert program.explain(failure) == 1
    assert "address space" not in capsys.readouterr().err
    limits.write_text(row.format(102_400_000))
    assert program.explain(failure) == 1
    assert "the address space is limited to 102 MB" in capsys.readouterr().err
