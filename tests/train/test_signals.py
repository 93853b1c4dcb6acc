"""The program: Ctrl-C and SIGTERM save and print how to resume; a finished run prints the next step."""

import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.train.storage import checkpoint

SHAPE = "--vocab-size 1000 --d-model 64 --nhead 2 --num-layers 1 --dim-feedforward 128 --max-seq-length 32"
GRACE_S = 60  # for a busy machine; the promise for an idle one is 5 s


def run_and_signal(command: list[str], numbers: Sequence[int], pause_s: float = 0.05) -> tuple[int, str]:
    """Start a run, send signals once it trains, and return its exit code and its output."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        output = []
        for line in process.stderr:
            output.append(line)
            if "epoch" in line and "loss" in line:
                for number in numbers:
                    process.send_signal(number)
                    time.sleep(pause_s)
                break
        output += process.stderr  # not communicate(): it misses what this file object has buffered
        return process.wait(GRACE_S), "".join(output)


def test_a_signal_saves_and_resume_continues(corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tinyedge", "train", "--input", str(corpus), *SHAPE.split()]
    command += ["--output-dir", str(tmp_path / "a run"), "--epochs", "9999", "--stride", "500", "--restart"]
    code, output = run_and_signal(command, [signal.SIGINT, signal.SIGINT, signal.SIGINT])
    assert code == 130, output
    assert "Traceback" not in output
    pattern = r"stopped in epoch (\d+), step (\d+); saved\. To continue:\n  (.*)"
    ((epoch, step, proposed),) = re.findall(pattern, output)
    code, output = run_and_signal(shlex.split(proposed), [signal.SIGTERM])
    assert code == 143, output
    assert "Traceback" not in output
    assert f"checkpoint_last.pt, epoch {epoch}, step {step}" in output
    assert f"saved. To continue:\n  {proposed}\n" in output


@pytest.mark.parametrize("pause_s", [0.004, 0.012, 0.03])
def test_repeated_ctrl_c_loses_nothing(pause_s: float, corpus: Path, tmp_path: Path) -> None:
    """Further signals may arrive during a step, a save or what follows it."""
    command = [sys.executable, "-m", "tinyedge", "train", "--input", str(corpus), *SHAPE.split()]
    command += ["--output-dir", str(tmp_path), "--precision", "fp32", "--epochs", "9999"]
    code, output = run_and_signal(command, [signal.SIGINT] * 60, pause_s)
    assert code == 130, output
    assert "saved. To continue" in output
    assert checkpoint.find_newest(tmp_path, pytest.fail).name == checkpoint.LAST_FILE


def test_a_finished_run_names_the_next_step(corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tinyedge", "train", "--input", str(corpus), *SHAPE.split()]
    command += ["--output-dir", "a run", "--epochs", "1", "--stride", "500"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    (proposed,) = re.findall(r"^next: (.*)$", done.stdout, re.MULTILINE)
    subprocess.run([*shlex.split(proposed), "--help"], capture_output=True, check=True, cwd=tmp_path)
    assert proposed.endswith(" -m tinyedge export 'a run/best_model.pt' --output-dir bundle")
    assert (tmp_path / "a run" / "best_model.pt").exists()


def test_a_run_under_nohup_survives_sighup(corpus: Path, tmp_path: Path) -> None:
    command = ["nohup", sys.executable, "-m", "tinyedge", "train", "--input", str(corpus), *SHAPE.split()]
    command += ["--output-dir", str(tmp_path), "--precision", "fp32", "--epochs", "9999"]
    code, output = run_and_signal(command, [signal.SIGHUP] * 3 + [signal.SIGTERM])
    assert code == 143, output
    assert "saved. To continue" in output
