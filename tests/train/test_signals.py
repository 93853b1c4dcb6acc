"""The program itself: Ctrl-C and SIGTERM save and say how to go on, and a finished run says what is next."""

import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.train.storage import checkpoint

SHAPE = "--vocab-size 1000 --d-model 64 --nhead 2 --num-layers 1 --dim-feedforward 128 --max-seq-length 32"
GRACE_S = 60  # for a machine that is busy with other things; 5 s is the promise on an idle one


def stop(command: list[str], numbers: list[int], pause_s: float = 0.05) -> tuple[int, str]:
    """Starts a run, sends it these signals when it trains, and returns its exit code and what it said."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = []
        for line in process.stderr:
            said.append(line)
            if "epoch" in line and "loss" in line:
                for number in numbers:
                    process.send_signal(number)
                    time.sleep(pause_s)
                break
        said += process.stderr  # not communicate(): it does not see what this file has read ahead
        return process.wait(GRACE_S), "".join(said)


def test_a_signal_saves_and_a_resume_goes_on(corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tinyedge", "train", "--input", str(corpus), *SHAPE.split()]
    command += ["--output-dir", str(tmp_path / "a run"), "--epochs", "9999", "--stride", "500", "--restart"]
    code, said = stop(command, [signal.SIGINT, signal.SIGINT, signal.SIGINT])
    assert code == 130, said
    assert "Traceback" not in said
    pattern = r"stopped in epoch (\d+), step (\d+); saved\. To go on:\n  (.*)"
    ((epoch, step, proposed),) = re.findall(pattern, said)
    code, said = stop(shlex.split(proposed), [signal.SIGTERM])
    assert code == 143, said
    assert "Traceback" not in said
    assert f"checkpoint_last.pt, epoch {epoch}, step {step}" in said
    assert f"saved. To go on:\n  {proposed}\n" in said


@pytest.mark.parametrize("pause_s", [0.004, 0.012, 0.03])
def test_an_impatient_user_loses_nothing(pause_s: float, corpus: Path, tmp_path: Path) -> None:
    """Ctrl-C again and again, wherever the next one falls: in the step, the save or what follows it."""
    command = [sys.executable, "-m", "tinyedge", "train", "--input", str(corpus), *SHAPE.split()]
    command += ["--output-dir", str(tmp_path), "--precision", "fp32", "--epochs", "9999"]
    code, said = stop(command, [signal.SIGINT] * 60, pause_s)
    assert code == 130, said
    assert "saved. To go on" in said
    assert checkpoint.newest(tmp_path, pytest.fail).name == checkpoint.LAST_FILE


def test_a_finished_run_names_the_next_step(corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tinyedge", "train", "--input", str(corpus), *SHAPE.split()]
    command += ["--output-dir", "a run", "--epochs", "1", "--stride", "500"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    (proposed,) = re.findall(r"^next: (.*)$", done.stdout, re.MULTILINE)
    subprocess.run([*shlex.split(proposed), "--help"], capture_output=True, check=True, cwd=tmp_path)
    assert proposed.endswith(" -m tinyedge export 'a run/best_model.pt' --output-dir bundle")
    assert (tmp_path / "a run" / "best_model.pt").exists()


def test_nohup_outlives_its_terminal(corpus: Path, tmp_path: Path) -> None:
    command = ["nohup", sys.executable, "-m", "tinyedge", "train", "--input", str(corpus), *SHAPE.split()]
    command += ["--output-dir", str(tmp_path), "--precision", "fp32", "--epochs", "9999"]
    code, said = stop(command, [signal.SIGHUP] * 3 + [signal.SIGTERM])
    assert code == 143, said
    assert "saved. To go on" in said
