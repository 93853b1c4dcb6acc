"""Builds the twin from nothing: each step makes one folder, and is left out when the folder is there."""

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
from pathlib import Path

from bench.twin import cpu_model
from bench.twin.debian import Archive, program
from bench.twin.layout import REPOSITORY, SOURCES, Twin, TwinError, UnavailableError, run, whole
from bench.twin.user_emulation import Guest
from tinyedge.deploy.own_wheel import WHEEL_PATTERN

TOOLS_SUITE = "bookworm"  # whose QEMU `pi` knows
ROOT = (
    "base-files", "bash", "dash", "coreutils", "grep", "sed", "mawk", "mount", "util-linux", "procps",
    "libc-bin", "libgcc-s1", "libstdc++6", "libgomp1", "python3",
)  # fmt: skip
# pip takes a tag at its word, so that each older one has to be named too.
PLATFORMS = ("manylinux_2_36", "manylinux_2_34", "manylinux_2_31", "manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "linux")  # fmt: skip # noqa: E501
MADE_FROM = "made-from"  # the file in a folder of packages that says what they were made from
BAD_ONNXRUNTIME = "1.21.0"  # the release that dies on ARMv8.0


def build(twin: Twin) -> None:
    """Makes what is missing to run programs, and brings tinyedge in the root up to date.

    Raises UnavailableError where this machine cannot have a twin, TwinError where making it fails.
    """
    if platform.machine() != "x86_64":
        raise UnavailableError(f"this machine is {platform.machine()}; the twin is built on x86_64")
    for name in ("apt-get", "dpkg-deb", "setarch"):
        program(name)
    twin.folder.mkdir(parents=True, exist_ok=True)
    step("QEMU", twin.tools, lambda: make_tools(twin))
    step("root", twin.root, lambda: make_root(twin))
    step("bytecode", twin.root / "opt" / "compiled", lambda: compile_library(twin))
    install_packages(twin)
    install_product(twin)


def step(name: str, made: Path, make: Callable[[], None]) -> None:
    """Runs `make` unless what it makes is there."""
    if not made.exists():
        begin = time.monotonic()
        make()
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)


def make_tools(twin: Twin) -> None:
    """Debian's user-mode QEMU and pip for this machine, and the Pi's copy of QEMU."""
    with whole(twin.tools) as folder:
        archive = Archive(twin.folder / "apt-tools", TOOLS_SUITE, "amd64")
        archive.fetch("qemu-user", "python3-pip-whl")
        archive.unpack(folder)
        cpu_model.make_program(folder, "qemu-aarch64")


def make_system_tools(twin: Twin) -> None:
    """Debian's full-system QEMU for this machine, and the Pi's copy of it."""
    with whole(twin.system_tools) as folder:
        archive = Archive(twin.folder / "apt-system-tools", TOOLS_SUITE, "amd64")
        archive.fetch("qemu-system-arm")
        archive.unpack(folder)
        cpu_model.make_program(folder, "qemu-system-aarch64")


def make_plugin(twin: Twin) -> None:
    """Compiles the counting plugin, if its source has changed since."""
    source = SOURCES / "counter.c"
    if not twin.plugin.exists() or twin.plugin.stat().st_mtime < source.stat().st_mtime:
        run([program("cc"), "-O2", "-shared", "-fPIC", "-o", twin.plugin, source])


def make_root(twin: Twin) -> None:
    """The board's Debian with Python."""
    with whole(twin.root) as folder:
        archive = Archive(twin.folder / f"apt-{twin.suite}", twin.suite, "arm64")
        archive.fetch(*ROOT)
        archive.unpack(folder)
        if not (folder / "bin" / "sh").exists():
            (folder / "bin" / "sh").symlink_to("dash")
        cpu_model.write_cpu_files(folder)


def compile_library(twin: Twin) -> None:
    """Python's own modules."""
    compile_bytecode(twin, twin.root / "usr" / "lib" / f"python{twin.python_version}", twin.root, "/")
    (twin.root / "opt").mkdir(exist_ok=True)
    (twin.root / "opt" / "compiled").touch()


