"""Checks that the twin is the board: the same programs crash, the others run, and results are equal."""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from signal import SIGILL
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.twin.build import BAD_ONNXRUNTIME, install_bad_packages
from bench.twin.layout import BOARD, SOURCES, TwinError, checkout_environment, run
from bench.twin.user_emulation import Guest

# Bits of HWCAP, as Linux numbers them, by the names of /proc/cpuinfo.
HWCAP_BITS = {
    **{"fp": 0, "asimd": 1, "aes": 3, "pmull": 4, "sha1": 5, "sha2": 6, "crc32": 7},
    **{"atomics": 8, "asimddp": 20, "sve": 22},
}
# Instructions of guest/instructions.py that /proc/cpuinfo names differently.
FEATURE_OF_INSTRUCTION = {"neon": "asimd", "sha256": "sha2", "dotprod": "asimddp"}
GREEDY_TOKENS = 24
# Logits are equal except for the order of a sum; a number in the middle between two int8 steps may be rounded
# to either on different processors, and everything that follows from it differs by a step.
EQUAL_LOGITS = 1e-4
MIN_EQUAL = 0.9  # share of all tokens
MAX_DIFFERENCE = 0.1  # of the logits' standard deviation


def find_wrong_instructions(found: Mapping[str, Any]) -> list[str]:
    """Differences between the guest's processor and the board's, a sentence each.

    Args:
        found: The JSON that guest/instructions.py printed.
    """
    wrong = []
    for name, end in found["instructions"].items():
        has_feature = BOARD.processor.has_feature(FEATURE_OF_INSTRUCTION.get(name, name))
        expected = "runs" if has_feature else "SIGILL"
        if end != expected:
            wrong.append(f"an instruction of {name}: {end}, on the board: {expected}")
    bits = int(found["hwcap"])
    for name, bit in HWCAP_BITS.items():
        if bool(bits >> bit & 1) != BOARD.processor.has_feature(name):
            wrong.append(f"HWCAP {'has' if bits >> bit & 1 else 'lacks'} {name}")
    return wrong


def check_instructions(guest: Guest) -> str:
    """Run one instruction of every extension. Raises TwinError if the board would do otherwise."""
    outcome = guest.run([str(SOURCES / "guest" / "instructions.py")])
    if outcome.returncode:
        raise TwinError(f"instructions.py in the guest exited with {outcome.returncode}: {outcome.errors}")
    found = json.loads(outcome.output)
    if wrong := find_wrong_instructions(found):
        raise TwinError(f"the emulated processor differs from the board's: {'; '.join(wrong)}")
    died = sum(end == "SIGILL" for end in found["instructions"].values())
    return f"{len(found['instructions']) - died} extensions of the board run, {died} others die with SIGILL"


def check_onnxruntime(guest: Guest) -> str:
    """Check that a release that crashes on real boards crashes here, and that the installed one runs.

    Raises:
        TwinError: If one of them does not.
    """
    script = ["-c", "import onnxruntime; print(onnxruntime.__version__)"]
    installed = guest.run(script)
    if installed.returncode:
        raise TwinError(f"the installed onnxruntime exited with {installed.returncode}: {installed.errors}")
    version = installed.output.decode().strip()
    bad = guest.run(script, [install_bad_packages(guest.twin)])
    if bad.returncode != -SIGILL:
        raise TwinError(
            f"onnxruntime {BAD_ONNXRUNTIME} exited with {bad.returncode} instead of SIGILL: {bad.errors}"
        )
    return f"onnxruntime {BAD_ONNXRUNTIME} dies with SIGILL, {version} runs"


def check_parity(guest: Guest, bundle: Path) -> str:
    """Check that greedy text of an fp32 bundle is this machine's. Raises TwinError otherwise."""
    precision = json.loads((bundle / "manifest.json").read_bytes()).get("precision")
    if precision != "fp32":
        raise TwinError(
            f"{bundle} is {precision}, whose roundings differ between processors",
            "pass one that `tinyedge export --quantize none` made",
        )
    script = [str(SOURCES / "guest" / "greedy.py"), str(bundle.resolve()), str(GREEDY_TOKENS)]
    emulated = guest.run(script)
    if emulated.returncode:
        raise TwinError(f"greedy.py in the guest exited with {emulated.returncode}: {emulated.errors}")
    output = run([sys.executable, *script], env=checkout_environment())
    guest_answers, host_answers = json.loads(emulated.output), json.loads(output)
    if different := [name for name in host_answers if host_answers[name] != guest_answers[name]]:
        name = different[0]
        there, here = guest_answers[name]["text"], host_answers[name]["text"]
        raise TwinError(f"prompt {name}: {there!r} in the guest, {here!r} here")
    return f"{len(host_answers)} greedy answers of {GREEDY_TOKENS} tokens are the same as on this machine"


def check_logits(guest: Guest, bundle: Path) -> str:
    """Check that logits of text are this machine's, except for int8 roundings. Raises TwinError otherwise."""
    script = str(SOURCES / "guest" / "logits.py")
    with tempfile.TemporaryDirectory() as folder:
        guest_file, host_file = Path(folder) / "guest.npy", Path(folder) / "host.npy"
        emulated = guest.run([script, str(bundle.resolve()), str(guest_file)])
        if emulated.returncode:
            raise TwinError(f"logits.py in the guest exited with {emulated.returncode}: {emulated.errors}")
        run([sys.executable, script, bundle.resolve(), host_file], env=checkout_environment())
        return compare_logits(np.load(guest_file), np.load(host_file))


def compare_logits(guest_logits: npt.NDArray[np.float32], host_logits: npt.NDArray[np.float32]) -> str:
    """Compare logits of the guest and of this machine.

    Args:
        guest_logits: Of shape (tokens, V).
        host_logits: Of the same shape.

    Returns:
        A sentence with the result.

    Raises:
        TwinError: If too many tokens differ, or one by too much.
    """
    worst = np.abs(guest_logits - host_logits).max(axis=1)
    equal = worst <= EQUAL_LOGITS
    limit = MAX_DIFFERENCE * float(host_logits.std())
    others = "" if equal.all() else f", the others to {worst.max():.2g}"
    found = f"{equal.sum()} of {len(worst)} to {EQUAL_LOGITS:g}{others}"
    if not (equal.mean() >= MIN_EQUAL and worst.max() <= limit):
        raise TwinError(
            f"the logits in the guest differ from those of this machine: {found}",
            f"{MIN_EQUAL:.0%} must be equal, and none may differ by more than {limit:.2g}",
        )
    return f"the logits of text are those of this machine: {found}"
