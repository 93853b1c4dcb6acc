"""Checks that the twin is the board: the same programs crash, the others run, and results are equal."""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGILL
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.twin.build import BAD_ONNXRUNTIME, install_bad_packages
from bench.twin.layout import BOARD, SOURCES, TwinError, checkout_environment, run
from bench.twin.user_emulation import Guest
from tinyedge.boards.board import Board
from tinyedge.core.config import ModelConfig
from tinyedge.core.engine import KERNELS, ONNXRUNTIME, VARIABLE, EngineChoice

# Bits of HWCAP, as Linux numbers them, by the names of /proc/cpuinfo.
HWCAP_BITS = {
    **{"fp": 0, "asimd": 1, "aes": 3, "pmull": 4, "sha1": 5, "sha2": 6, "crc32": 7},
    **{"atomics": 8, "fphp": 9, "asimdhp": 10, "asimdrdm": 12, "lrcpc": 15, "asimddp": 20, "sve": 22},
}
# Instructions of guest/instructions.py that /proc/cpuinfo names differently.
FEATURE_OF_INSTRUCTION = {
    **{"neon": "asimd", "sha256": "sha2", "dotprod": "asimddp"},
    **{"rdm": "asimdrdm", "fp16": "asimdhp"},
}
ANSWER_TOKENS = 24
# Rows of the tests' bundles have at most 128 columns; an output's row of 416 is a tile of 256, one of 128 and
# a padded one of 64: each of the kernels' tiles. The vocabulary is that of the tests.
WIDE = ModelConfig(vocab_size=1000, d_model=416, dim_feedforward=320, max_seq_length=97)
# With ONNX Runtime alone, logits are equal except for the order of a sum; a number in the middle between two
# int8 steps may be rounded to either on different processors, and everything that follows differs by a step.
EQUAL_LOGITS = 1e-4
MIN_EQUAL = 0.9  # share of all tokens
MAX_DIFFERENCE = 0.1  # of the logits' standard deviation


def find_wrong_instructions(found: Mapping[str, Any], board: Board = BOARD) -> list[str]:
    """Differences between the guest's processor and the board's, a sentence each.

    Args:
        found: The JSON that guest/instructions.py printed.
        board: The board.
    """
    wrong = []
    for name, end in found["instructions"].items():
        has_feature = board.processor.has_feature(FEATURE_OF_INSTRUCTION.get(name, name))
        expected = "runs" if has_feature else "SIGILL"
        if end != expected:
            wrong.append(f"an instruction of {name}: {end}, on the board: {expected}")
    bits = int(found["hwcap"])
    for name, bit in HWCAP_BITS.items():
        if bool(bits >> bit & 1) != board.processor.has_feature(name):
            wrong.append(f"HWCAP {'has' if bits >> bit & 1 else 'lacks'} {name}")
    return wrong


def check_instructions(guest: Guest) -> str:
    """Run one instruction of every extension. Raises TwinError if the board would do otherwise."""
    outcome = guest.run([str(SOURCES / "guest" / "instructions.py")])
    if outcome.returncode:
        raise TwinError(f"instructions.py in the guest exited with {outcome.returncode}: {outcome.errors}")
    found = json.loads(outcome.output)
    if wrong := find_wrong_instructions(found, guest.twin.board):
        raise TwinError(f"the emulated processor differs from the board's: {'; '.join(wrong)}")
    died = sum(end == "SIGILL" for end in found["instructions"].values())
    return f"{len(found['instructions']) - died} extensions of the board run, {died} others die with SIGILL"


def check_onnxruntime(guest: Guest) -> str:
    """Check that a release crashes where it does so on real boards, and that the installed one runs.

    Raises:
        TwinError: If one of them does not.
    """
    script = ["-c", "import onnxruntime; print(onnxruntime.__version__)"]
    installed = guest.run(script)
    if installed.returncode:
        raise TwinError(f"the installed onnxruntime exited with {installed.returncode}: {installed.errors}")
    version = installed.output.decode().strip()
    bad = guest.run(script, [install_bad_packages(guest.twin)])
    runs = guest.twin.board.processor.has_feature(BAD_ONNXRUNTIME.needs_feature)
    if bad.returncode != (0 if runs else -SIGILL):
        raise TwinError(
            f"onnxruntime {BAD_ONNXRUNTIME.version} exited with {bad.returncode} instead of"
            f" {'0' if runs else 'SIGILL'}: {bad.errors}"
        )
    end = "runs" if runs else "dies with SIGILL"
    return f"onnxruntime {BAD_ONNXRUNTIME.version} {end}, {version} runs"


