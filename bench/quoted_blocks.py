"""Parts of documents that quote a report, so that no figure there is typed by hand.

A part is between `<!-- NAME -->` and `<!-- end -->`.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tinyedge.core import files

BLOCK = re.compile(r"(<!-- ([\w:-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def fill_blocks(text: str, parts: Mapping[str, str]) -> str:
    """Return a document with the parts of these names replaced; others stay."""
    return BLOCK.sub(
        lambda block: f"{block[1]}{parts[block[2]]}\n{block[4]}" if block[2] in parts else block[0], text
    )


def update_documents(paths: Iterable[Path], parts: Mapping[str, str]) -> list[Path]:
    """Write the parts into the documents that quote them, and return those that changed."""
    changed = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        if (new := fill_blocks(text, parts)) != text:
            files.write_text(path, new)
            changed.append(path)
    return changed
