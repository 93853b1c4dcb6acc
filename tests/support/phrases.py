"""A text to train on: documents of the phrasebook."""

import itertools
from pathlib import Path

from tinyedge.corpus import phrasebook


def write_phrases(path: Path, start: int, stop: int) -> Path:
    """Write some documents of the phrasebook, by their numbers, with blank lines between them."""
    documents = itertools.islice(phrasebook.generate_documents(), start, stop)
    path.write_text("\n\n".join("\n".join(d.sentences) for d in documents), encoding="utf-8")
    return path
