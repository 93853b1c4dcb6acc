"""Run the native kernels with sanitizers on random models, texts and calls.

    python -m bench.kernels.sanitize --seconds 60

Builds the C core and bench/kernels/fuzz.c twice: with AddressSanitizer and UndefinedBehaviorSanitizer, for
three quarters of the time, and with ThreadSanitizer. ONNX Runtime and Python are not part of it. The last
line says what ran. The exit code is 0; 3 if a sanitizer or the fuzzer reports something, which is printed;
1 if the compiler lacks the sanitizers.
"""

import argparse
import os
import platform
import secrets
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.errors import BenchError

ROOT = Path(__file__).parents[2]
CORE = ROOT / "export" / "kernels" / "c"
FUZZER = Path(__file__).with_name("fuzz.c")
NOT_CORE = (
    "Python.h",
    "objects.h",
    "engine.h",
)  # a source that includes one of them belongs to the extension
COMPILERS = ("gcc", "clang")
FLAGS = ("-std=c11", "-O2", "-g", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-pthread")
BASE_CPU = {"x86_64": ("-march=x86-64-v3",), "aarch64": ("-march=armv8-a",)}
WRAPPED = ("malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign")
SLACK_S = 120  # the last model may be a large one; a hang must still end


@dataclass(frozen=True)
class Build:
    """One way to build the fuzzer."""

    sanitizers: str
    """Argument of -fsanitize."""
    share: float
    """Share of the time."""
    options: str
    """Environment variable with the sanitizer's options, and these."""


BUILDS = (
    Build("address,undefined", 0.75, "ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1"),
    Build("thread", 0.25, "TSAN_OPTIONS=halt_on_error=1"),
)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="time for all models [default: 60]")
    parser.add_argument("--seed", type=int, help="number of the first model [default: random]")
    parser.add_argument("--compiler", help="C compiler [default: $CC, gcc or clang]")
    options = parser.parse_args()
    seed = secrets.randbits(32) if options.seed is None else options.seed
    try:
        compiler = options.compiler or find_compiler()
        with tempfile.TemporaryDirectory() as folder:
            programs = [(build, compile_fuzzer(compiler, build, Path(folder))) for build in BUILDS]
            results = [run_fuzzer(build, program, options.seconds, seed) for build, program in programs]
    except BenchError as failure:
        print(f"error: {failure.message}\nhint: {failure.hint}", file=sys.stderr)
        return failure.exit_code
    passed = None not in results
    ran = "; ".join(
        f"{build.sanitizers}: {result or 'FAILED'}" for build, result in zip(BUILDS, results, strict=True)
    )
    print(f"{Path(compiler).name}, {options.seconds:g} s, seed {seed}: {ran}")
    return 0 if passed else 3


def find_compiler() -> str:
    """Return the C compiler to use.

    Raises:
        BenchError: There is none.
    """
    found = os.environ.get("CC") or next(filter(shutil.which, COMPILERS), None)
    if not found:
        raise BenchError("no C compiler was found", "apt install gcc")
    return found


def list_core_sources() -> list[Path]:
    """Return the C files that need neither Python nor ONNX Runtime.

    Raises:
        BenchError: There are none.
    """
    sources = sorted(CORE.glob("*.c"))
    core = [source for source in sources if not any(name in source.read_text() for name in NOT_CORE)]
    if not core:
        raise BenchError(f"{CORE} has no C files", "run it in a checkout of the source")
    return core


def compile_fuzzer(compiler: str, build: Build, folder: Path) -> Path:
    """Compile the core and the fuzzer; return the program.

    Raises:
        BenchError: The compiler fails, or lacks the sanitizers.
    """
    program = folder / f"fuzz-{build.sanitizers}"
    command = [
        compiler,
        *FLAGS,
        *BASE_CPU.get(platform.machine(), ()),
        f"-fsanitize={build.sanitizers}",
        "-fno-sanitize-recover=all",
        f"-I{CORE}",
        *map(str, list_core_sources()),
        str(FUZZER),
        "-Wl," + ",".join(f"--wrap={name}" for name in WRAPPED),
        "-lm",
        "-o",
        str(program),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as failure:
        raise BenchError(f"{compiler} cannot be run: {failure}", "apt install gcc") from None
    if done.returncode:
        raise BenchError(f"{compiler} failed:\n{done.stderr}", "gcc 12 and clang 14 have the sanitizers")
    return program


def run_fuzzer(build: Build, program: Path, seconds: float, seed: int) -> str | None:
    """Run one program for its share of the time.

    Returns:
        What it ran, in words; None if it reported something, which is printed.
    """
    name, _, value = build.options.partition("=")
    own = max(1.0, seconds * build.share)
    command = [str(program), f"{own:g}", str(seed)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=own + SLACK_S,
            env=os.environ | {name: value},
        )
    except subprocess.TimeoutExpired:
        print(f"{build.sanitizers}: no end after {own + SLACK_S:g} s", file=sys.stderr)
        return None
    if done.returncode or done.stderr:
        print(f"{build.sanitizers}: exit {done.returncode}\n{done.stderr}", file=sys.stderr)
        return None
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
