"""Boilerplate of Project Gutenberg in the user's own files."""

from pathlib import Path

import pytest

from tinyedge.corpus.gutenberg_marks import drop_boilerplate
from tinyedge.corpus.read_notes import ReadLog, ReadNotes
from tinyedge.corpus.reader import read_documents

TEXT_OF_BOOK = """The Project Gutenberg eBook of The Sea

This ebook is for the use of anyone anywhere.

*** START OF THE PROJECT GUTENBERG EBOOK THE SEA, BEING A LONG
TITLE ***

The sea was calm. [Illustration] It was night.

[Illustration: The boat
  [Copyright 1890]

at night.]

Then it was day.
End of the Project Gutenberg EBook of The Sea, by A. Writer

*** END OF THE PROJECT GUTENBERG EBOOK THE SEA ***

Updated editions will replace the previous one.
"""
BOOK = TEXT_OF_BOOK.splitlines()
TEXT = ["The sea was calm. It was night.", "Then it was day."]


def read(lines: list[str]) -> tuple[list[str], dict[str, int]]:
    notes = ReadNotes(Path("a.txt"))
    return [line for line in drop_boilerplate(lines, notes) if line], dict(notes.counts)


def test_header_footer_and_illustrations_are_dropped_and_counted() -> None:
    assert read(BOOK) == (TEXT, {"gutenberg_lines": 7, "illustrations": 2})
    assert read(BOOK + BOOK)[0] == TEXT * 2


@pytest.mark.parametrize(
    "lines", [["It was [Illustration: open", "and more."], ["They wrote *** START OF THE DAY ***.", "So."]]
)
def test_text_without_marks_is_kept(lines: list[str]) -> None:
    assert read(lines) == (lines, {})


@pytest.mark.parametrize("name", ["a.txt", "a.html"])
def test_files_of_the_user_are_read_without_it(tmp_path: Path, name: str) -> None:
    content = TEXT_OF_BOOK.replace("\nEnd of", "\n\nEnd of")
    page = "".join(f"<p>{block}</p>" for block in content.split("\n\n"))
    (tmp_path / name).write_text(page if name == "a.html" else content)
    log = ReadLog()
    (document,) = read_documents([tmp_path / name], log=log)
    assert document.sentences == ("The sea was calm.", "It was night.", "Then it was day.")
    assert {"gutenberg_lines", "illustrations"} <= set(log.files[0].counts)
