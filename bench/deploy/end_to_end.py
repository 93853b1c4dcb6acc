"""The whole way to a board, with this machine in the board's place and the packages that a user gets.

    python -m bench.deploy.end_to_end [BUNDLE]

Makes a kit from the package index, installs it in a fresh folder with the network cut, deploys it to an ssh
server on loopback, a second time too, and runs what the service runs under the service's hardening. Not part
of `make test`, because it downloads 50 MB. Exit codes: 0 all of it worked, 1 not.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support import sshd
from tinyedge.boards.board import wheel_platform
from tinyedge.bundle.bundle import load_bundle
from tinyedge.deploy.kit import Supplies, kit_folder

ROOT = Path(__file__).resolve().parents[2]
MICRO = ROOT / "tests" / "data" / "micro_bundle_int8"
UNIT = ROOT / "export" / "deploy" / "tinyedge.service"
# Where an index would be asked, nothing answers; `unshare --net` takes away even that, where root may.
NO_NETWORK = {
    "PIP_NO_INDEX": "1",
    "PIP_INDEX_URL": "http://127.0.0.1:9/",
    "http_proxy": "http://127.0.0.1:9/",
}


def main() -> int:
    """One line a step."""
    bundle = Path(sys.argv[1] if len(sys.argv) > 1 else MICRO).resolve()
    with tempfile.TemporaryDirectory(prefix="tinyedge-proof-") as name:
        place = Path(name)
        source = Path(shutil.copytree(bundle, place / "bundle"))
        board = wheel_platform(os.uname().machine, (f"{sys.version_info[0]}.{sys.version_info[1]}",))
        began = time.monotonic()
        with Supplies(board) as supplies:
            supplies.fetch(lambda line: None)
            kit = supplies.put(load_bundle(source), kit_folder(source))
        took = f"{size(kit.path) / 1e6:.0f} MB, {time.monotonic() - began:.0f} s"
        step(f"kit: {len(kit.packages)} packages, {took}")

        folder = place / "installed"
        cut = ["unshare", "--net"] if os.geteuid() == 0 and shutil.which("unshare") else []
        for number in ("first", "second"):
            began = time.monotonic()
            run([*cut, "sh", kit.path / "install.sh", "--dir", folder], PYTHON=sshd.BASE_PYTHON, **NO_NETWORK)
            how = "no network" if cut else "no index"
            step(f"install.sh, {number} run, {how}: {time.monotonic() - began:.0f} s")
        step(f"environment: {size(folder / 'envs') / 1e6:.0f} MB")

        if why := sshd.missing():
            step(f"ssh: skipped, {why}")
        else:
            (place / "sshd").mkdir()
            with sshd.serving(place / "sshd") as server:
                sshd.replace_program(server, "python3", None, link=sshd.BASE_PYTHON)
                for number in ("first", "second"):
                    began = time.monotonic()
                    command = [sys.executable, "-m", "tinyedge", "deploy", server.destination, source]
                    run([*command, *server.flags], **NO_NETWORK)
                    step(f"tinyedge deploy, {number} time: {time.monotonic() - began:.0f} s")

        if os.geteuid() or os.uname().machine != "x86_64" or not shutil.which("systemd-analyze"):
            step("hardening: skipped, needs root on x86-64 and systemd-analyze")
            return 0
        tinyedge = folder / "env" / "bin" / "tinyedge"
        for words in (
            ["activate", "--recover", "--store", folder / "store"],
            ["bench", folder / "store" / "current"],
            ["generate", folder / "store" / "current", "--prompt", "Hola", "--threads", "2"],
        ):
            sandbox = [sys.executable, ROOT / "bench" / "deploy" / "sandbox.py", UNIT, "--"]
            run([*sandbox, tinyedge, *words])
            step(f"hardened: tinyedge {words[0]}")
    return 0


def run(command: list[object], **environment: str) -> None:
    """Runs a program to its end; ends this one where it fails."""
    clean = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False,
        env={**clean, "PYTHONPATH": str(ROOT) if command[0] == sys.executable else "", **environment},
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} exited with {done.returncode}:\n{done.stdout}{done.stderr}")


def size(folder: Path) -> int:
    """Of all files, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def step(line: str) -> None:
    """What is proved so far."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
