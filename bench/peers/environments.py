"""A separate environment for each runtime, so that its size and its imports are its own.

In: a folder and the package index. Out: an Environment for each runtime. Does not know what the runtimes do.
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
from tinyedge.deploy.kernels_wheel import SOURCES as KERNELS
from tinyedge.deploy.own_wheel import DISTRIBUTION

REPOSITORY = Path(__file__).parents[2]
# What a user would install, as wheels. tinyedge's own and that of its kernels are built from this checkout.
PACKAGES: Mapping[str, Sequence[str]] = {
    "tinyedge": (),
    "onnxruntime-genai": ("onnxruntime-genai",),
    "llama.cpp-xllamacpp": ("xllamacpp",),
    "llama.cpp-cyllama": ("cyllama",),
    "transformers": ("transformers", "torch>=2.10,<2.14"),
}
MODEL_TOOLS = "maker"  # folder of the packages that make the models, on top of transformers' environment
MODEL_TOOL_PACKAGES = ("gguf", "onnx", "onnx-ir")
READY_FILE = "ready"  # written last; its content is what the environment was made from
SHORT_TIMEOUTS = {"PIP_RETRIES": "1", "PIP_DEFAULT_TIMEOUT": "30", "UV_HTTP_TIMEOUT": "30"}
VERSION_SCRIPT = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"


@dataclass(frozen=True)
class Environment:
    """The environment of one runtime."""

    folder: Path
    """Folder of the virtual environment."""
    version: str
    """Version of the runtime."""
    size: int
    """Size of all packages in it, in bytes, bytecode included."""

    @property
    def python(self) -> Path:
        """Path of its Python."""
        return get_python(self.folder)

    @property
    def packages(self) -> Path:
        """Folder of its packages."""
        return get_site_packages(self.folder)


def prepare_environment(root: Path, name: str) -> Environment:
    """Make the environment of a runtime, or reuse it; tinyedge is installed again each time.

    Args:
        root: Folder of all environments.
        name: A key of PACKAGES.

    Raises:
        BenchError: The installation failed; the message has the installer's own reason.
    """
    folder = root / name
    wanted = " ".join(PACKAGES[name]) or (REPOSITORY / "pyproject.toml").read_text()
    ready = folder / READY_FILE
    if not (ready.exists() and ready.read_text() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, symlinks=True)
        if PACKAGES[name]:
            install(folder, "--only-binary", ":all:", *PACKAGES[name])
        else:
            install(folder, str(REPOSITORY), str(KERNELS))
        ready.write_text(wanted)
    elif name == "tinyedge":
        install(folder, "--no-deps", "--force-reinstall", str(REPOSITORY), str(KERNELS))
    version = run_command(
        [get_python(folder), "-c", VERSION_SCRIPT, (PACKAGES[name] or (DISTRIBUTION,))[0]]
    ).strip()
    return Environment(folder, version, measure_size(get_site_packages(folder)))


def prepare_model_tools(root: Path) -> Path:
    """Install the packages that make the models, or reuse them, and return their folder.

    Raises:
        BenchError: The installation failed.
    """
    folder = root / MODEL_TOOLS
    if not (folder / READY_FILE).exists():
        shutil.rmtree(folder, ignore_errors=True)
        options = ("--only-binary", ":all:", "--target", str(folder))
        install(root / "transformers", *options, *MODEL_TOOL_PACKAGES)
        (folder / READY_FILE).touch()
    return folder


def install(folder: Path, *arguments: str) -> None:
    """Install packages in an environment, with uv if it is installed, else with this Python's pip."""
    python = str(get_python(folder))
    if shutil.which("uv"):
        command = ["uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    else:
        quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
        command = [sys.executable, "-m", "pip", "--python", python, "install", *quiet]
    run_command([*command, *arguments])


def run_command(command: Sequence[str | Path], **variables: str) -> str:
    """Run a command with additional environment variables and return its standard output.

    Raises:
        BenchError: The command failed; the message is the line of its standard error with the reason.
    """
    done = subprocess.run(
        list(command),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **SHORT_TIMEOUTS, **variables},
    )
    if done.returncode:
        raise BenchError(extract_reason(done.stderr))
    return done.stdout


def extract_reason(errors: str) -> str:
    """Return the line of an installer's or Python's standard error that has the reason of a failure."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    # pip's own reason starts with "ERROR"; its "error: subprocess-exited" has no reason
    reasons = [line for line in lines if line.startswith("ERROR")] or [
        line for line in lines if "error" in line
    ]
    return (reasons or lines or ["no error message"])[-1]


def measure_size(path: Path) -> int:
    """Return the size of a file, or of all files in a folder, in bytes, without following links."""
    found = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in found if not file.is_dir())


def get_python(folder: Path) -> Path:
    """Return the path of an environment's Python."""
    return folder / "bin" / "python"


def get_site_packages(folder: Path) -> Path:
    """Return the folder of an environment's packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return folder / "lib" / version / "site-packages"
