"""Small files of many formats, and what is read from them."""

import zipfile
from pathlib import Path
from typing import Any

from tinyedge.corpus.formats import END_OF_DOCUMENT, get_format
from tinyedge.corpus.read_notes import ReadNotes
from tinyedge.corpus.read_settings import ReadSettings


def read_file(
    path: Path, content: str | bytes | None = None, **settings: Any
) -> tuple[list[str], dict[str, object]]:
    """Write a file and read it.

    Returns:
        Its lines without blank ones, and the file's entry in `corpus.json` without name and encoding.
    """
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    notes = ReadNotes(path)
    units = list(get_format(path).read_paragraphs(path, notes, ReadSettings(**settings)))
    entry = notes.to_json()
    del entry["name"]
    entry.pop("encoding", None)
    return [unit for unit in units if unit.strip() and unit != END_OF_DOCUMENT], entry


def write_archive(path: Path, parts: dict[str, str | bytes]) -> Path:
    """Write a ZIP archive."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def make_pdf(pages: list[list[str]]) -> bytes:
    """Return a PDF with lines of text, an empty string for a larger distance."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    kids = b""
    for lines in pages:
        shown = "\n".join(
            f"1 0 0 1 72 {750 - 14 * row} Tm ({line}) Tj" for row, line in enumerate(lines) if line
        )
        stream = f"BT /F1 12 Tf\n{shown}\nET".encode()
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R"
        objects.append(page % len(objects) + b" /Resources << /Font << /F1 3 0 R >> >> >>")
        kids += b"%d 0 R " % len(objects)
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(pages), kids)
    content = b"%PDF-1.4\n"
    table = b"0000000000 65535 f \n"
    for number, body in enumerate(objects, start=1):
        table += b"%010d 00000 n \n" % len(content)
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    size = len(objects) + 1
    trailer = b"xref\n0 %d\n%strailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    return content + trailer % (size, table, size, len(content))
