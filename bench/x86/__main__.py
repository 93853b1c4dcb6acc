"""Is a bundle the same model on every kind of x86-64, and how fast is it there? One machine plays them all.

    python -m bench.x86 BUNDLE [--turns 20]

Programs pick their kernels by what CPUID says, so mask.c, which hides instruction sets from it, makes this
processor choose as an older one would. Logits of a text are compared with this machine's own: they may
differ where an activation lies in the middle between two steps of int8 and a last bit decides
(docs/device.md), so it fails as `python -m bench.twin check` does, where more than a tenth of the tokens
differ or one differs much. Times are processor time, of turns: the kinds one after the other, and again.
Needs a C compiler and CPUID faulting.
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

# What is hidden, and the kind of processor that is left; only what this machine has can be hidden.
KINDS = {
    "": "this machine",
    "amx": "AVX-512 VNNI, as Ice Lake and Zen 4",
    "vnni": "AVX-512 without VNNI, as Skylake-X",
    "avx512": "AVX2 with AVX-VNNI, as Alder Lake",
    "all": "AVX2, as Haswell and Zen 2",
}
CANNOT = 77  # mask.c's exit status where CPUID does not fault
TOKENS, SEED, CANDIDATES = 100, 0, 43
WARM_UP, REPEATS = 2, 3
SAME, FEW, MUCH = 1e-4, 0.1, 0.1  # logits; share of tokens; share of the logits' standard deviation


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--turns", type=int, default=20, help="of each kind [default: 20]")
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
    """In a process that sees what it may: logits (TOKENS, V) to a file, microseconds a step to stdout."""
    with Generator.load(bundle) as generator:
        decoder = generator.session.decoder(CANDIDATES)
        size = generator.config.vocab_size
        length = min(TOKENS, generator.config.max_seq_length)
        tokens = np.random.default_rng(SEED).integers(4, size, size=length).tolist()
        logits = [decoder.prefill(tokens[:5]).copy(), *(decoder.step(token).copy() for token in tokens[5:])]
        np.save(output, np.array(logits))
        took = []
        for _ in range(WARM_UP + REPEATS):
            decoder.prefill(tokens[:5])
            began = time.process_time_ns()
            for token in tokens[5:]:
                decoder.step(token)
            took.append((time.process_time_ns() - began) / (length - 5) / 1e3)
    print(json.dumps(statistics.median(took[WARM_UP:])))


def compare(bundle: Path, turns: int) -> bool:
    """Prints two lines a kind; whether all of them compute the same model."""
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
        took: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(turns):
            for kind in KINDS:
                took[kind].append(turn(bundle, kind, mask, folder / f"{kind}.npy"))
        own = np.load(folder / ".npy")
        good = True
        for kind, described in KINDS.items():
            apart = np.abs(np.load(folder / f"{kind}.npy") - own).max(axis=1)
            share = float((apart > SAME).mean())
            same = share <= FEW and float(apart.max()) <= MUCH * float(own.std())
            ratios = [one / other for one, other in zip(took[kind], took[""], strict=True)]
            verdict = "the same model" if same else "ANOTHER MODEL"
            middle, ratio = statistics.median(took[kind]), statistics.median(ratios)
            print(f"{described:36} {middle:7.1f} us/token, x {ratio:.2f}")
            print(f"    {verdict}: logits within {apart.max():.2g}, {100 * share:.0f} % of tokens differ")
            good &= same
    return good


def turn(bundle: Path, kind: str, mask: Path, logits: Path) -> float:
    """Microseconds a token of a fresh process. Raises BenchError where it cannot run."""
    command = [sys.executable, __file__, str(bundle), "--child", str(logits)]
    environment = os.environ | {"HIDE": kind, "LD_PRELOAD": str(mask)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode == CANNOT:
        raise BenchError("this processor or kernel has no CPUID faulting", "try an Intel processor")
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2].removeprefix("error: ")
        raise BenchError(said or f"a turn ended with {done.returncode}")
    return float(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
