"""The engine that `tinyedge doctor` finds, and one that crashes, hangs or is not there."""

import os
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.support.engines import make_package, use_package
from tinyedge.core.engine import PACKAGE, VARIABLE
from tinyedge.doctor.engine import check_engine
from tinyedge.doctor.finding import Finding


def run(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import os, signal, sys, time; {code}")


def report(name: str, reason: str) -> tuple[str, ...]:
    return run(f"import json; print(json.dumps(dict(name={name!r}, instructions=None, reason={reason!r})))")


@pytest.mark.parametrize("name", ["SIGILL", "SIGSEGV"])
def test_kernels_that_crash(name: str) -> None:
    found = check_engine(run(f"os.kill(os.getpid(), signal.{name})"))
    assert found == Finding(
        "engine", f"the kernels died with {name}", "bad", "run without them: TINYEDGE_ENGINE=onnxruntime"
    )


def test_an_engine_that_was_chosen_and_cannot_run() -> None:
    found = check_engine(run("sys.exit('it is not installed\\ninstall it')"))
    assert found == Finding("engine", "it is not installed", "bad", "install it")
    assert check_engine(run("sys.exit('a library wrote this\\nit is not installed\\ninstall it')")) == found
    assert (
        check_engine(run("sys.exit('no way out')")).remedy == "run without them: TINYEDGE_ENGINE=onnxruntime"
    )
    assert check_engine(run("sys.exit(1)")).found == "it gave no reason"


def test_a_child_that_hangs_or_cannot_be_started() -> None:
    assert check_engine(run("time.sleep(60)"), seconds=0.5).found == "it computed no token in 0.5 s"
    assert check_engine(("/no/such/python",)).level == "bad"


def test_missing_kernels_are_no_fault_and_broken_ones_are_a_warning() -> None:
    missing = report("onnxruntime", "tinyedge_kernels is not installed")
    with use_package(None, {}), patch("importlib.util.find_spec", return_value=None):
        assert check_engine(missing) == Finding("engine", "onnxruntime: tinyedge_kernels is not installed")
    broken = report("onnxruntime", "tinyedge_kernels cannot be loaded: version")
    with use_package(make_package(), {}), patch("importlib.util.find_spec", return_value=object()):
        found = check_engine(broken)
        assert (found.level, found.remedy) == (
            "warning",
            "install the wheels of tinyedge_kernels and onnxruntime for this machine again",
        )
    with use_package(make_package(), {VARIABLE: "onnxruntime"}):
        assert check_engine(broken).level == "ok"  # it was chosen


def test_a_broken_package_is_named(tmp_path: Path) -> None:
    """Not the first line of a traceback."""
    (tmp_path / f"{PACKAGE}.py").write_text("raise OSError('the card cannot\\nbe read')")
    with use_package(
        None, {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])}
    ):
        found = check_engine()
    assert found.found == "OSError('the card cannot\\nbe read')"
    assert found.remedy == "install tinyedge again"


def test_the_real_child_computes_a_token() -> None:
    with use_package(None, {VARIABLE: "onnxruntime"}):
        assert check_engine() == Finding("engine", "onnxruntime: TINYEDGE_ENGINE chooses it")
    with use_package(None, {VARIABLE: "gpu"}):
        found = check_engine()
    assert found.level == "bad"
    assert "TINYEDGE_ENGINE is 'gpu', which is not an engine" in found.found
