"""Check of the engine that computes bundles here, in a child process: native code may end the process.

In: nothing but this installation. Out: a Finding. Does not import the engine itself.
"""

import importlib.util
import json
import signal
import sys
from collections.abc import Sequence

from tinyedge.core.engine import KERNELS, ONNXRUNTIME, PACKAGE, VARIABLE, EngineChoice, read_choice
from tinyedge.doctor.child import run_child
from tinyedge.doctor.finding import Finding

# -P keeps the current folder out of the imports.
PROBE = (sys.executable, "-P", "-m", "tinyedge.runtime.probe")
PROBE_SECONDS = 60.0  # about 1 s on a Pi from a cold SD card, several times that under emulation
INSTALL_AGAIN = f"install the wheels of {PACKAGE} and onnxruntime for this machine again"
WITHOUT_KERNELS = f"run without them: {VARIABLE}={ONNXRUNTIME}"


def check_engine(command: Sequence[str] = PROBE, seconds: float = PROBE_SECONDS) -> Finding:
    """Compute a token in the engine of this machine.

    Args:
        command: Command of the child; it prints the engine as JSON, or why there is none, and what to do.
        seconds: Time limit.
    """
    child = run_child("engine", command, seconds, f"it computed no token in {seconds:g} s")
    if isinstance(child, Finding):
        return child
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        return Finding("engine", f"the {KERNELS} died with {name}", "bad", WITHOUT_KERNELS)
    try:
        engine = EngineChoice(**json.loads(child.stdout))
    except (ValueError, TypeError):
        lines = child.stderr.strip().splitlines() or ["it gave no reason"]  # libraries may write before it
        found, remedy = [*lines, WITHOUT_KERNELS][:2] if len(lines) == 1 else lines[-2:]
        return Finding("engine", found, "bad", remedy)
    found = f"{engine.title}: {engine.reason}"
    if engine.name != KERNELS and read_choice() is None and importlib.util.find_spec(PACKAGE):
        return Finding("engine", found, "warning", INSTALL_AGAIN)
    return Finding("engine", found)
