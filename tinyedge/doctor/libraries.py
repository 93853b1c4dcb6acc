"""Check that the compiled libraries can be imported, in a child process.

The import of a wheel that was built for a newer CPU ends the process with SIGILL. Here, that is the child
process.
In: a Device. Out: a Finding. Does not import the libraries itself.
"""

import importlib.metadata
import signal
import sys
from collections.abc import Sequence

from tinyedge.boards.board import BadPackage
from tinyedge.boards.load import known_boards
from tinyedge.doctor.child import run_child
from tinyedge.doctor.finding import Finding
from tinyedge.host.machine import Device

LIBRARIES = ("numpy", "onnxruntime", "sentencepiece")
IMPORT_SECONDS = 180.0  # about 10 s on a Pi from a cold SD card, about 60 s under emulation
IMPORT_EACH = """
import importlib, sys
for name in sys.argv[1:]:
    print(name, flush=True)
    importlib.import_module(name)
print("imported", flush=True)
"""
# Last word that the child prints. The exit status alone proves nothing: in a process that ignores SIGCHLD,
# `subprocess` reports 0 for every child.
IMPORTED = "imported"
# -P keeps the current folder, and any numpy.py in it, out of the imports.
CHILD = (sys.executable, "-P", "-c", IMPORT_EACH, *LIBRARIES)


def check_libraries(
    device: Device, command: Sequence[str] = CHILD, seconds: float = IMPORT_SECONDS
) -> Finding:
    """Import numpy, onnxruntime and sentencepiece in a child process.

    Args:
        device: The machine; a version that is known to fail on its CPU is reported without importing it.
        command: Command of the child; it prints the name of each library before importing it, and "imported"
            at the end.
        seconds: Time limit.
    """
    if bad := find_bad_package(device):
        return Finding("libraries", f"{bad.package} {bad.version} {bad.why}", "bad", bad.hint)
    late = f"importing {', '.join(LIBRARIES)} took more than {seconds:g} s"
    child = run_child("libraries", command, seconds, late)
    if isinstance(child, Finding):
        return child
    words = child.stdout.split()
    if child.returncode == 0 and words[-1:] == [IMPORTED]:
        return Finding("libraries", ", ".join(f"{name} {_get_version(name)}" for name in LIBRARIES))
    library = (words or [LIBRARIES[0]])[-1]
    if child.returncode < 0:
        return _report_signal(library, child.returncode)
    reason = (child.stderr.strip().splitlines() or ["no reason given"])[-1]
    return Finding("libraries", f"{library} cannot be imported: {reason}", "bad", f"pip install {library}")


def find_bad_package(device: Device) -> BadPackage | None:
    """The installed package version that a known board lists as bad, if this CPU lacks the same feature."""
    for board in known_boards():
        for bad in board.bad_packages if board.processor.machine == device.machine else ():
            version = device.onnxruntime if bad.package == "onnxruntime" else _get_version(bad.package)
            if bad.needs_feature not in device.features and version == bad.version:
                return bad
    return None


def _report_signal(library: str, returncode: int) -> Finding:
    name = signal.Signals(-returncode).name
    found = f"importing {library} {_get_version(library)} died with {name}"
    hints = {
        "SIGILL": f"its wheel was built for a newer CPU: install another version of {library}",
        "SIGKILL": "usually the kernel ran out of memory: see `dmesg | tail`, and stop other programs",
        "SIGBUS": "the disk failed under a mapped file: check the SD card",
    }
    return Finding("libraries", found, "bad", hints.get(name, f"install another version of {library}"))


def _get_version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"
