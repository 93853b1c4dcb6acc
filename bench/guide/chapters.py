"""The chapters of the guide as programs: their blocks of Python, and the output that the text shows.

In: a Markdown file. Out: its blocks, and what they print. All ```python blocks of a chapter run from top to
bottom in one namespace, in a process of their own. A block ```text output shows exactly what the Python block
before it prints; ```text output about allows each number to differ a little, as computed ones do between
machines. Other ```text blocks are not compared.
"""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guide"
OVERVIEW = GUIDE / "README.md"
OUTPUT, ABOUT = "text output", "text output about"
TOLERANCE = 0.05  # of a number in an ABOUT block, relative, or absolute below 1
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    info: str
    """What follows the fence: "python", "text output", "sh"."""

    content: str
    """The text between the fences."""

    line: int
    """Index of the first line of the content in the file."""


def list_chapters() -> list[Path]:
    """Return the chapters in order."""
    return sorted(GUIDE.glob("[0-9][0-9]-*.md"))


def read_blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return [
        Block(token.info.strip(), token.content, token.map[0] + 1)
        for token in MarkdownIt().parse(page.read_text(encoding="utf-8"))
        if token.type == "fence" and token.map
    ]


def run_chapter(page: Path, folder: Path) -> list[str]:
    """Run the Python blocks of a chapter.

    Args:
        page: The chapter.
        folder: Working folder, with `data/` and `bundle/` of the run that the overview asks for.

    Returns:
        What each Python block printed to the standard output.

    Raises:
        RuntimeError: A block failed; the message is its traceback, with the line of the page.
    """
    blocks = [[block.content, block.line] for block in read_blocks(page) if block.info == "python"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "bench.guide.run_blocks", str(page)],
        input=json.dumps(blocks),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    outputs: list[str] = json.loads(done.stdout)
    return outputs


def pair_outputs(page: Path, printed: list[str]) -> list[tuple[Block, str]]:
    """Return each output block of a page with what its Python block printed.

    Raises:
        ValueError: An output block has no Python block before it.
    """
    pairs, remaining, current = [], iter(printed), None
    for block in read_blocks(page):
        if block.info == "python":
            current = next(remaining)
        elif block.info in (OUTPUT, ABOUT):
            if current is None:
                raise ValueError(f"{page}:{block.line}: there is no Python block before this output")
            pairs.append((block, current))
            current = None
    return pairs


def is_shown(block: Block, output: str) -> bool:
    """Whether an output block shows what its Python block printed."""
    if block.info == OUTPUT:
        return output == block.content
    if NUMBER.sub("", output) != NUMBER.sub("", block.content):
        return False
    pairs = zip(NUMBER.findall(output), NUMBER.findall(block.content), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=TOLERANCE, abs_tol=TOLERANCE) for a, b in pairs)


def write_outputs(page: Path, printed: list[str]) -> None:
    """Replace the output blocks of a page that do not show what its Python blocks printed."""
    lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
    for block, output in reversed(pair_outputs(page, printed)):
        if is_shown(block, output):
            continue
        lines[block.line : block.line + len(block.content.splitlines())] = [output]
    page.write_text("".join(lines), encoding="utf-8")