def check_kernels(guest: Guest) -> str:
    """Check that the kernels choose the board's instruction set. Raises TwinError otherwise."""
    outcome = guest.run(["-m", "tinyedge.runtime.probe"], variables={VARIABLE: KERNELS})
    if outcome.returncode:
        raise TwinError(f"the kernels in the guest exited with {outcome.returncode}: {outcome.errors}")
    found = EngineChoice(**json.loads(outcome.output)).instructions
    expected = "dotprod" if guest.twin.board.processor.has_feature("asimddp") else "neon"
    if found != expected:
        raise TwinError(f"the kernels in the guest use {found}, on the board: {expected}")
    return f"the kernels use {found}"


def write_wide_bundle(folder: Path, pieces: bytes) -> Path:
    """Write an int8 bundle of the shape `WIDE`, with random weights.

    Args:
        folder: Folder of the bundle; one that is there is replaced.
        pieces: Content of a `tokenizer.model` with the vocabulary of `WIDE`.
    """
    from bench.bundles import write_random_bundle  # torch

    return write_random_bundle(folder, WIDE, pieces)


def check_text(guest: Guest, bundle: Path, engine: str) -> str:
    """Check that the text of a bundle is this machine's, in every token. Raises TwinError otherwise.

    Args:
        guest: The twin.
        bundle: The bundle; for ONNX Runtime alone an fp32 one, whose greedy text is compared. The kernels
            compute the same numbers everywhere: drawn text of them is compared too, in any precision.
        engine: A name of an engine, for the environment.
    """
    precision = json.loads((bundle / "manifest.json").read_bytes()).get("precision")
    if engine == ONNXRUNTIME and precision != "fp32":
        raise TwinError(
            f"{bundle} is {precision}, whose roundings differ between processors",
            "pass one that `tinyedge export --quantize none` made",
        )
    way = "greedy" if engine == ONNXRUNTIME else "greedy and drawn"
    script = [str(SOURCES / "guest" / "answers.py"), str(bundle.resolve()), str(ANSWER_TOKENS)]
    script += ["--drawn"] if engine == KERNELS else []
    guest_answers, host_answers = (json.loads(output) for output in run_both(guest, script, engine))
    if different := [name for name in host_answers if host_answers[name] != guest_answers[name]]:
        name = different[0]
        there, here = guest_answers[name]["text"], host_answers[name]["text"]
        raise TwinError(f"prompt {name}, {engine}: {there!r} in the guest, {here!r} here")
    number = f"{len(host_answers)} {way} answers of {ANSWER_TOKENS} tokens"
    return f"{engine}: {number} are those of this machine"


def check_logits(guest: Guest, bundle: Path, engine: str) -> str:
    """Check that logits of text are this machine's. Raises TwinError otherwise.

    Args:
        guest: The twin.
        bundle: The bundle.
        engine: A name of an engine: the logits of the kernels must be equal, bit for bit; those of ONNX
            Runtime alone may differ by int8 roundings.
    """
    script = str(SOURCES / "guest" / "logits.py")
    with tempfile.TemporaryDirectory() as folder:
        guest_file, host_file = Path(folder) / "guest.npy", Path(folder) / "host.npy"
        run_both(guest, [script, str(bundle.resolve())], engine, str(guest_file), str(host_file))
        found = np.load(guest_file), np.load(host_file)
        compare = compare_equal_logits if engine == KERNELS else compare_logits
        return f"{engine}: {compare(*found)}"


def run_both(guest: Guest, script: Sequence[str], engine: str, *files: str) -> tuple[bytes, str]:
    """Run a script in the guest and on this machine, in one engine, and return what they print.

    Args:
        guest: The twin.
        script: The script and its arguments.
        engine: A name of an engine.
        files: The last argument in the guest, and the one on this machine; none if they are the same.

    Raises:
        TwinError: One of them failed.
    """
    there, here = ([*script, *files[index : index + 1]] for index in range(2))
    emulated = guest.run(there, variables={VARIABLE: engine})
    if emulated.returncode:
        name = Path(script[0]).name
        raise TwinError(f"{name} in the guest exited with {emulated.returncode}: {emulated.errors}")
    output = run([sys.executable, *here], env={**checkout_environment(), VARIABLE: engine})
    return emulated.output, output


def compare_equal_logits(guest_logits: npt.NDArray[np.float32], host_logits: npt.NDArray[np.float32]) -> str:
    """Compare logits that must be equal, bit for bit; arguments, result and errors as in `compare_logits`."""
    equal = (guest_logits.view(np.uint32) == host_logits.view(np.uint32)).all(axis=1)
    if not equal.all():
        raise TwinError(
            f"the logits in the guest are those of this machine for {equal.sum()} of {len(equal)} tokens",
            "build the kernels of this machine again from the same sources: make env",
        )
    return f"the logits of text after {len(equal)} tokens are those of this machine, bit for bit"


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
