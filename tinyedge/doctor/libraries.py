"""Whether the compiled libraries load, tried in a child process.

A wheel that was built for a newer CPU kills whoever imports it with SIGILL; here that is a child, and its
death a sentence. Out: a Finding. Imports none of them itself.
"""

import importlib.metadata
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from tinyedge.doctor.finding import Finding
from tinyedge.host.machine import Device

LIBRARIES = ("numpy", "onnxruntime", "sentencepiece")
IMPORT_SECONDS = 180.0  # some 10 s on a Pi from a cold SD card, some 60 s under emulation
IMPORT_EACH = """
import importlib, sys
for name in sys.argv[1:]:
    print(name, flush=True)
    importlib.import_module(name)
"""
# -P keeps the current folder, and any numpy.py in it, out of the imports.
CHILD = (sys.executable, "-P", "-c", IMPORT_EACH, *LIBRARIES)
# onnxruntime 1.32 reports to its maker from its import on, unless this is set (see its Privacy.md).
NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1"}

# Built for a newer ARM, unlike those before and after: github.com/microsoft/onnxruntime/issues/23957
KNOWN_BAD_ONNXRUNTIME = ("1.21.0",)
ARMV8_1 = "atomics"  # every CPU from ARMv8.1 on has them, the Pi Zero 2 W, 3 and 4 don't
REPLACE_ONNXRUNTIME = "pip install 'onnxruntime!=1.21.0'"


def check_libraries(
    device: Device, command: Sequence[str] = CHILD, seconds: float = IMPORT_SECONDS
) -> Finding:
    """Imports numpy, onnxruntime and sentencepiece in a child process that is `command`."""
    old_arm = device.machine == "aarch64" and ARMV8_1 not in device.features
    if old_arm and device.onnxruntime in KNOWN_BAD_ONNXRUNTIME:
        found = f"onnxruntime {device.onnxruntime} dies with SIGILL on this CPU, which is ARMv8.0"
        return Finding("libraries", found, "bad", REPLACE_ONNXRUNTIME)
    try:
        child = subprocess.run(
            command,
            env={**os.environ, **NO_TELEMETRY},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        found = f"importing {', '.join(LIBRARIES)} took more than {seconds:g} s"
        return Finding(
            "libraries", found, "bad", "look at the machine's load and free memory, then try again"
        )
    except OSError as failure:
        found = f"{command[0]} cannot be started: {failure.strerror}"
        return Finding("libraries", found, "bad", "make the Python environment anew")
    if child.returncode == 0:
        return Finding("libraries", ", ".join(f"{name} {_version(name)}" for name in LIBRARIES))
    library = (child.stdout.split() or [LIBRARIES[0]])[-1]
    if child.returncode < 0:
        return _killed(library, child.returncode)
    reason = (child.stderr.strip().splitlines() or ["it does not say why"])[-1]
    return Finding("libraries", f"{library} cannot be imported: {reason}", "bad", f"pip install {library}")


def _killed(library: str, returncode: int) -> Finding:
    name = signal.Signals(-returncode).name
    found = f"importing {library} {_version(library)} died with {name}"
    ways_out = {
        "SIGILL": f"its wheel was built for a newer CPU: install another version of {library}",
        "SIGKILL": "usually the kernel ran out of memory: see `dmesg | tail`, and stop other programs",
        "SIGBUS": "the disk failed under a mapped file: check the SD card",
    }
    return Finding("libraries", found, "bad", ways_out.get(name, f"install another version of {library}"))


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"
