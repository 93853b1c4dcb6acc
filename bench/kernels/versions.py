"""Run one binary of the native kernels on every version of ONNX Runtime, from 1.20.1 to the newest.

    python -m bench.kernels.versions

Each version is installed into a temporary folder and removed again; each is 20 MB to download. A new process
loads its library through the built extension and generates texts from a bundle, alone and with threads. All
versions must give the same logits and tokens. Prints a table. The exit code is 0; 3 if a version differs or
fails; 1 if none could be tried.
"""

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kernels.models import read_bundle
from tinyedge.core.errors import BenchError

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "export" / "kernels"
BUNDLE = ROOT / "tests" / "data" / "micro_bundle_int8"
FIRST = (1, 20, 1)
PROMPT = (7, 300, 5, 999, 41, 8, 17, 250, 640, 33, 12, 801)
DRAWN = 16
SAMPLING = (0.8, 40, 0.9, 0.0)  # temperature, top_k, top_p, min_p
THREADS = (1, 2)
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
TIMEOUT_S = 120
HASH_DIGITS = 12


@dataclass(frozen=True)
class Outcome:
    """What one version did."""

    version: str
    """The version that was installed."""
    reported: str
    """The version that its library reports; empty if it failed."""
    result: str
    """Hash of all logits and tokens, or how it failed."""


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("versions", nargs="*", help="versions to try [default: all since 1.20.1]")
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(generate(options.child, options.bundle)))
        return 0
    try:
        outcomes = [try_version(version, options.bundle) for version in options.versions or list_versions()]
    except BenchError as failure:
        print(f"error: {failure.message}\nhint: {failure.hint}", file=sys.stderr)
        return failure.exit_code
    return 0 if print_table(outcomes) else 3


def list_versions() -> list[str]:
    """Return the stable versions on the package index since FIRST that this Python can install, oldest first.

    Raises:
        BenchError: The package index cannot be read.
    """
    done = subprocess.run(
        (*PIP, "index", "versions", "onnxruntime"), capture_output=True, text=True, check=False
    )
    listed = re.search(r"Available versions: (.*)", done.stdout)
    if not listed:
        raise BenchError(f"pip cannot list versions: {done.stderr.strip()}", "name versions as arguments")
    found = re.findall(r"\d+\.\d+\.\d+", listed[1])
    return sorted((v for v in found if _numbers(v) >= FIRST), key=_numbers)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def try_version(version: str, bundle: Path) -> Outcome:
    """Install a version, run the kernels on it, and remove it."""
    with tempfile.TemporaryDirectory() as folder:
        # Only the library is used: neither dependencies nor an environment of its own are needed.
        install = (
            *PIP,
            "install",
            "--no-deps",
            "--no-compile",
            "--target",
            folder,
            f"onnxruntime=={version}",
        )
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            return Outcome(version, "", "cannot be installed: " + _last_line(done.stderr))
        library = next(Path(folder, "onnxruntime", "capi").glob("libonnxruntime.so*"), None)
        if not library:
            return Outcome(version, "", "its package has no libonnxruntime.so")
        return _run_child(version, library, bundle)


def _run_child(version: str, library: Path, bundle: Path) -> Outcome:
    """Generate in a new process: a library is never unloaded, and may end the process."""
    command = (
        sys.executable,
        "-m",
        __spec__.name,
        "--child",
        str(library),
        "--bundle",
        str(bundle.resolve()),
    )
    path = os.pathsep.join((str(ROOT), str(KERNELS)))
    environment = os.environ | {"PYTHONPATH": path}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return Outcome(version, "", f"no end after {TIMEOUT_S} s")
    if done.returncode < 0:
        return Outcome(version, "", f"ended by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        return Outcome(version, "", _last_line(done.stderr))
    found = json.loads(done.stdout)
    return Outcome(version, found["reported"], found["result"])


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


def generate(library: str, bundle: Path) -> dict[str, str]:
    """Generate texts with a library.

    Returns:
        The version that the library reports, and a hash of all logits and tokens.
    """
    from tinyedge_kernels import Model  # in the child only, which has it on its path

    weights = read_bundle(bundle)
    for threads in THREADS:
        model = Model(library, weights.config, weights.attention_scale, weights.tensors, threads)
        hashed = hashlib.sha256(_generate_text(model.decoder()))
        if threads == THREADS[0]:
            first = hashed.hexdigest()
        elif hashed.hexdigest() != first:
            raise SystemExit(f"with {threads} threads, the logits are others")
    return {"reported": model.onnxruntime, "result": first[:HASH_DIGITS]}


def _generate_text(decoder: Any) -> bytes:
    """Return all logits of a text, and its tokens."""
    tokens, fed, parts = list(PROMPT), 0, []
    for number in range(DRAWN):
        parts.append(decoder.logits(tokens[fed:], fed))
        fed = len(tokens)
        tokens.append(decoder.draw([], fed, *SAMPLING, number / DRAWN, []))
    return b"".join(parts) + repr(tokens).encode()


def print_table(outcomes: list[Outcome]) -> bool:
    """Print a line for each version; return whether all gave the same numbers."""
    expected = next((outcome.result for outcome in outcomes if outcome.reported), None)
    print(f"{'onnxruntime':12} {'reports':10} logits and tokens")
    for outcome in outcomes:
        print(f"{outcome.version:12} {outcome.reported or '-':10} {outcome.result}")
    equal = sum(bool(outcome.reported) and outcome.result == expected for outcome in outcomes)
    print(f"{equal} of {len(outcomes)} versions give the same numbers")
    return equal == len(outcomes)


if __name__ == "__main__":
    sys.exit(main())