def pip(twin: Twin, *arguments: str | Path) -> None:
    """Runs Debian's pip, which works out of its wheel, for the board's Python and processor."""
    wheel = next((twin.tools / "usr" / "share" / "python-wheels").glob("pip-*.whl"))
    platforms = [word for name in PLATFORMS for word in ("--platform", f"{name}_aarch64")]
    abis = [
        word
        for name in (f"cp{twin.python_version.replace('.', '')}", "abi3", "none")
        for word in ("--abi", name)
    ]
    command, *rest = arguments
    run([
        sys.executable, f"{wheel}/pip", command, "--quiet", "--only-binary=:all:", "--implementation", "cp",
        "--python-version", twin.python_version, *abis, *platforms, "--platform", "any", *rest,
    ], error=UnavailableError if "--no-index" not in rest else TwinError)  # fmt: skip


def install_packages(twin: Twin) -> None:
    """tinyedge's dependencies, resolved for the board, unless those that are required are there."""
    required = required_packages()
    stamp = twin.packages / MADE_FROM
    if stamp.exists() and stamp.read_text() == required:
        return
    wheel = make_wheel(twin)
    with whole(twin.wheels) as folder:
        pip(twin, "download", "--dest", folder, wheel)
        (folder / wheel.name).unlink()
    install(twin, twin.packages, sorted(twin.wheels.glob("*.whl")), required)


def required_packages() -> str:
    """The dependencies of tinyedge, as written down."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return "\n".join(project["dependencies"])


def install(twin: Twin, target: Path, wheels: Sequence[Path], made_from: str) -> None:
    """Installs wheels in a folder of the root, with bytecode, and notes what they were made from."""
    with whole(target) as folder:
        # What Python a wheel requires was asked for the board when it was downloaded; here pip asks its own.
        alone = ("--no-index", "--no-deps", "--ignore-requires-python")
        pip(twin, "install", "--no-compile", *alone, "--target", folder, *wheels)
        compile_bytecode(twin, folder, folder, f"/opt/{target.name}")
        (folder / MADE_FROM).write_text(made_from)
    print(f"{target.name}: installed", flush=True)


def make_wheel(twin: Twin) -> Path:
    """Builds tinyedge's wheel as a release does, if its sources have changed since."""
    folder = twin.folder / f"product-{sources_digest()[:16]}"
    if not folder.exists():
        for old in twin.folder.glob("product-*"):
            shutil.rmtree(old)
        # The backend is fetched anew for each build unless it is there.
        isolation = ["--no-isolation"] if importlib.util.find_spec("hatchling") else []
        with whole(folder) as unfinished:
            run([sys.executable, "-m", "build", "--wheel", *isolation, "--outdir", unfinished, REPOSITORY])
    return next(folder.glob(WHEEL_PATTERN))


def install_product(twin: Twin) -> None:
    """Installs tinyedge's wheel in the root, if it is another one."""
    wheel = make_wheel(twin)
    stamp = twin.product / MADE_FROM
    if not stamp.exists() or stamp.read_text() != wheel.parent.name:
        install(twin, twin.product, [wheel], wheel.parent.name)


def sources_digest() -> str:
    """Of all that goes into the wheel."""
    digest = hashlib.sha256()
    files = [
        file
        for folder in ("tinyedge", "export")
        for file in (REPOSITORY / folder).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    ]
    for file in [REPOSITORY / "pyproject.toml", *sorted(files)]:
        digest.update(str(file.relative_to(REPOSITORY)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def compile_bytecode(twin: Twin, folder: Path, strip: Path, prepend: str) -> None:
    """Writes .pyc files, as an installation on the board does: an import without them costs twice as much.

    strip, prepend: a file's name in the guest has the second in place of the first. A minor version of Python
    has one bytecode on every processor: this machine's Python does it if it is the same.
    """
    # Not by time: copying the root into a disk must not make them stale.
    arguments = [
        "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash",
        "-s", str(strip), "-p", prepend, str(folder),
    ]  # fmt: skip
    guest = Guest(twin)
    if f"{sys.version_info.major}.{sys.version_info.minor}" == twin.python_version:
        command, environment = [sys.executable, *arguments], dict(os.environ)
    else:
        command, environment = guest.command(arguments), guest.environment()
    # Its exit code says nothing: some packages hold files that are meant not to compile.
    subprocess.run(
        command, env=environment, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def install_bad_packages(twin: Twin) -> Path:
    """The onnxruntime that a Pi cannot run, apart from the others."""
    if not twin.bad_packages.exists():
        with whole(twin.bad_packages) as folder:
            pip(
                twin,
                "install",
                "--no-compile",
                "--no-deps",
                "--target",
                folder,
                f"onnxruntime=={BAD_ONNXRUNTIME}",
            )
    return twin.bad_packages
