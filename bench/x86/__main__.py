"""Check that a bundle computes the same model on every kind of x86-64, and measure its speed there.

    python -m bench.x86 BUNDLE [--turns 20]

One machine plays all kinds: programs choose their kernels by CPUID, and mask.c hides instruction sets from
it. The logits of a text are compared with those without a mask. They may differ if an activation lies in the
middle between two int8 steps, where rounding in the last bit decides (docs/device.md). So the check fails
like `python -m bench.twin check`: if more than a tenth of the tokens differ, or if one differs much. Times
are processor times. All kinds run in turn, again and again. Needs a C compiler and CPUID faulting.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tinyedge.core.errors import BenchError, TinyEdgeError, UsageError
from tinyedge.runtime import Generator

# What mask.c hides, and the kind of processor that remains. Only features of this machine can be hidden.
KINDS = {
    "": "this machine",
    "amx": "AVX-512 VNNI, as Ice Lake and Zen 4",
    "vnni": "AVX-512 without VNNI, as Skylake-X",
    "avx512": "AVX2 with AVX-VNNI, as Alder Lake",
    "all": "AVX2, as Haswell and Zen 2",
}
NO_FAULTING = 77  # exit status of mask.c if CPUID cannot be made to fault
TOKENS, SEED, CANDIDATES = 100, 0, 43
WARM_UP, REPEATS = 2, 3
EQUAL = 1e-4  # logits this close count as equal
MAX_DIFFERENT_SHARE = 0.1  # of the tokens
MAX_DIFFERENCE = 0.1  # of one logit, as a share of the logits' standard deviation


def main() -> int:
    """Run the command; print a known failure as one line and a hint."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--turns", type=int, default=20, help="runs of each kind [default: 20]")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        if options.child:
            measure(options.bundle, options.child)
            return 0
        return 0 if compare(options.bundle, options.turns) else 3
    except TinyEdgeError as failure:
        print(f"error: {failure.message}", file=sys.stderr)
        if failure.hint:
            print(f"hint: {failure.hint}", file=sys.stderr)
        return failure.exit_code


def measure(bundle: Path, output: Path) -> None:
    """In a masked process: save logits of shape (TOKENS, V), and print the microseconds of a step."""
    with Generator.load(bundle) as generator:
        decoder = generator.session.decoder(CANDIDATES)
        size = generator.config.vocab_size
        length = min(TOKENS, generator.config.max_seq_length)
        tokens = np.random.default_rng(SEED).integers(4, size, size=length).tolist()
        logits = [decoder.prefill(tokens[:5]).copy(), *(decoder.step(token).copy() for token in tokens[5:])]
        np.save(output, np.array(logits))
        times = []
        for _ in range(WARM_UP + REPEATS):
            decoder.prefill(tokens[:5])
            began = time.process_time_ns()
            for token in tokens[5:]:
                decoder.step(token)
            times.append((time.process_time_ns() - began) / (length - 5) / 1e3)
    print(json.dumps(statistics.median(times[WARM_UP:])))


def compare(bundle: Path, turns: int) -> bool:
    """Print two lines for each kind, and return whether all of them compute the same model."""
    if turns < 1:
        raise UsageError(f"--turns {turns} is less than 1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mask = folder / "mask.so"
        source = Path(__file__).with_name("mask.c")
        try:
            subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", mask, source], check=True)
        except (OSError, subprocess.CalledProcessError) as failure:
            raise BenchError(f"{source} cannot be compiled: {failure}", "apt install gcc") from None
        times: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(turns):
            for kind in KINDS:
                times[kind].append(measure_turn(bundle, kind, mask, folder / f"{kind}.npy"))
        own = np.load(folder / ".npy")
        all_same = True
        for kind, description in KINDS.items():
            difference = np.abs(np.load(folder / f"{kind}.npy") - own).max(axis=1)
            share = float((difference > EQUAL).mean())
            same = share <= MAX_DIFFERENT_SHARE and float(difference.max()) <= MAX_DIFFERENCE * float(
                own.std()
            )
            ratios = [one / other for one, other in zip(times[kind], times[""], strict=True)]
            verdict = "same model" if same else "DIFFERENT MODEL"
            middle, ratio = statistics.median(times[kind]), statistics.median(ratios)
            print(f"{description:36} {middle:7.1f} us/token, x {ratio:.2f}")
            print(f"    {verdict}: logits within {difference.max():.2g}, {100 * share:.0f}% of tokens differ")
            all_same &= same
    return all_same


def measure_turn(bundle: Path, kind: str, mask: Path, logits: Path) -> float:
    """Run a new process that is masked as one kind.

    Args:
        bundle: The bundle.
        kind: A key of KINDS.
        mask: The compiled mask.c.
        logits: File for the logits.

    Returns:
        Microseconds per token.

    Raises:
        BenchError: The process failed, or CPUID cannot be made to fault.
    """
    command = [sys.executable, __file__, str(bundle), "--child", str(logits)]
    environment = os.environ | {"HIDE": kind, "LD_PRELOAD": str(mask)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode == NO_FAULTING:
        raise BenchError("this processor or kernel has no CPUID faulting", "try an Intel processor")
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2].removeprefix("error: ")
        raise BenchError(reason or f"a turn ended with {done.returncode}")
    return float(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
