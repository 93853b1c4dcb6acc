"""Books and office documents: their text in order, and nothing that a hostile file asks for."""

from pathlib import Path

import pytest

from tests.support.formats import make_pdf, read_file, write_archive
from tinyedge.core.errors import CorpusError
from tinyedge.corpus.formats import archive

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:mc="http://mc"'
WORD = f"""<?xml version="1.0"?><w:document {W}><w:body>
<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr><w:r><w:t>Hello </w:t></w:r>
<w:ins><w:r><w:t>new</w:t></w:r></w:ins>
<w:del><w:r><w:delText>old</w:delText></w:r></w:del><w:r><w:t xml:space="preserve"> world.</w:t></w:r></w:p>
<w:sdt><w:sdtContent>
<w:p><w:r><w:t>In a control</w:t><w:br/><w:t>next line</w:t></w:r></w:p></w:sdtContent></w:sdt>
<w:p><w:r><w:t>Before the box </w:t><mc:AlternateContent>
<mc:Choice><w:txbxContent><w:p><w:r><w:t>Boxed.</w:t></w:r></w:p>
</w:txbxContent></mc:Choice><mc:Fallback><w:p><w:r><w:t>Boxed.</w:t></w:r></w:p></mc:Fallback>
</mc:AlternateContent></w:r>
<w:hyperlink><w:r><w:t>and after.</w:t></w:r></w:hyperlink></w:p>
<w:tbl><w:tr><w:tc><w:p><w:r><w:t>cell</w:t></w:r></w:p></w:tc></w:tr></w:tbl></w:body></w:document>"""
NOTES = (
    f"<w:footnotes {W}><w:footnote><w:p><w:r><w:t>A footnote.</w:t></w:r></w:p></w:footnote></w:footnotes>"
)

ODT = """<office:document xmlns:text="urn:t" xmlns:office="urn:o"><office:body><office:text>
<text:tracked-changes><text:p>gone</text:p></text:tracked-changes><text:h>Title</text:h>
<text:p>Some<text:s text:c="2"/>text<text:note><text:note-citation>1</text:note-citation><text:note-body>
<text:p>The note.</text:p></text:note-body></text:note> goes on<text:line-break/>here<office:annotation>
<text:p>comment</text:p></office:annotation>.</text:p>
<text:list><text:list-item><text:p>Item</text:p></text:list-item></text:list></office:text></office:body>
</office:document>"""

CONTAINER = """<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/c.opf"/></rootfiles></container>"""
PACKAGE = """<package xmlns="http://www.idpf.org/2007/opf"><manifest>
<item id="a" href="ch%201.xhtml" media-type="application/xhtml+xml"/>
<item id="n" properties="nav" href="nav.xhtml" media-type="application/xhtml+xml"/>
<item id="b" href="b.xhtml" media-type="application/xhtml+xml"/></manifest>
<spine><itemref idref="n"/><itemref idref="b"/><itemref idref="a"/></spine></package>"""
PAGE = """<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="e">
<head><title/><script src="x"/></head><body>{}</body></html>"""
BOOK = {
    "META-INF/container.xml": CONTAINER,
    "OEBPS/c.opf": PACKAGE,
    "OEBPS/ch 1.xhtml": PAGE.format(
        '<h1>Two</h1><p>Caf&eacute;<a epub:type="noteref" href="#x">1</a>, Ünd.</p>'
    ),
    "OEBPS/b.xhtml": PAGE.format("<h1>One</h1><p>First chapter.</p>"),
    "OEBPS/nav.xhtml": PAGE.format("<p>Contents</p>"),
}
ENCRYPTION = """<encryption xmlns:enc="e">
<enc:EncryptedData><enc:EncryptionMethod Algorithm="{}"/><enc:CipherData>
<enc:CipherReference URI="OEBPS/b.xhtml"/></enc:CipherData></enc:EncryptedData></encryption>"""


