"""Run every command of the README and of the pages that it sends a newcomer to.

`.ci/run` does this after `make test`. Each ```sh block is one script; the ```python blocks of a page run
last.
Commands that need a board or a user's files get replacements: `scp` and `ssh` use a folder in place of the
board, and `my-texts` is a part of the phrasebook.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/install.md", "docs/how-it-works.md")
ALREADY_RUN = "make test"  # by .ci/run, just before
DEMO = "make demo CORPUS=my-texts"  # from the README; run here with one epoch and a smaller vocabulary

SCP = """#!/bin/sh
# scp [-r] FILE... HOST:  copies into the folder in place of the board
last=$(eval echo \\${$#})
[ "${last%:}" = pi@raspberrypi.local ] || exit 9
for word; do [ "$word" = "$last" ] || [ "$word" = -r ] || cp -r "$word" "$BOARD"/ || exit 1; done
"""
SSH = """#!/bin/sh
# ssh HOST COMMAND  runs it in the folder in place of the board
[ "$1" = pi@raspberrypi.local ] || exit 9
cd "$BOARD" && exec sh -c "$2"
"""


def main() -> None:
    """Run all blocks, then the demo with its own corpus."""
    blocks = [block for page in PAGES for block in find_blocks(ROOT / page)]
    assert DEMO in (ROOT / "README.md").read_text()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = prepare(folder)
        for kind, block in blocks:
            # The folder in place of the board is on this machine.
            script = block.replace(ALREADY_RUN, ":").replace("aarch64", os.uname().machine)
            print(f"--- {kind}\n{script}", flush=True)
            command = ["bash", "-euc", script] if kind == "sh" else [sys.executable, "-c", script]
            run(command, environment)
        flags = "--vocab-size 4000 --epochs 1"
        quick = f"{DEMO} DATA={folder}/data BUNDLE={folder}/bundle TRAIN_FLAGS='{flags}'"
        run(["bash", "-euc", quick], environment)
        for path in (ROOT / "my-texts", ROOT / "dist"):
            shutil.rmtree(path, ignore_errors=True)


def find_blocks(page: Path) -> list[tuple[str, str]]:
    """Return the scripts of a page, then its Python blocks, each as (language, text)."""
    blocks = re.findall(r"^```(sh|python)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks, f"{page} has no commands"
    return sorted(blocks, key=lambda pair: pair[0] == "python")


def run(command: list[str], environment: dict[str, str]) -> None:
    """Run a command; exit if it fails."""
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
        sys.exit(f"error: a command of the documentation failed: {command[-1]}")


def prepare(folder: Path) -> dict[str, str]:
    """Write the replacements; return the environment with their folder in PATH."""
    tools, board, texts = folder / "bin", folder / "board", ROOT / "my-texts"
    for path in (tools, board, texts):
        path.mkdir(exist_ok=True)
    for tool, script in (("scp", SCP), ("ssh", SSH)):
        (tools / tool).write_text(script)
        (tools / tool).chmod(0o755)
    from tinyedge.corpus.phrasebook import generate_documents

    lines = [line for document in generate_documents(seed=1) for line in (*document.sentences, "")]
    (texts / "a.txt").write_text("\n".join(lines[:1000]) + "\n")
    (texts / "b.txt").write_text("\n".join(lines[1000:30000]) + "\n")
    return {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "BOARD": str(board)}


if __name__ == "__main__":
    main()
