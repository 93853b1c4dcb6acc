"""Which data files of a run folder a killed command of tinyedge wrote, by the digests that it recorded.

In: a run folder and the name of a file in it. Out: whether tinyedge wrote exactly this content. A file that
nothing describes is the user's. Does not change files.
"""

from pathlib import Path

from tinyedge.core import files
from tinyedge.core.errors import TinyEdgeError
from tinyedge.corpus.build import CORPUS_NAME, has_report
from tinyedge.corpus.build import REPORT_NAME as CORPUS_REPORT
from tinyedge.corpus.build import SCHEMA as CORPUS_SCHEMA
from tinyedge.text.shards import FOLDER as SHARDS_FOLDER
from tinyedge.text.shards import INDEX_FILE, TRAIN_FILE, VALIDATION_FILE
from tinyedge.text.shards import SCHEMA as SHARDS_SCHEMA
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.text.train_tokenizer import REPORT_FILE as TOKENIZER_REPORT
from tinyedge.text.vocabulary_report import PENDING_FILE as PENDING_TOKENIZER_REPORT
from tinyedge.text.vocabulary_report import SCHEMA as TOKENIZER_SCHEMA

_REPORT_SCHEMAS = {
    Path(CORPUS_REPORT): CORPUS_SCHEMA,
    Path(TOKENIZER_REPORT): TOKENIZER_SCHEMA,
    Path(SHARDS_FOLDER, INDEX_FILE): SHARDS_SCHEMA,
}
_SHARD_DIGESTS = {TRAIN_FILE: "train_sha256", VALIDATION_FILE: "validation_sha256"}


def is_written_by_tinyedge(folder: Path, name: Path) -> bool:
    """Whether a data file has the content that a report in its folder records.

    Args:
        folder: The run folder.
        name: The file, relative to the folder.
    """
    path = folder / name
    try:
        if name in _REPORT_SCHEMAS:
            files.read_json(path, _REPORT_SCHEMAS[name], TinyEdgeError)
            return True
        if name == Path(CORPUS_NAME):
            return has_report(path)
        if name.suffix == ".vocab":
            model = name.with_suffix(".model")
            table = Tokenizer.load(folder / model).vocabulary_table().encode()
            return is_written_by_tinyedge(folder, model) and path.read_bytes() == table
        return files.sha256_file(path) in _list_digests(folder, name)
    except (TinyEdgeError, OSError, ValueError):
        return False


def _list_digests(folder: Path, name: Path) -> list[object]:
    """Return the digests that are recorded for a vocabulary or a shard."""
    if name.suffix == ".model":
        reports = (folder / TOKENIZER_REPORT, folder / PENDING_TOKENIZER_REPORT)
        return [_read_field(path, TOKENIZER_SCHEMA, "sha256") for path in reports]
    return [_read_field(folder / SHARDS_FOLDER / INDEX_FILE, SHARDS_SCHEMA, _SHARD_DIGESTS[name.name])]


def _read_field(path: Path, schema: str, field: str) -> object:
    try:
        return files.read_json(path, schema, TinyEdgeError).get(field)
    except (TinyEdgeError, OSError):
        return None
