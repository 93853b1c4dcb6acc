"""The files of the programs: a Debian of that time, wheels of ncnn, its networks, three libraries.

Each step makes one folder or file, and is skipped if it exists. The twin's QEMU must have been built.
"""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Final

from bench.twin import cpu_model
from bench.twin.build import run_step
from bench.twin.debian import Archive
from bench.twin.layout import (
    CORES,
    REPOSITORY,
    SOURCES,
    Twin,
    TwinError,
    UnavailableError,
    atomic_folder,
    run,
)
from bench.twin.published.programs import GUEST, NCNN_VERSIONS

SUITE: Final = (
    "bullseye"  # of 2021: Python 3.9, for which all of these wheels of ncnn exist, OpenSSL 1.1.1, 7-Zip 16.02
)
PYTHON: Final = "3.9"
ROOT: Final = ("libc-bin", "libgcc-s1", "libstdc++6", "libgomp1", "python3", "dash", "libssl1.1", "p7zip")
ZIG: Final = "ziglang==0.15.1"
COMPILER: Final = (
    "cc", "-target", "aarch64-linux-gnu.2.17", "-mcpu=cortex_a53-aes-sha2",
    "-std=c11", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-s",
)  # fmt: skip
ORT_API: Final = REPOSITORY / "export" / "kernels" / "c"  # ort_api.h, which team.c includes
LIBRARIES: Final = (GUEST / "loops.c", GUEST / "marks.c", SOURCES / "threads" / "team.c")


def published_folder(twin: Twin) -> Path:
    """Where all of it is."""
    return twin.folder / "published"


def root_folder(folder: Path) -> Path:
    """The file system that the programs run in."""
    return folder / f"root-{SUITE}"


def prepare(twin: Twin, ncnn: Path | None) -> Path:
    """Make what is missing.

    Args:
        twin: A twin that was built.
        ncnn: A clone of ncnn's repository with the wheels' tags; only needed while networks are missing.

    Returns:
        The folder.

    Raises:
        UnavailableError: If a download fails or the clone is missing.
        TwinError: If a step fails.
    """
    folder = published_folder(twin)
    folder.mkdir(parents=True, exist_ok=True)
    run_step(f"root of {SUITE}", root_folder(folder), partial(make_root, twin, folder))
    for version in NCNN_VERSIONS:
        wheel, networks = folder / f"ncnn-{version}", folder / f"params-{version}"
        run_step(wheel.name, wheel, partial(install_ncnn, twin, wheel, version))
        run_step(networks.name, networks, partial(copy_networks, ncnn, version, networks))
    old = [source for source in LIBRARIES if is_older(folder / f"{source.stem}.so", source)]
    if old:
        run_step("Zig", folder / "zig", partial(install_zig, twin, folder / "zig"))
    for source in old:
        compile_library(folder, source)
    return folder


def is_older(output: Path, source: Path) -> bool:
    """Whether a file must be made, because it is missing or its source has changed."""
    return not output.exists() or output.stat().st_mtime < source.stat().st_mtime


def make_root(twin: Twin, folder: Path) -> None:
    """Unpack the Debian, and describe the board's processor in it."""
    with atomic_folder(root_folder(folder)) as root:
        archive = Archive(folder / f"apt-{SUITE}", SUITE, "arm64")
        archive.fetch(*ROOT)
        archive.unpack(root)
        cpu_model.write_cpu_files(root, twin.board)
        # ncnn reads it to divide the second cache by the cores that share it.
        for cache in root.glob("sys/devices/system/cpu/cpu*/cache/index*"):
            core = int(cache.parents[1].name.removeprefix("cpu"))
            shared = (cache / "level").read_text().strip() == "2"
            (cache / "shared_cpu_map").write_text(f"{(1 << CORES) - 1 if shared else 1 << core:x}\n")


def pip_install(twin: Twin, target: Path, *arguments: str) -> None:
    """Install a package without its dependencies in a folder, with Debian's pip."""
    wheel = next((twin.tools / "usr" / "share" / "python-wheels").glob("pip-*.whl"))
    with atomic_folder(target) as folder:
        run([
            sys.executable, f"{wheel}/pip", "install", "--quiet", "--no-deps", "--no-compile",
            "--only-binary=:all:", "--target", folder, *arguments,
        ], error=UnavailableError)  # fmt: skip


def install_ncnn(twin: Twin, target: Path, version: str) -> None:
    """Install a wheel of ncnn."""
    platform = ("--implementation", "cp", "--abi", f"cp{PYTHON.replace('.', '')}")
    pip_install(
        twin, target, *platform, "--platform", "manylinux2014_aarch64", "--python-version", PYTHON,
        f"ncnn==1.0.{version}",
    )  # fmt: skip


def install_zig(twin: Twin, target: Path) -> None:
    """Install Zig, which compiles for the board."""
    pip_install(twin, target, ZIG)


def compile_library(folder: Path, source: Path) -> None:
    """Compile a library that runs in the guest."""
    output = folder / f"{source.stem}.so"
    unfinished = output.with_suffix(".partial")
    environment = {**os.environ, "PYTHONPATH": str(folder / "zig")}
    run(
        [sys.executable, "-m", "ziglang", *COMPILER, "-I", ORT_API, source, "-o", unfinished],
        env=environment,
    )
    unfinished.replace(output)


def copy_networks(clone: Path | None, tag: str, target: Path) -> None:
    """Copy benchncnn's networks of a version from a clone of the repository.

    Raises:
        UnavailableError: If there is no clone.
        TwinError: If it lacks the tag.
    """
    if clone is None:
        raise UnavailableError(
            "the networks of ncnn's benchmark are missing",
            "git clone https://github.com/Tencent/ncnn, and pass the folder with --ncnn",
        )
    if not shutil.which("git"):
        raise UnavailableError("git is not installed", "on Debian: sudo apt install git")
    with atomic_folder(target) as folder:
        archive = subprocess.run(
            ["git", "-C", str(clone), "archive", tag, "benchmark"], capture_output=True, check=False
        )
        if archive.returncode:
            message = archive.stderr.decode(errors="replace").strip()
            raise TwinError(f"{clone} has no benchmark of {tag}: {message}", "git fetch --tags there")
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
        for param in (folder / "benchmark").glob("*.param"):
            param.rename(folder / param.name)
        shutil.rmtree(folder / "benchmark")
