"""Build of the twin: each step makes one folder, and is skipped if the folder exists."""

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from bench.twin import cpu_model
from bench.twin.counts import Figures, modelled_ms
from bench.twin.debian import Archive, find_program
from bench.twin.layout import (
    BOARD,
    LATENCY,
    REPOSITORY,
    SOURCES,
    Twin,
    TwinError,
    UnavailableError,
    atomic_folder,
    run,
)
from bench.twin.user_emulation import Guest
from tinyedge.deploy.kernels_wheel import SOURCES as KERNELS
from tinyedge.deploy.kernels_wheel import TARGET_VARIABLE
from tinyedge.deploy.own_wheel import BUILT, WHEEL_PATTERN

TOOLS_SUITE = "bookworm"  # its QEMU is the one that `cpu_model` can change
ROOT = (
    "base-files", "bash", "dash", "coreutils", "grep", "sed", "mawk", "mount", "util-linux", "procps",
    "libc-bin", "libgcc-s1", "libstdc++6", "libgomp1", "python3",
)  # fmt: skip
MADE_FROM = "made-from"  # file in a folder of packages that records its inputs
# The onnxruntime that fails on processors without a feature, for `self_check`.
(BAD_ONNXRUNTIME,) = (bad for bad in BOARD.bad_packages if bad.package == "onnxruntime")


def build(twin: Twin) -> None:
    """Build what is missing to run programs, and update tinyedge in the root.

    Raises:
        UnavailableError: If this machine cannot have a twin.
        TwinError: If the build fails.
    """
    if platform.machine() != "x86_64":
        raise UnavailableError(f"this machine is {platform.machine()}; the twin needs x86_64")
    for name in ("apt-get", "dpkg-deb", "setarch"):
        find_program(name)
    twin.folder.mkdir(parents=True, exist_ok=True)
    run_step("QEMU", twin.tools, lambda: make_tools(twin))
    run_step("root", twin.root, lambda: make_root(twin))
    cpu_model.write_cpu_files(twin.root, twin.board)
    run_step("bytecode", twin.root / "opt" / "compiled", lambda: compile_library(twin))
    install_packages(twin)
    install_product(twin)


def run_step(name: str, result: Path, make: Callable[[], None]) -> None:
    """Run `make` unless its result exists, and print the time."""
    if not result.exists():
        started = time.monotonic()
        make()
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)


def make_tools(twin: Twin) -> None:
    """Unpack Debian's user-mode QEMU and pip for this machine, and make the Pi's copy of QEMU."""
    with atomic_folder(twin.tools) as folder:
        archive = Archive(twin.folder / "apt-tools", TOOLS_SUITE, "amd64")
        archive.fetch("qemu-user", "python3-pip-whl")
        archive.unpack(folder)
        cpu_model.make_program(folder, "qemu-aarch64")


def make_system_tools(twin: Twin) -> None:
    """Unpack Debian's full-system QEMU for this machine, and make the Pi's copy of it."""
    with atomic_folder(twin.system_tools) as folder:
        archive = Archive(twin.folder / "apt-system-tools", TOOLS_SUITE, "amd64")
        archive.fetch("qemu-system-arm")
        archive.unpack(folder)
        cpu_model.make_program(folder, "qemu-system-aarch64")


def make_plugin(twin: Twin) -> None:
    """Compile the counting plugin, unless it was made from the same source and constants."""
    sources = sorted((SOURCES / "counter").glob("*.[ch]"))
    # What a clock in the guest adds for one of each count: the counts are a linear model's.
    picoseconds = (round(1e9 * modelled_ms(Figures(**{each.name: 1}), LATENCY)) for each in fields(Figures))
    constant = f"-DPS_PER_COUNT={{{','.join(map(str, picoseconds))}}}"
    code = b"".join(path.read_bytes() for path in sources)
    made_from = hashlib.sha256(code + constant.encode()).hexdigest()
    stamp = twin.plugin.with_suffix(f".{MADE_FROM}")
    if twin.plugin.exists() and stamp.exists() and stamp.read_text() == made_from:
        return
    programs = [path for path in sources if path.suffix == ".c"]
    run([find_program("cc"), "-O3", "-flto", "-shared", "-fPIC", constant, "-o", twin.plugin, *programs])
    stamp.write_text(made_from)


def make_root(twin: Twin) -> None:
    """Unpack the board's Debian with Python."""
    with atomic_folder(twin.root) as folder:
        archive = Archive(twin.folder / f"apt-{twin.suite}", twin.suite, "arm64")
        archive.fetch(*ROOT)
        archive.unpack(folder)
        if not (folder / "bin" / "sh").exists():
            (folder / "bin" / "sh").symlink_to("dash")


def compile_library(twin: Twin) -> None:
    """Compile Python's own modules to bytecode."""
    compile_bytecode(twin, twin.root / "usr" / "lib" / f"python{twin.python_version}", twin.root, "/")
    (twin.root / "opt").mkdir(exist_ok=True)
    (twin.root / "opt" / "compiled").touch()


