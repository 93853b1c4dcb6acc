"""Compiles the extension with Zig: into a wheel as a hook of hatch, or in place for this machine as a script.

TINYEDGE_KERNELS_TARGET names the platform of a wheel, aarch64 or x86_64; the default is this machine's. Any
machine builds for both: Zig brings a compiler and a C library for both, and Python's stable ABI is the same.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
EXTENSION = "tinyedge_kernels/_kernels.abi3.so"
TARGET_VARIABLE = "TINYEDGE_KERNELS_TARGET"
# The oldest CPU that a binary serves; functions for newer ones are chosen when a model is loaded.
# The board's Cortex-A53 has no AES and no SHA2, which Zig's plain cortex_a53 includes.
CPUS = {"aarch64": "cortex_a53-aes-sha2", "x86_64": "x86_64_v3"}
GLIBC = "2.17"  # of 2012: the oldest that manylinux names
# Results must not depend on the compiler: a product and a sum are fused only where the source says fma.
# -g0: with debug information, which Zig adds to a build with symbols, code is ordered in another way.
FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-g0", "-Wall", "-Wextra")
LIBRARY_FLAGS = ("-shared", "-fPIC", "-fvisibility=hidden", "-ldl")


class KernelsHook(BuildHookInterface):  # type: ignore[type-arg] # hatchling does not say what its parameter is
    """Puts the compiled extension into a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and name the platform in the wheel's tag."""
        target = os.environ.get(TARGET_VARIABLE) or platform.machine()
        self._folder = TemporaryDirectory()  # not in place: this machine's tests use what is there
        output = Path(self._folder.name, Path(EXTENSION).name)
        compile_extension(target, output)
        license_file = next((p for p in (ROOT / "LICENSE", ROOT.parents[1] / "LICENSE") if p.exists()), None)
        if license_file:
            build_data["force_include"][str(license_file)] = "tinyedge_kernels/LICENSE"
        build_data["force_include"][str(output)] = EXTENSION
        build_data["tag"] = f"cp311-abi3-manylinux_{GLIBC.replace('.', '_')}_{target}"
        build_data["pure_python"] = False


def compile_extension(target: str, output: Path, *, symbols: bool = False) -> None:
    """Compile all of c/ for a platform.

    Args:
        target: Name of the platform.
        output: File to write.
        symbols: Whether to keep the names of functions, which a wheel does not need.

    Raises:
        SystemExit: The platform is unknown, Python's headers are missing, or the compiler fails.
    """
    if target not in CPUS:
        raise SystemExit(f"{TARGET_VARIABLE}: {target!r} is none of {', '.join(CPUS)}")
    include = Path(sysconfig.get_path("include"))
    if not (include / "Python.h").exists():
        raise SystemExit(f"{include} has no Python.h: install Python's headers, such as python3-dev")
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_suffix(".partial")  # a process that has the old file open keeps it
    platform_flags = ("-target", f"{target}-linux-gnu.{GLIBC}", f"-mcpu={CPUS[target]}")
    sources = sorted(str(path) for path in (ROOT / "c").glob("*.c"))
    compiler = [sys.executable, "-m", "ziglang", "cc", *platform_flags, *FLAGS, *LIBRARY_FLAGS]
    compiler += [] if symbols else ["-s"]
    with TemporaryDirectory() as folder:
        copy_debian_header(include, target, Path(folder))
        headers = (f"-I{folder}", f"-I{include}")
        finished = subprocess.run([*compiler, *headers, *sources, "-o", str(unfinished)], check=False)
    if finished.returncode:
        raise SystemExit(f"the compiler failed with status {finished.returncode}")
    unfinished.replace(output)


def copy_debian_header(include: Path, target: str, folder: Path) -> None:
    """Copy the header that the pyconfig.h of Debian's Python includes to where Zig finds it.

    Debian has it in a folder for each platform, /usr/include/x86_64-linux-gnu/python3.11, which Zig does not
    search. This machine's serves the other platform too: both are 64-bit Linux, little endian. Other Pythons
    have no such file, and nothing is copied.

    Args:
        include: Folder of Python.h, such as /usr/include/python3.11.
        target: Name of the platform that is compiled for.
        folder: Folder for the compiler to search; the copy is TARGET-linux-gnu/python3.11/pyconfig.h in it.
    """
    header = include.parent / f"{platform.machine()}-linux-gnu" / include.name / "pyconfig.h"
    if header.exists():
        copy = folder / f"{target}-linux-gnu" / include.name / header.name
        copy.parent.mkdir(parents=True)
        shutil.copyfile(header, copy)


if __name__ == "__main__":
    compile_extension(platform.machine(), ROOT / EXTENSION)
