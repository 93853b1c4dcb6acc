"""Recognize files that tinyedge wrote, so that a folder of texts can also be the place of a run.

In: paths below a folder that is read. Out: whether tinyedge wrote them. A folder is recognized by the file
that describes it, with its schema; not by its name, which the user chooses. Reads only the beginning of such
files.
"""

import re
from fnmatch import fnmatch
from pathlib import Path

CACHE_MARKER = ".tinyedge-cache"  # an empty file in a folder of downloads
_HEAD_BYTES = 4096  # the schema is the first field
_REPORT_SUFFIXES = (".csv", ".html")  # of `tinyedge bench`, next to its JSON


def _compile_schema(kind: str) -> re.Pattern[bytes]:
    return re.compile(rb'\s*\{\s*"schema":\s*"tinyedge\.' + kind.encode())


_ANY_SCHEMA, _REPORT_SCHEMA = _compile_schema(""), _compile_schema("bench/")
_RUN_FILES = (
    *("training_metrics.json", "training_curve.png", "corpus_bilingual.txt"),
    *("best_model.pt", "final_model.pt", "checkpoint_*.pt"),
)
_PORTABLE_FILES = (
    *("README.md", "config.json", "generation_config.json", "genai_config.json", "model.safetensors"),
    *("special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "tokenizer_module.json"),
)
# Describing file, its content, and the names next to it that tinyedge wrote. No folder is listed: the user
# may have put texts into it, and what tinyedge wrote there has a describing file of its own.
_MARKERS = (
    ("corpus.json", _compile_schema("corpus/"), ("corpus.json", "corpus_bilingual.txt")),
    (".corpus.json.next", _compile_schema("corpus/"), ("corpus_bilingual.txt",)),
    (
        "tokenizer.json",
        _compile_schema("tokenizer/"),
        ("tokenizer.json", "bilingual_*.model", "bilingual_*.vocab"),
    ),
    ("training_metrics.json", _compile_schema("training/"), _RUN_FILES),
    ("shards.json", _compile_schema("shards/"), ("shards.json", "train.bin", "validation.bin")),
    ("sweep.json", _compile_schema("sweep/"), ("sweep.json", "sweep.png", "sweep.journal")),
    (
        "manifest.json",
        _compile_schema("bundle/"),
        ("manifest.json", "manifest.json.sig", "model.onnx", "tokenizer.model", "README.md"),
    ),
    (
        "kit.json",
        _compile_schema("kit/"),
        (
            *("kit.json", "SHA256SUMS", "requirements.lock", "install.sh", "alerts.yml"),
            *("tinyedge-backoff.conf", "tinyedge.service"),
        ),
    ),
    (CACHE_MARKER, re.compile(b""), ("pg[0-9]*.txt",)),
)
_TRIAL = re.compile(r"trial-[0-9]{4,}")  # a folder of a sweep
_PREVIOUS_RUN = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9]{6}")  # the time at which a run was moved to previous/
_PORTABLE_TITLE = re.compile(rb"^# A tinyedge model\r?$", re.MULTILINE)


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
            return _ANY_SCHEMA.match(_read_head(path)) is not None
        report = path.with_suffix(".json")
        return suffix in _REPORT_SUFFIXES and _REPORT_SCHEMA.match(_read_head(report)) is not None

    def _find_patterns(self, folder: Path) -> tuple[str, ...]:
        """Return patterns of the names in a folder that tinyedge wrote."""
        if folder not in self._patterns:
            self._patterns[folder] = tuple(
                pattern
                for marker, text, patterns in _MARKERS
                if (folder / marker).is_file() and text.match(_read_head(folder / marker))
                for pattern in patterns
            )
            if _is_portable_model(folder):
                self._patterns[folder] += _PORTABLE_FILES
            if _is_started_run(folder):
                self._patterns[folder] += _RUN_FILES
        return self._patterns[folder]


def _is_portable_model(folder: Path) -> bool:
    """Whether a folder contains a portable model: its card alone may be a copy."""
    return (
        all((folder / name).is_file() for name in ("config.json", "genai_config.json"))
        and _PORTABLE_TITLE.search(_read_head(folder / "README.md")) is not None
    )


def _is_started_run(folder: Path) -> bool:
    """Whether a folder of a sweep or in `previous/` contains a run, which may have no metrics yet."""
    is_named = (
        _PREVIOUS_RUN.fullmatch(folder.name)
        if folder.parent.name == "previous"
        else _TRIAL.fullmatch(folder.name)
    )
    return is_named is not None and any(
        file.name.endswith(".pt") or file.name == "shards" for file in folder.iterdir()
    )


def _read_head(path: Path) -> bytes:
    """Return the beginning of a file; empty if it cannot be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""