def test_a_page_that_the_list_of_files_lacks_is_counted(tmp_path: Path) -> None:
    package = PACKAGE.replace('<itemref idref="b"/>', '<itemref idref="b"/><itemref idref="lost"/>')
    parts: dict[str, str | bytes] = {**BOOK, "OEBPS/c.opf": package}
    _, entry = read_file(write_archive(tmp_path / "a.epub", parts))
    assert entry["missing_pages"] == 1


def test_word(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.docx", {"word/document.xml": WORD, "word/footnotes.xml": NOTES})
    assert read_file(path)[0] == [
        "Hello new world.",
        "In a control",
        "next line",
        "Before the box and after.",
        "Boxed.",
        "cell",
        "A footnote.",
    ]


def test_opendocument(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.odt", {"content.xml": ODT})
    assert read_file(path)[0] == ["Title", "Some  text goes on", "here.", "The note.", "Item"]


def test_epub_in_reading_order(tmp_path: Path) -> None:
    lines, entry = read_file(write_archive(tmp_path / "a.epub", dict(BOOK)))
    assert lines == ["One", "First chapter.", "Two", "Café, Ünd."]
    assert entry == {"navigation_elements": 2}


def test_epub_with_copy_protection_is_refused_and_one_with_obfuscated_fonts_is_read(tmp_path: Path) -> None:
    protected = ENCRYPTION.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc")
    path = write_archive(tmp_path / "a.epub", {**BOOK, "META-INF/encryption.xml": protected})
    with pytest.raises(CorpusError, match="copy protection"):
        read_file(path)
    fonts = ENCRYPTION.format("http://www.idpf.org/2008/embedding")
    path = write_archive(tmp_path / "b.epub", {**BOOK, "META-INF/encryption.xml": fonts})
    assert len(read_file(path)[0]) == 4


ENTITIES = '<!DOCTYPE a [<!ENTITY x "{}"><!ENTITY y "&x;&x;">]><a>&y;</a>'


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"word/document.xml": b"<a>" + b"x" * (archive.MIN_RATIO_BYTES + 1)}, "is too large"),
        ({"word/document.xml": ENTITIES.format("lol")}, "document type"),
        ({"word/document.xml": '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>'}, "document type"),
        ({"word/document.xml": WORD[:400]}, "damaged"),
        ({"other.xml": "<a/>"}, "has no word/document.xml"),
    ],
)
def test_hostile_and_damaged_documents_are_refused(
    tmp_path: Path, parts: dict[str, str | bytes], reason: str
) -> None:
    path = write_archive(tmp_path / "a.docx", parts)
    with pytest.raises(CorpusError, match=reason) as failure:
        read_file(path)
    assert str(path) in failure.value.message


@pytest.mark.parametrize("name", ["a.docx", "a.odt", "a.epub", "a.parquet", "a.pdf"])
def test_another_file_with_the_name_of_a_document_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError) as failure:
        read_file(tmp_path / name, b"not a document")
    assert str(tmp_path / name) in failure.value.message


def test_pdf_without_running_heads_and_page_numbers(tmp_path: Path) -> None:
    pages = [
        [
            f"{number} A Novel of the Sea",
            "",
            f"In year {number} it was a long way to the sea, and each man was exam-",
            "ple and help to those who came there by",
            f"boat number {number}.",
            "",
            f"A second paragraph begins on day {number}.",
            "",
            f"- {number} -",
        ]
        for number in range(1, 6)
    ]
    lines, entry = read_file(tmp_path / "a.pdf", make_pdf([*pages, []]))
    assert lines[:5] == [
        "In year 1 it was a long way to the sea, and each man was exam-",
        "ple and help to those who came there by",
        "boat number 1.",
        "A second paragraph begins on day 1.",
        "In year 2 it was a long way to the sea, and each man was exam-",
    ]
    assert entry == {"running_heads": 10, "pages_without_text": 1}


def test_a_scan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="its pages are pictures"):
        read_file(tmp_path / "a.pdf", make_pdf([[], []]))
