"""Environments of the client programs: one for each, because their pinned dependencies exclude each other.

In: the files of `requirements/`. Out: the command that runs a program, or why it cannot run. Environments are
kept in .venv-clients and made again when their requirements change.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.environments import NotInstalledError, prepare_python, run_installer

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
REQUIREMENTS = HERE / "requirements"
ENVIRONMENTS = HERE.parent.parent / ".venv-clients"


@dataclass(frozen=True)
class Client:
    """A client program."""

    name: str
    """Name in the table."""
    program: str
    """File in `programs/`."""
    environment: str | None = None
    """Name of its requirements; None for a program that needs none besides `executable`."""
    executable: str | None = None
    """Program of the machine that it needs."""
    debian_package: str | None = None
    """Debian's package of the executable."""


CLIENTS = (
    Client("openai (Python)", "use_openai.py", "openai"),
    Client("openai (Node)", "use_node_openai.mjs", "node"),
    Client("LiteLLM", "use_litellm.py", "litellm"),
    Client("LangChain (langchain-openai)", "use_langchain.py", "langchain"),
    Client("LlamaIndex (llms-openai-like)", "use_llama_index.py", "llama-index"),
    Client("pydantic-ai", "use_pydantic_ai.py", "pydantic-ai"),
    Client("instructor", "use_instructor.py", "instructor"),
    Client("llm", "use_llm.py", "llm"),
    Client("Vercel AI SDK", "use_ai_sdk.mjs", "node"),
    Client("lm-evaluation-harness", "use_lm_eval.py", "lm-eval"),
    Client("guidellm", "use_guidellm.py", "guidellm"),
    Client("aiperf", "use_aiperf.py", "aiperf"),
    Client("promtool", "use_promtool.py", executable="promtool", debian_package="prometheus"),
    Client("HAProxy", "use_haproxy.py", executable="haproxy", debian_package="haproxy"),
    Client("nginx", "use_nginx.py", executable="nginx", debian_package="nginx-light"),
)


def prepare_command(client: Client) -> list[str]:
    """Install a client if necessary and return the command that runs its program.

    Raises:
        NotInstalledError: It cannot be installed, or a program of the machine is missing.
    """
    if client.executable and not shutil.which(client.executable):
        raise NotInstalledError(
            f"{client.executable} is missing; Debian: apt install {client.debian_package}"
        )
    if client.environment is None:
        return [sys.executable, str(PROGRAMS / client.program)]
    if client.program.endswith(".mjs"):
        folder = _prepare_node(ENVIRONMENTS / client.environment)
        return ["node", str(folder / client.program)]
    return [_prepare_python(client.environment), str(PROGRAMS / client.program)]


def _prepare_python(name: str) -> str:
    requirements = REQUIREMENTS / f"{name}.txt"
    return str(prepare_python(ENVIRONMENTS / name, requirements.read_text(), "-r", str(requirements)))


def _prepare_node(folder: Path) -> Path:
    """Install the packages, and copy the programs: node looks for packages in the folder of a program."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise NotInstalledError("node or npm is missing")
    manifest, ready = (REQUIREMENTS / "node.json").read_text(), folder / "ready"
    if not ready.exists() or ready.read_text() != manifest:
        print("clients: installing the packages for node")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(manifest)
        run_installer(
            "npm",
            "install",
            "--silent",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(folder),
        )
        ready.write_text(manifest)
    for program in PROGRAMS.glob("*.mjs"):
        shutil.copy(program, folder)
    return folder
