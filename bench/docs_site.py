"""`make docs`: build the documentation as a site of static pages, and fail if a link leads nowhere.

In: `docs/` and `zensical.toml`. Out: `build/site`, which works without a network.

The pages are written for GitHub, where a link may leave `docs/`. A site contains `docs/` alone, so the pages
are copied to `build/site-pages` first, and such links become links to the repository, or copies of pictures.
Zensical then checks links between pages, with their anchors; this module checks everything else.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPOSITORY = "https://github.com/tinyedge-lm/tinyedge"
PICTURES = {".png", ".svg", ".jpg", ".gif", ".webp"}
FENCED = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
FENCE_WORDS = re.compile(
    r"^(```[\w-]+) +[\w ]+$", re.MULTILINE
)  # Python-Markdown takes one word after a fence
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(<?([^)\s>]+)>?\)")
# Attributes with which a page loads a file; <a href> only leads to one.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "srcset", "link": "href"}
NOT_LOADED = {"canonical", "prev", "next", "alternate"}  # values of <link rel>


def main() -> int:
    """Build the site; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=ROOT / "zensical.toml")
    options = parser.parse_args()
    options.config = options.config.resolve()
    root = options.config.parent
    config = tomllib.loads(options.config.read_text())["project"]
    pages, site = root / config["docs_dir"], root / config["site_dir"]
    problems = [*prepare_pages(root, pages), *compare_navigation(config["nav"], pages)]
    if not problems:
        shutil.rmtree(site, ignore_errors=True)  # without pages of an earlier build
        problems = run_zensical(options.config) or find_foreign_files(site)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if not problems:
        print(f"docs: {len(list(site.rglob('*.html')))} pages in {site.relative_to(root)}")
    return 1 if problems else 0


def run_zensical(config: Path) -> list[str]:
    """Build the site; return the problem, if there is one, without the traceback that follows it."""
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", str(config)]
    built = subprocess.run(command, cwd=config.parent, capture_output=True, text=True, check=False)
    if not built.returncode:
        return []
    output = re.sub(r"\x1b\[[\d;]*m", "", built.stdout + built.stderr)
    return [f"zensical build failed\n{output.partition('Traceback')[0].strip() or output.strip()}"]


def prepare_pages(root: Path, pages: Path) -> list[str]:
    """Copy `docs/` to `pages` with links that a site can follow; return the problems found.

    Args:
        root: The repository.
        pages: Folder to make; an earlier one is replaced.
    """
    shutil.rmtree(pages, ignore_errors=True)
    problems: list[str] = []
    for source in sorted(path for path in (root / "docs").rglob("*") if path.is_file()):
        target = pages / source.relative_to(root / "docs")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            target.write_text(rewrite_links(source, root, pages, problems))
        else:
            shutil.copyfile(source, target)
    return problems


def rewrite_links(source: Path, root: Path, pages: Path, problems: list[str]) -> str:
    """Return a page's text with its links as the site needs them; add broken ones to `problems`."""
    text = source.read_text()
    code = [match.span() for match in FENCED.finditer(text)]

    def replace(match: re.Match[str]) -> str:
        mark, label, link = match.groups()
        if any(start <= match.start() < end for start, end in code) or re.match(r"[a-z]+:|#", link):
            return match[0]
        label = LINK.sub(replace, label)  # a picture that is a link
        place, _, anchor = link.partition("#")
        goal = (source.parent / place).resolve()
        if not goal.exists() or not goal.is_relative_to(root):
            problems.append(f"{source.relative_to(root)} links to {link}, which does not exist")
            return match[0]
        if goal.is_relative_to(root / "docs"):
            if goal.is_dir():
                problems.append(
                    f"{source.relative_to(root)} links to the folder {link}; link to a page in it"
                )
            if label == place and goal.suffix == ".md":
                label = read_title(goal)
            return f"{mark}[{label}]({link})"
        inside = goal.relative_to(root)
        if goal.suffix in PICTURES:
            copy = pages / "repository" / inside
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(goal, copy)
            up = "../" * (len(source.relative_to(root / "docs").parts) - 1)
            return f"{mark}[{label}]({up}repository/{inside})"
        kind = "tree" if goal.is_dir() else "blob"
        return f"{mark}[{label}]({REPOSITORY}/{kind}/main/{inside}{'#' + anchor if anchor else ''})"

    return FENCE_WORDS.sub(r"\1", LINK.sub(replace, text))


def read_title(page: Path) -> str:
    """Return a page's first heading: a site has titles where a repository has file names."""
    return next((line[2:] for line in page.read_text().splitlines() if line.startswith("# ")), page.name)


def compare_navigation(navigation: list[object], pages: Path) -> list[str]:
    """Return what the navigation lists and `docs/` lacks, and the reverse."""
    listed = list(iterate_pages(navigation))
    found = {str(path.relative_to(pages)) for path in pages.rglob("*.md")}
    return [
        *(
            f"zensical.toml lists {page}, which docs/ does not contain"
            for page in listed
            if page not in found
        ),
        *(f"docs/{page} is not in zensical.toml: add it to `nav`" for page in sorted(found - set(listed))),
    ]


def iterate_pages(entry: object) -> Iterator[str]:
    """Yield the pages of a part of the navigation."""
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, dict):
        for value in entry.values():
            yield from iterate_pages(value)
    elif isinstance(entry, list):
        for value in entry:
            yield from iterate_pages(value)


class LoadedFiles(HTMLParser):
    """Collects the addresses from which a page loads files."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the address of a tag that loads a file."""
        values = dict(attrs)
        if tag in LOADED and values.get("rel") not in NOT_LOADED:
            self.addresses.append(values.get(LOADED[tag]) or "")


def find_foreign_files(site: Path) -> list[str]:
    """Return what a page of the site would load from other servers: fonts, scripts, pictures."""
    foreign = []
    for page in sorted(site.rglob("*.html")):
        parser = LoadedFiles()
        parser.feed(page.read_text())
        foreign += [
            f"{page.relative_to(site)} loads {address} from another server"
            for address in parser.addresses
            if re.match(r"https?:|//", address)
        ]
    return foreign


if __name__ == "__main__":
    sys.exit(main())
