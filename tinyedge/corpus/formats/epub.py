"""EPUB: the chapters of a book, in reading order.

In: an `.epub` file. Out: the lines of its pages; navigation and table of contents are left out. A book with
copy protection is refused. Does not decide whether lines belong together.
"""

import codecs
import posixpath
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.formats.archive import Archive, named_errors, open_archive
from tinyedge.corpus.formats.html import find_declared_encoding, read_page
from tinyedge.corpus.formats.markup import Chunks, import_lxml
from tinyedge.corpus.read_notes import ReadNotes

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
# Fonts may be obfuscated in a book without protection (EPUB 3, "Font obfuscation").
_FONT_ALGORITHMS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document")


def read_paragraphs(path: Path, notes: ReadNotes) -> Iterator[str]:
    """Stream the lines of a book.

    Raises:
        CorpusError: The file is damaged, too large, or has copy protection.
        MissingDependencyError: lxml is not installed.
    """
    with open_archive(path) as archive, named_errors(path):
        pages = _list_pages(path, archive, notes)
        for page in pages:
            chunks = archive.stream(page)
            head = next(chunks, b"")
            yield from read_page(_prepend(head, chunks), _find_encoding(head), notes)
            yield ""


def _prepend(head: bytes, chunks: Chunks) -> Chunks:
    yield head
    yield from chunks


def _find_encoding(head: bytes) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return find_declared_encoding(head) or "utf-8"


def _list_pages(path: Path, archive: Archive, notes: ReadNotes) -> list[str]:
    """Return the names of the pages in reading order."""
    protected = _list_protected(archive)
    container = _parse(archive, _CONTAINER)
    package = next((str(node.get("full-path")) for node in _find(container, "rootfile")), "")
    root = _parse(archive, package)
    folder = posixpath.dirname(package)
    items = {node.get("id"): node for node in _find(root, "item")}
    pages: list[str] = []
    for reference in _find(root, "itemref"):
        item = items.get(reference.get("idref"))
        if item is None:
            notes.count("missing_pages")
            continue
        if item.get("media-type") not in _PAGES:
            notes.count("pages_without_text")
            continue
        if "nav" in (item.get("properties") or "").split():
            notes.count("navigation_elements")
            continue
        href = urllib.parse.unquote(str(item.get("href")).partition("#")[0])
        name = posixpath.normpath(posixpath.join(folder, href))
        if name in protected:
            raise CorpusError(f"{path} has copy protection (DRM)", "use a copy without it")
        if name not in archive:
            notes.count("missing_pages")
        elif name not in pages:
            pages.append(name)
    if not pages:
        raise CorpusError(f"{path} lists no pages", "save or copy it again")
    return pages


def _list_protected(archive: Archive) -> set[str]:
    if _ENCRYPTION not in archive:
        return set()
    names = set()
    for data in _find(_parse(archive, _ENCRYPTION), "EncryptedData"):
        methods = [node.get("Algorithm") for node in _find(data, "EncryptionMethod")]
        if not any(method in _FONT_ALGORITHMS for method in methods):
            names |= {urllib.parse.unquote(str(node.get("URI"))) for node in _find(data, "CipherReference")}
    return names


def _parse(archive: Archive, name: str) -> Any:
    """Return the root of a small XML part; entities are not expanded and nothing is loaded."""
    etree = import_lxml()
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(archive.read(name), parser)
    except etree.XMLSyntaxError as failure:
        raise CorpusError(f"{name} is damaged: {failure.msg}", "save or copy it again") from None


def _find(root: Any, name: str) -> Any:
    return root.iter(f"{{*}}{name}")