def pip(twin: Twin, *arguments: str | Path) -> None:
    """Run Debian's pip, straight from its wheel, for the board's Python and processor."""
    wheel = next((twin.tools / "usr" / "share" / "python-wheels").glob("pip-*.whl"))
    board = twin.board.wheel_platform
    platforms = [word for name in board.platforms for word in ("--platform", name)]
    abis = [word for name in board.abis(twin.python_version) for word in ("--abi", name)]
    command, *rest = arguments
    run([
        sys.executable, f"{wheel}/pip", command, "--quiet", "--only-binary=:all:", "--implementation", "cp",
        "--python-version", twin.python_version, *abis, *platforms, *rest,
    ], error=UnavailableError if "--no-index" not in rest else TwinError)  # fmt: skip


def install_packages(twin: Twin) -> None:
    """Install tinyedge's dependencies, resolved for the board, unless they are up to date."""
    required = read_requirements()
    stamp = twin.packages / MADE_FROM
    if stamp.exists() and stamp.read_text() == required:
        return
    wheel = next(make_wheels(twin).glob(WHEEL_PATTERN))
    with atomic_folder(twin.wheels) as folder:
        pip(twin, "download", "--dest", folder, wheel)
        (folder / wheel.name).unlink()
    install(twin, twin.packages, sorted(twin.wheels.glob("*.whl")), required)


def read_requirements() -> str:
    """The dependencies of tinyedge, one on each line, as in pyproject.toml."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return "\n".join(project["dependencies"])


def install(twin: Twin, target: Path, wheels: Sequence[Path], made_from: str) -> None:
    """Install wheels in a folder of the root, with bytecode.

    Args:
        twin: Where to install.
        target: The folder, which is replaced.
        wheels: Files to install, without their dependencies.
        made_from: Description of the inputs, recorded in the folder.
    """
    with atomic_folder(target) as folder:
        # The download checked Requires-Python for the board; here pip would check it for this Python.
        alone = ("--no-index", "--no-deps", "--ignore-requires-python")
        pip(twin, "install", "--no-compile", *alone, "--target", folder, *wheels)
        compile_bytecode(twin, folder, folder, f"/opt/{target.name}")
        (folder / MADE_FROM).write_text(made_from)
    print(f"{target.name}: installed", flush=True)


def make_wheels(twin: Twin) -> Path:
    """Build the wheels of tinyedge and its kernels as a release does, unless they are of the same sources.

    Returns:
        Their folder.
    """
    folder = twin.folder / f"product-{hash_sources()[:16]}"
    if not folder.exists():
        for old in twin.folder.glob("product-*"):
            shutil.rmtree(old)
        with atomic_folder(folder) as unfinished:
            machine = twin.board.processor.machine
            build_wheel(machine, REPOSITORY, unfinished, "hatchling")
            build_wheel(machine, KERNELS, unfinished, "hatchling", "ziglang")
    return folder


def build_wheel(machine: str, sources: Path, folder: Path, *tools: str) -> None:
    """Build a wheel for an architecture in `folder`."""
    # An isolated build downloads the tools each time.
    isolation = ["--no-isolation"] if all(map(importlib.util.find_spec, tools)) else []
    run(
        [sys.executable, "-m", "build", "--wheel", *isolation, "--outdir", folder, sources],
        env={**os.environ, TARGET_VARIABLE: machine},
    )


def install_product(twin: Twin) -> None:
    """Install the wheels of tinyedge and its kernels in the root, unless they are there."""
    folder = make_wheels(twin)
    stamp = twin.product / MADE_FROM
    if not stamp.exists() or stamp.read_text() != folder.name:
        install(twin, twin.product, sorted(folder.glob("*.whl")), folder.name)


def hash_sources() -> str:
    """The sha256 of all files that go into the wheels, in hexadecimal."""
    digest = hashlib.sha256()
    files = [
        file
        for folder in ("tinyedge", "export")
        for file in (REPOSITORY / folder).rglob("*")
        if file.is_file() and file.suffix != BUILT and "__pycache__" not in file.parts
    ]
    for file in [REPOSITORY / "pyproject.toml", *sorted(files)]:
        digest.update(str(file.relative_to(REPOSITORY)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def compile_bytecode(twin: Twin, folder: Path, strip: Path, prepend: str) -> None:
    """Write .pyc files, as an installation on the board does: an import without them costs twice as much.

    Bytecode depends on Python's minor version only: this machine's Python compiles if it has the same.

    Args:
        twin: Whose Python the bytecode is for.
        folder: Modules to compile.
        strip: Beginning of the files' paths that is replaced.
        prepend: Beginning of their paths in the guest.
    """
    # Not checked by time: copying the root to a disk image must not make them stale.
    arguments = [
        "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash",
        "-s", str(strip), "-p", prepend, str(folder),
    ]  # fmt: skip
    guest = Guest(twin)
    if f"{sys.version_info.major}.{sys.version_info.minor}" == twin.python_version:
        command, environment = [sys.executable, *arguments], dict(os.environ)
    else:
        command, environment = guest.command(arguments), guest.environment()
    # The exit code is ignored: some packages contain files that are not meant to compile.
    subprocess.run(
        command, env=environment, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def install_bad_packages(twin: Twin) -> Path:
    """Install the onnxruntime that a Pi cannot run, in a folder of its own, and return the folder."""
    if not twin.bad_packages.exists():
        with atomic_folder(twin.bad_packages) as folder:
            options = ("--no-compile", "--no-deps", "--target")
            pip(twin, "install", *options, folder, f"onnxruntime=={BAD_ONNXRUNTIME.version}")
    return twin.bad_packages
