"""Which format reads a file, and what happens where a package is missing."""

import re
import sys
from pathlib import Path

import pytest

from tinyedge.core.errors import CorpusError, MissingDependencyError
from tinyedge.corpus.find_files import find_files
from tinyedge.corpus.formats import find_format
from tinyedge.corpus.read_notes import COUNTED, ReadLog, ReadNotes, describe_reading
from tinyedge.corpus.reader import read_documents


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("a.text", "text"),
        ("README", "text"),
        ("Licence", "text"),
        ("readme.gz", "text"),
        ("a.MARKDOWN", "markdown"),
        ("a.xhtml.gz", "html"),
        ("a.vtt", "subtitles"),
        ("a.epub", "epub"),
        ("a.epub.gz", None),
        ("a.doc", None),
        ("readme.png", None),
        ("Makefile", None),
    ],
)
def test_formats_by_name(name: str, module: str | None) -> None:
    found = find_format(Path(name))
    assert (found.module if found else None) == module


def test_a_missing_package_skips_a_file_of_a_folder_and_refuses_one_that_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.html").write_text("<p>It was a long way down to the sea.")
    (tmp_path / "b.txt").write_text("It was a long way down to the sea.")
    monkeypatch.setitem(sys.modules, "lxml", None)
    reported: list[str] = []
    assert len(list(read_documents([tmp_path], reported.append))) == 1
    assert any("lxml is not installed" in line and "tinyedge-lm[documents]" in line for line in reported)
    with pytest.raises(MissingDependencyError, match="lxml"):
        list(read_documents([tmp_path / "b.txt", tmp_path / "a.html"]))


def test_other_files_are_counted_by_extension(tmp_path: Path) -> None:
    for name in ("a.doc", "b.doc", "c.png", "README", "Makefile", "d.md"):
        (tmp_path / name).write_text("Some words.")
    log = ReadLog()
    assert [file.path.name for file in find_files([tmp_path], log)] == ["README", "d.md"]
    assert log.other_files == {".doc": 2, ".png": 1, "": 1}


def test_the_columns_of_a_table_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1,It was a long way down to the sea.\n")
    reported: list[str] = []
    list(read_documents([path], reported.append))
    assert f"  {path}: text of text; left out: id" in reported


def test_a_table_without_text_names_the_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,size\n1,2\n")
    with pytest.raises(CorpusError, match="no column with text") as failure:
        list(read_documents([path]))
    assert failure.value.hint == "choose one with --field: id, size"


def test_counts_agree_with_their_nouns() -> None:
    one, many = ReadNotes(Path("a")), ReadNotes(Path("b"))
    for what in COUNTED:
        one.count(what)
        many.count(what, 2)
    singular = "\n".join(describe_reading(ReadLog(files=[one]).to_json()))
    plural = "\n".join(describe_reading(ReadLog(files=[many]).to_json()))
    assert "  1 control character removed\n" in singular
    assert "  2 control characters removed\n" in plural
    assert "  1 wrapped line joined to a paragraph\n" in singular
    assert "{" not in singular + plural
    assert not re.search(r"^  1 \w+s ", singular, re.MULTILINE)
