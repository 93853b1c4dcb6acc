"""docs/guide: every chapter runs from top to bottom, and its commands, links and quoted figures are right."""

import functools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from bench.guide.chapters import (
    ABOUT,
    GUIDE,
    OUTPUT,
    OVERVIEW,
    ROOT,
    Block,
    is_shown,
    list_chapters,
    pair_outputs,
    read_blocks,
    run_chapter,
    write_outputs,
)
from bench.guide.report import load_report, make_tables
from bench.quoted_blocks import BLOCK as QUOTED
from bench.quoted_blocks import fill_blocks

PAGES = sorted(GUIDE.glob("*.md"))
CHAPTERS = [pytest.param(page, id=page.stem) for page in list_chapters()]


def tinyedge(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-m", "tinyedge", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", check=False
    )


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after the commands of the overview's first block: a run in data/, a bundle in bundle/."""
    folder = tmp_path_factory.mktemp("guide")
    first = next(block for block in read_blocks(OVERVIEW) if block.info == "sh")
    for line in first.content.splitlines():
        program, *words = shlex.split(line, comments=True)
        if program in ("source", "mkdir"):  # the test has an environment and a folder of its own
            continue
        assert program == "tinyedge"
        done = tinyedge(folder, words)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_chapter_runs_and_prints_what_it_shows(page: Path, run_folder: Path, tmp_path: Path) -> None:
    for name in ("data", "bundle"):
        (tmp_path / name).symlink_to(run_folder / name)
    printed = run_chapter(page, tmp_path)
    assert printed, f"{page} has no code"
    for block, output in pair_outputs(page, printed):
        hint = f"{page}:{block.line} differs; `python -m bench.guide outputs` writes it anew"
        assert is_shown(block, output), f"{hint}\n{output}"


@functools.cache
def flags_of(command: str) -> frozenset[str]:
    shown = tinyedge(ROOT, [command, "--help"])
    assert shown.returncode == 0, f"tinyedge {command} does not exist"
    return frozenset(re.findall(r"--[a-z][\w-]*", shown.stdout))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_and_flag_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for block in read_blocks(page):
        if block.info != "sh":
            continue
        text = block.content.replace("\\\n", " ")
        for command, rest in re.findall(r"\btinyedge ([a-z]+)([^|&;#'\n]*)", text):
            assert set(re.findall(r"(?<!\S)--[a-z][\w-]*", rest)) <= flags_of(command), (page, command)
        for target in re.findall(r"\bmake ([a-z-]+)", text):
            assert target in targets


def test_the_overview_lists_every_chapter_in_order() -> None:
    linked = re.findall(r"^\| \[[^]]+\]\((\d\d-[\w-]+\.md)\)", OVERVIEW.read_text(), re.MULTILINE)
    assert linked == [page.name for page in list_chapters()]


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_chapter_ends_with_something_to_try_and_the_next_step(page: Path) -> None:
    titles = re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE)
    assert titles[-2:] == ["What to try", "Next"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_no_block_of_another_kind(page: Path) -> None:
    """A misspelled kind would never run."""
    assert {block.info for block in read_blocks(page)} <= {"python", "text", OUTPUT, ABOUT, "sh"}


@pytest.mark.parametrize(
    ("info", "shown", "printed", "expected"),
    [
        (OUTPUT, "loss 9.0\n", "loss 9.0\n", True),
        (OUTPUT, "loss 9.0\n", "loss 9.1\n", False),
        (ABOUT, "loss 9.0\n", "loss 9.1\n", True),
        (ABOUT, "loss 9.0\n", "loss 8.0\n", False),
        (ABOUT, "loss 9.0\n", "loss -9.0\n", False),
        (ABOUT, "loss 9.0\n", "rate 9.0\n", False),
        (ABOUT, "loss 9.0\n", "loss 9.0 nan\n", False),
        (ABOUT, "norm1 0.002\n", "norm2 0.002\n", False),
    ],
)
def test_an_output_is_compared_exactly_or_about(info: str, shown: str, printed: str, expected: bool) -> None:
    assert is_shown(Block(info, shown, 0), printed) is expected


def write_page(folder: Path, *blocks: tuple[str, str]) -> Path:
    page = folder / "page.md"
    page.write_text("# Page\n\n" + "\n".join(f"```{info}\n{content}```\n" for info, content in blocks))
    return page


def test_a_page_runs_in_one_namespace_and_its_outputs_are_written(tmp_path: Path) -> None:
    page = write_page(
        tmp_path,
        ("python", "x = 3\n"),
        ("python", "print(x + 1)\nprint('a')\n"),
        (OUTPUT, "5\n"),
        ("text", "left alone\n"),
    )
    printed = run_chapter(page, tmp_path)
    assert printed == ["", "4\na\n"]
    write_outputs(page, printed)
    assert [block.content for block in read_blocks(page)][2:] == ["4\na\n", "left alone\n"]
    assert all(is_shown(block, output) for block, output in pair_outputs(page, printed))


def test_a_block_that_fails_names_the_line_of_the_page(tmp_path: Path) -> None:
    page = write_page(tmp_path, ("python", "x = 3\n"), ("python", "\nprint(y)\n"))
    with pytest.raises(RuntimeError, match=r'(?s)page\.md", line 9.*NameError'):
        run_chapter(page, tmp_path)


def test_an_output_without_code_is_refused(tmp_path: Path) -> None:
    page = write_page(tmp_path, (OUTPUT, "5\n"))
    with pytest.raises(ValueError, match=r"page\.md:3"):
        pair_outputs(page, [])


def test_every_quoted_table_is_that_of_the_recorded_run() -> None:
    tables = make_tables(load_report())
    for page in PAGES:
        text = page.read_text()
        assert fill_blocks(text, tables) == text, f"{page}: `python -m bench.guide pages` writes it anew"
        names = [name for _, name, _, _ in QUOTED.findall(text) if name.startswith("guide:")]
        assert text.count("<!-- guide:") == len(names)
        assert set(names) <= set(tables)
