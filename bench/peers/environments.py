"""An environment for each runtime, alone in it: what it weighs and what it loads are its own.

In: a folder and the package index. Out: Pythons that can run one runtime each, and their packages' size.
"""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.errors import BenchError
from tinyedge.deploy.own_wheel import DISTRIBUTION

REPOSITORY = Path(__file__).parents[2]
# What a user would install, as wheels. tinyedge's own comes from this checkout.
PACKAGES: Mapping[str, Sequence[str]] = {
    "tinyedge": (),
    "onnxruntime-genai": ("onnxruntime-genai",),
    "llama.cpp-xllamacpp": ("xllamacpp",),
    "llama.cpp-cyllama": ("cyllama",),
    "transformers": ("transformers", "torch>=2.10,<2.14"),
}
MAKER = "maker"  # what the models are made with, on top of transformers' environment
MAKER_PACKAGES = ("gguf", "onnx", "onnx-ir")
READY = "ready"  # the file in an environment that says what it was made from
IMPATIENT = {"PIP_RETRIES": "1", "PIP_DEFAULT_TIMEOUT": "30", "UV_HTTP_TIMEOUT": "30"}
VERSION = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"


@dataclass(frozen=True)
class Environment:
    """A runtime's own Python. version: of the runtime. size: bytes of its packages, bytecode included."""

    folder: Path
    version: str
    size: int

    @property
    def python(self) -> Path:
        return python_of(self.folder)

    @property
    def packages(self) -> Path:
        return packages_of(self.folder)


def prepare(root: Path, name: str) -> Environment:
    """Makes the environment of a runtime unless it is there; tinyedge is installed anew each time.

    Raises BenchError with the installer's own reason.
    """
    folder = root / name
    wanted = " ".join(PACKAGES[name]) or (REPOSITORY / "pyproject.toml").read_text()
    ready = folder / READY
    if not (ready.exists() and ready.read_text() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, symlinks=True)
        if PACKAGES[name]:
            install(folder, "--only-binary", ":all:", *PACKAGES[name])
        else:
            install(folder, str(REPOSITORY))
        ready.write_text(wanted)
    elif name == "tinyedge":
        install(folder, "--no-deps", "--force-reinstall", str(REPOSITORY))
    version = run([python_of(folder), "-c", VERSION, (PACKAGES[name] or (DISTRIBUTION,))[0]]).strip()
    return Environment(folder, version, size_of(packages_of(folder)))


def prepare_maker(root: Path) -> Path:
    """The folder of packages that the models are made with. Raises BenchError as `prepare` does."""
    folder = root / MAKER
    if not (folder / READY).exists():
        shutil.rmtree(folder, ignore_errors=True)
        alone = ("--only-binary", ":all:", "--target", str(folder))
        install(root / "transformers", *alone, *MAKER_PACKAGES)
        (folder / READY).touch()
    return folder


def install(folder: Path, *arguments: str) -> None:
    """Installs in an environment, with uv where it is there, else with this Python's pip."""
    python = str(python_of(folder))
    if shutil.which("uv"):
        command = ["uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    else:
        quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
        command = [sys.executable, "-m", "pip", "--python", python, "install", *quiet]
    run([*command, *arguments])


def run(command: Sequence[str | Path], **variables: str) -> str:
    """What a command printed. Raises BenchError with the line that says why it failed."""
    done = subprocess.run(
        list(command),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **IMPATIENT, **variables},
    )
    if done.returncode:
        raise BenchError(reason(done.stderr))
    return done.stdout


def reason(errors: str) -> str:
    """The line of an installer's or a Python's standard error that says why."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    # pip's own reason is in capitals; "error: subprocess-exited" only says that there is one
    said = [line for line in lines if line.startswith("ERROR")] or [line for line in lines if "error" in line]
    return (said or lines or ["it said nothing"])[-1]


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files under a folder, links not followed."""
    found = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in found if not file.is_dir())


def python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def packages_of(folder: Path) -> Path:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return folder / "lib" / version / "site-packages"
