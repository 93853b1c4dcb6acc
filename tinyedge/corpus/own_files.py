"""Recognize files that tinyedge wrote, so that a folder of texts can also be the place of a run.

In: paths below a folder that is read. Out: whether tinyedge wrote them. A folder is recognized by the file
that describes it, with its schema; not by its name, which the user chooses. Reads only the beginning of such
files.
"""

import re
from fnmatch import fnmatch
from pathlib import Path

CACHE_MARKER = ".tinyedge-cache"  # an empty file in a folder of downloads
_EVERYTHING = ("*",)
# Describing file, text in it, and the names next to it that tinyedge wrote.
_MARKERS = (
    (
        "corpus.json",
        b'"tinyedge.corpus/',
        ("corpus.json", "corpus_bilingual.txt", "gutenberg", "previous"),
    ),
    (".corpus.json.next", b'"tinyedge.corpus/', ("corpus_bilingual.txt",)),
    ("tokenizer.json", b'"tinyedge.tokenizer/', ("tokenizer.json", "bilingual_*.model", "bilingual_*.vocab")),
    (
        "training_metrics.json",
        b'"tinyedge.training/',
        (
            *(
                "training_metrics.json",
                "training_curve.png",
                "best_model.pt",
                "final_model.pt",
                "checkpoint_*.pt",
            ),
            *("corpus_bilingual.txt", "shards", "tensorboard", "previous"),
        ),
    ),
    ("shards.json", b'"tinyedge.shards/', ("shards.json", "train.bin", "validation.bin")),
    ("sweep.json", b'"tinyedge.sweep/', ("sweep.json", "sweep.png", "sweep.journal", "trial-*")),
    ("manifest.json", b'"tinyedge.bundle/', _EVERYTHING),
    ("kit.json", b'"tinyedge.kit/', _EVERYTHING),
    ("README.md", b"# A tinyedge model", _EVERYTHING),  # a portable model
    (CACHE_MARKER, b"", _EVERYTHING),
)
_REPORT_SUFFIXES = (".csv", ".html")  # of `tinyedge bench`, next to its JSON
_ANY_SCHEMA = re.compile(rb'"schema":\s*"tinyedge\.')
_REPORT_SCHEMA = b'"tinyedge.bench/'
_HEAD_BYTES = 4096  # the schema is the first field


class OwnFiles:
    """Files below one folder that tinyedge wrote.

    Args:
        root: The folder that is searched.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._patterns: dict[Path, tuple[str, ...]] = {}

    def contains(self, path: Path) -> bool:
        """Whether tinyedge wrote the file at `path`, which is below the root."""
        parts = path.relative_to(self._root).parts
        folder = self._root
        for name in parts:
            if any(fnmatch(name, pattern) for pattern in self._find_patterns(folder)):
                return True
            folder /= name
        suffix = path.suffix.lower()
        if suffix == ".json":
            return _ANY_SCHEMA.search(_read_head(path)) is not None
        return suffix in _REPORT_SUFFIXES and _REPORT_SCHEMA in _read_head(path.with_suffix(".json"))

    def _find_patterns(self, folder: Path) -> tuple[str, ...]:
        """Return patterns of the names in a folder that tinyedge wrote."""
        if folder not in self._patterns:
            self._patterns[folder] = tuple(
                pattern
                for marker, text, patterns in _MARKERS
                if (folder / marker).is_file() and text in _read_head(folder / marker)
                for pattern in patterns
            )
        return self._patterns[folder]


def _read_head(path: Path) -> bytes:
    """Return the beginning of a file; empty if it cannot be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""
