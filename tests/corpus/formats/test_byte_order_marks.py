"""A byte-order mark is never part of the text, in any format."""

import codecs
from pathlib import Path

import pytest

from tests.support.formats import read_file, write_archive

CONTENTS = {
    "a.csv": '"text","id"\n"The sea, it was calm.",1\n',
    "a.tsv": "text\tid\nThe sea, it was calm.\t1\n",
    "a.json": '[{"text": "The sea, it was calm."}]',
    "a.jsonl": '{"text": "The sea, it was calm."}\n',
    "a.html": "<p>The sea, it was calm.",
    "a.txt": "The sea, it was calm.\n",
    "b.txt": "31/12/23, 21:41 - Ana: The sea, it was calm.\n31/12/23, 21:42 - Bo: <Media omitted>\n",
    "a.md": "---\ntitle: x\n---\nThe sea, it was calm.\n",
    "a.vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\nThe sea, it was calm.\n",
    "a.srt": "1\n00:00:01,000 --> 00:00:02,000\nThe sea, it was calm.\n",
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-le", "utf-16-be"])
def test_the_mark_is_dropped_before_parsing(tmp_path: Path, name: str, encoding: str) -> None:
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")
    lines, entry = read_file(tmp_path / name, mark + CONTENTS[name].encode(encoding))
    assert lines == ["The sea, it was calm."]
    assert entry.get("fields", ["text"]) == ["text"]


def test_the_mark_of_a_page_in_a_book_is_dropped(tmp_path: Path) -> None:
    path = write_archive(
        tmp_path / "a.epub",
        {
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="p.opf"/>'
            "</rootfiles></container>",
            "p.opf": '<package><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
            '</manifest><spine><itemref idref="a"/></spine></package>',
            "a.xhtml": codecs.BOM_UTF8 + b"<html><body><p>The sea.</p></body></html>",
        },
    )
    assert read_file(path)[0] == ["The sea."]
