"""Test the complete deployment, with this machine as the board and the packages that a user gets.

    python -m bench.deploy.end_to_end [BUNDLE]

Makes a kit from the package index, installs it into a new folder without a network, deploys it to an SSH
server on loopback twice, and runs the service's commands under the service's hardening. Not part of
`make test`, because it downloads 50 MB. Exit codes: 0 success, 1 failure.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support import sshd
from tinyedge.boards.load import wheel_platform
from tinyedge.bundle.bundle import load_bundle
from tinyedge.deploy.kit import KitBuilder, get_kit_folder

ROOT = Path(__file__).resolve().parents[2]
MICRO = ROOT / "tests" / "data" / "micro_bundle_int8"
UNIT = ROOT / "export" / "deploy" / "tinyedge.service"
# pip gets an index that does not answer; as root, `unshare --net` also removes the network.
NO_NETWORK = {
    "PIP_NO_INDEX": "1",
    "PIP_INDEX_URL": "http://127.0.0.1:9/",
    "http_proxy": "http://127.0.0.1:9/",
}


def main() -> int:
    """Run all steps; print one line for each."""
    bundle = Path(sys.argv[1] if len(sys.argv) > 1 else MICRO).resolve()
    with tempfile.TemporaryDirectory(prefix="tinyedge-end-to-end-") as name:
        root = Path(name)
        source = Path(shutil.copytree(bundle, root / "bundle"))
        board = wheel_platform(os.uname().machine, (f"{sys.version_info[0]}.{sys.version_info[1]}",))
        began = time.monotonic()
        with KitBuilder(board) as builder:
            builder.download_wheels(lambda line: None)
            kit = builder.write(load_bundle(source), get_kit_folder(source))
        details = f"{measure_size(kit.path) / 1e6:.0f} MB, {time.monotonic() - began:.0f} s"
        print_step(f"kit: {len(kit.packages)} packages, {details}")

        folder = root / "installed"
        isolation = ["unshare", "--net"] if os.geteuid() == 0 and shutil.which("unshare") else []
        for number in ("first", "second"):
            began = time.monotonic()
            run(
                [*isolation, "sh", kit.path / "install.sh", "--dir", folder],
                PYTHON=sshd.BASE_PYTHON,
                **NO_NETWORK,
            )
            network = "no network" if isolation else "no index"
            print_step(f"install.sh, {number} run, {network}: {time.monotonic() - began:.0f} s")
        print_step(f"environment: {measure_size(folder / 'envs') / 1e6:.0f} MB")

        if reason := sshd.find_missing_program():
            print_step(f"ssh: skipped, {reason}")
        else:
            (root / "sshd").mkdir()
            with sshd.run_server(root / "sshd") as server:
                sshd.replace_program(server, "python3", None, link=sshd.BASE_PYTHON)
                for number in ("first", "second"):
                    began = time.monotonic()
                    command = [sys.executable, "-m", "tinyedge", "deploy", server.destination, source]
                    run([*command, *server.flags], **NO_NETWORK)
                    print_step(f"tinyedge deploy, {number} time: {time.monotonic() - began:.0f} s")

        if os.geteuid() or os.uname().machine != "x86_64" or not shutil.which("systemd-analyze"):
            print_step("hardening: skipped, needs root on x86-64 and systemd-analyze")
            return 0
        tinyedge = folder / "env" / "bin" / "tinyedge"
        for words in (
            ["activate", "--recover", "--store", folder / "store"],
            ["bench", folder / "store" / "current"],
            ["generate", folder / "store" / "current", "--prompt", "Hola", "--threads", "2"],
        ):
            sandbox = [sys.executable, ROOT / "bench" / "deploy" / "sandbox.py", UNIT, "--"]
            run([*sandbox, tinyedge, *words])
            print_step(f"hardened: tinyedge {words[0]}")
    return 0


def run(command: list[object], **environment: str) -> None:
    """Run a program; exit with its output if it fails."""
    clean = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False,
        env={**clean, "PYTHONPATH": str(ROOT) if command[0] == sys.executable else "", **environment},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} exited with {done.returncode}:\n{done.stdout}{done.stderr}")


def measure_size(folder: Path) -> int:
    """Return the size of all files in a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def print_step(line: str) -> None:
    """Print a line of progress."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
