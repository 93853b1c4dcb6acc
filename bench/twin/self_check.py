"""The twin's proof of itself: it refuses what the board refuses, runs what that runs, writes the same."""

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
from bench.twin.layout import SOURCES, TwinError, checkout_environment, run
from bench.twin.user_emulation import Guest

BOARD_HAS = {"neon", "crc32"}  # all that is beyond the Cortex-A53 without cryptography has to die
# Bits of HWCAP, as Linux numbers them.
HWCAP_OF_BOARD = {"fp": 0, "asimd": 1, "crc32": 7}
HWCAP_NOT_OF_BOARD = {"aes": 3, "pmull": 4, "sha1": 5, "sha2": 6, "atomics": 8, "asimddp": 20, "sve": 22}
GREEDY_TOKENS = 24
# Logits are equal but for the order of a sum; where a number is in the middle between two steps of int8, the
# processors may round it to either, and what follows differs by a step.
EQUAL_LOGITS = 1e-4
MIN_EQUAL = 0.9  # of all tokens
MAX_DIFFERENCE = 0.1  # of the logits' standard deviation


def wrong_instructions(found: Mapping[str, Any]) -> list[str]:
    """In what the guest's processor is not the board's. found: what instructions.py prints."""
    wrong = [
        f"an instruction of {name}: {end}, on the board: {'runs' if name in BOARD_HAS else 'SIGILL'}"
        for name, end in found["instructions"].items()
        if end != ("runs" if name in BOARD_HAS else "SIGILL")
    ]
    bits = int(found["hwcap"])
    wrong += [f"HWCAP lacks {name}" for name, bit in HWCAP_OF_BOARD.items() if not bits >> bit & 1]
    return wrong + [f"HWCAP has {name}" for name, bit in HWCAP_NOT_OF_BOARD.items() if bits >> bit & 1]


def check_instructions(guest: Guest) -> str:
    """One instruction of every extension. Raises TwinError where the board would do otherwise."""
    outcome = guest.run([str(SOURCES / "guest" / "instructions.py")])
    if outcome.returncode:
        raise TwinError(f"the instructions' test ended with {outcome.returncode}: {outcome.errors}")
    found = json.loads(outcome.output)
    if wrong := wrong_instructions(found):
        raise TwinError(f"the emulated processor is not the board's: {'; '.join(wrong)}")
    died = sum(end == "SIGILL" for end in found["instructions"].values())
    return f"{len(found['instructions']) - died} extensions of the board run, {died} others die with SIGILL"


def check_onnxruntime(guest: Guest) -> str:
    """A release that real boards die of dies here, and the installed one runs. Raises TwinError otherwise."""
    script = ["-c", "import onnxruntime; print(onnxruntime.__version__)"]
    right = guest.run(script)
    if right.returncode:
        raise TwinError(f"the installed onnxruntime ends with {right.returncode}: {right.errors}")
    version = right.output.decode().strip()
    bad = guest.run(script, first=[install_bad_packages(guest.twin)])
    if bad.returncode != -SIGILL:
        raise TwinError(
            f"onnxruntime {BAD_ONNXRUNTIME} ends with {bad.returncode} and not with SIGILL: {bad.errors}"
        )
    return f"onnxruntime {BAD_ONNXRUNTIME} dies with SIGILL, {version} runs"


def check_parity(guest: Guest, bundle: Path) -> str:
    """Greedy text of an fp32 bundle is this machine's, to the token. Raises TwinError where it is not."""
    precision = json.loads((bundle / "manifest.json").read_bytes()).get("precision")
    if precision != "fp32":
        raise TwinError(
            f"{bundle} is {precision}, whose roundings differ between processors",
            "pass one that `tinyedge export --quantize none` made",
        )
    script = [str(SOURCES / "guest" / "greedy.py"), str(bundle.resolve()), str(GREEDY_TOKENS)]
    emulated = guest.run(script)
    if emulated.returncode:
        raise TwinError(f"generating in the guest ends with {emulated.returncode}: {emulated.errors}")
    here = run([sys.executable, *script], env=checkout_environment())
    theirs, ours = json.loads(emulated.output), json.loads(here)
    if different := [name for name in ours if ours[name] != theirs[name]]:
        name = different[0]
        raise TwinError(f"prompt {name}: {theirs[name]['text']!r} in the guest, {ours[name]['text']!r} here")
    return f"{len(ours)} greedy answers of {GREEDY_TOKENS} tokens are the same as on this machine"


def check_logits(guest: Guest, bundle: Path) -> str:
    """Logits of text are this machine's, but for roundings of int8. Raises TwinError otherwise."""
    script = str(SOURCES / "guest" / "logits.py")
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = Path(folder) / "guest.npy", Path(folder) / "here.npy"
        emulated = guest.run([script, str(bundle.resolve()), str(theirs)])
        if emulated.returncode:
            raise TwinError(f"logits in the guest end with {emulated.returncode}: {emulated.errors}")
        run([sys.executable, script, bundle.resolve(), ours], env=checkout_environment())
        return compare_logits(np.load(theirs), np.load(ours))


def compare_logits(theirs: npt.NDArray[np.float32], ours: npt.NDArray[np.float32]) -> str:
    """What is to be said of the guest's logits beside this machine's, (tokens, V) each. Raises TwinError."""
    worst = np.abs(theirs - ours).max(axis=1)
    equal = worst <= EQUAL_LOGITS
    limit = MAX_DIFFERENCE * float(ours.std())
    others = "" if equal.all() else f", the others to {worst.max():.2g}"
    found = f"{equal.sum()} of {len(worst)} to {EQUAL_LOGITS:g}{others}"
    if not (equal.mean() >= MIN_EQUAL and worst.max() <= limit):
        raise TwinError(
            f"the logits in the guest are not those of this machine: {found}",
            f"{MIN_EQUAL:.0%} have to be, and none be off by more than {limit:.2g}",
        )
    return f"the logits of text are those of this machine: {found}"
