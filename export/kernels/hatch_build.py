"""Compiles the extension with Zig: into a wheel as a hook of hatch, or in place for this machine as a script.

TINYEDGE_KERNELS_TARGET names the platform of a wheel, aarch64 or x86_64; the default is this machine's. Any
machine builds for both: Zig brings a compiler and a C library for both, and Python's stable ABI is the same.
"""

import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path
from struct import unpack_from
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
FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra")
SYMBOLS, VERSIONS = 11, 0x6FFFFFFF  # ELF's types of sections: SHT_DYNSYM, SHT_GNU_versym
SYMBOL_SIZE, GLOBAL = 24, 1  # STB_GLOBAL: not a weak symbol, which may be missing
LIBRARY_FLAGS = ("-shared", "-s", "-fPIC", "-fvisibility=hidden", "-ldl")


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


def compile_extension(target: str, output: Path) -> None:
    """Compile all of c/ for a platform.

    Raises:
        SystemExit: The platform is unknown, Python's headers are missing, the compiler fails, or a C file is
            missing.
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
    finished = subprocess.run([*compiler, f"-I{include}", *sources, "-o", str(unfinished)], check=False)
    if finished.returncode:
        raise SystemExit(f"the compiler failed with status {finished.returncode}")
    if missing := find_missing(unfinished.read_bytes()):
        unfinished.unlink()
        raise SystemExit(f"{ROOT / 'c'} defines nowhere: {', '.join(missing)}")
    unfinished.replace(output)


def find_missing(library: bytes) -> list[str]:
    """Find what a shared library needs from elsewhere and is neither Python's nor any other library's.

    The linker cannot report it: with -z defs it would report Python's functions too, which the interpreter
    brings and no library.

    Args:
        library: A 64-bit ELF file, linked with the C library.

    Returns:
        Names of symbols.
    """
    (offset,), (size, count) = unpack_from("<Q", library, 0x28), unpack_from("<HH", library, 0x3A)
    sections = [unpack_from("<IIQQQQI", library, offset + i * size) for i in range(count)]
    by_kind = {section[1]: section for section in sections}
    _, _, _, _, symbols, symbols_size, names_section = by_kind[SYMBOLS]
    names, versions = sections[names_section][4], by_kind[VERSIONS][4]
    missing = []
    for i in range(1, symbols_size // SYMBOL_SIZE):
        name_at, binding, defined_in = unpack_from("<IBxH", library, symbols + i * SYMBOL_SIZE)
        (version,) = unpack_from("<H", library, versions + 2 * i)
        name = library[names + name_at : library.index(0, names + name_at)].decode()
        is_needed, is_found = not defined_in and binding >> 4 == GLOBAL, version > 1  # a library's version
        if is_needed and not is_found and not name.lstrip("_").startswith("Py"):
            missing.append(name)
    return missing


if __name__ == "__main__":
    compile_extension(platform.machine(), ROOT / EXTENSION)
