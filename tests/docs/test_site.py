"""bench.docs_site: the site of docs/ builds, and everything that a page links to exists."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.docs_site import find_foreign_files

ROOT = Path(__file__).parents[2]


def build(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.docs_site", "--config", str(root / "zensical.toml")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with two pages, a picture outside docs/, and a site's configuration."""
    (tmp_path / "docs" / "guide").mkdir(parents=True)
    (tmp_path / "bench").mkdir()
    (tmp_path / "zensical.toml").write_text(
        '[project]\nsite_name = "test"\ndocs_dir = "build/site-pages"\nsite_dir = "build/site"\n'
        'nav = ["index.md", { "Guide" = ["guide/one.md"] }]\n[project.theme]\nfont = false\n'
    )
    (tmp_path / "docs" / "index.md").write_text("# Start\n\n[guide/one.md](guide/one.md#a-part)\n")
    (tmp_path / "docs" / "guide" / "one.md").write_text(
        "# One\n\n## A part\n\n![curve](../../bench/curve.svg) and [tools](../../bench)\n"
    )
    (tmp_path / "bench" / "curve.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    return tmp_path


def test_the_site_of_this_repository_builds(tmp_path: Path) -> None:
    for name in ("docs", "bench", "tinyedge", "export", "findings", "tests/data"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for path in [path for path in ROOT.iterdir() if path.is_file()]:
        shutil.copy(path, tmp_path)
    built = build(tmp_path)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "build" / "site" / "index.html").is_file()


def test_links_that_leave_docs_lead_to_the_repository_and_pictures_come_along(repository: Path) -> None:
    built = build(repository)
    assert built.returncode == 0, built.stderr
    page = (repository / "build" / "site" / "guide" / "one" / "index.html").read_text()
    assert 'href="https://github.com/tinyedge-lm/tinyedge/tree/main/bench"' in page
    assert 'src="../../repository/bench/curve.svg"' in page
    assert (repository / "build" / "site" / "repository" / "bench" / "curve.svg").is_file()


def test_a_link_labelled_with_a_file_name_shows_the_title_of_the_page(repository: Path) -> None:
    assert build(repository).returncode == 0
    assert "[One](guide/one.md#a-part)" in (repository / "build" / "site-pages" / "index.md").read_text()


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("missing.md", "docs/index.md links to missing.md, which does not exist"),
        ("../bench/missing.svg", "docs/index.md links to ../bench/missing.svg, which does not exist"),
        ("../../outside", "docs/index.md links to ../../outside, which does not exist"),
        ("guide", "docs/index.md links to the folder guide; link to a page in it"),
        ("guide/one.md#no-such-part", "anchor does not exist"),
    ],
)
def test_a_link_that_leads_nowhere_fails_the_build(repository: Path, link: str, said: str) -> None:
    (repository / "docs" / "index.md").write_text(f"# Start\n\nSee [this]({link}).\n")
    built = build(repository)
    assert built.returncode == 1
    assert said in built.stderr
    assert "Traceback" not in built.stderr


def test_links_in_code_are_left_alone(repository: Path) -> None:
    (repository / "docs" / "index.md").write_text("# Start\n\n```text\n[a](b.md)\n```\n")
    assert build(repository).returncode == 0


def test_a_fence_with_two_words_is_a_block_of_code(repository: Path) -> None:
    (repository / "docs" / "index.md").write_text("# Start\n\n```text output\n1 True\n```\n")
    assert build(repository).returncode == 0
    page = (repository / "build" / "site" / "index.html").read_text()
    assert "1 True" in page
    assert "```" not in page


def test_a_page_that_the_navigation_lacks_fails_the_build(repository: Path) -> None:
    (repository / "docs" / "new.md").write_text("# New\n")
    assert "docs/new.md is not in zensical.toml: add it to `nav`" in build(repository).stderr


def test_a_page_that_the_navigation_invents_fails_the_build(repository: Path) -> None:
    (repository / "docs" / "guide" / "one.md").unlink()
    (repository / "docs" / "index.md").write_text("# Start\n")
    assert "zensical.toml lists guide/one.md, which docs/ does not contain" in build(repository).stderr


@pytest.mark.parametrize(
    "tag",
    [
        '<link rel="stylesheet" href="https://fonts.example/css">',
        '<script src="//cdn.example/a.js"></script>',
        '<img src="http://example.org/a.png">',
    ],
)
def test_a_page_that_loads_a_file_from_another_server_is_found(tmp_path: Path, tag: str) -> None:
    (tmp_path / "page.html").write_text(f'<a href="https://example.org">a link loads nothing</a>{tag}')
    assert len(find_foreign_files(tmp_path)) == 1
