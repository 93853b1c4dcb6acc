"""Parquet: the columns of a table that hold text.

In: a `.parquet` file. Out: the lines of its rows' text. Only the columns with text are read, in batches. Does
not know which columns hold text: `tables` does.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinyedge.core.errors import CorpusError, MissingDependencyError
from tinyedge.corpus.formats.tables import SAMPLE_ROWS, MissingFieldError, choose_columns, read_rows
from tinyedge.corpus.read_notes import ReadNotes

BATCH_ROWS = 256
MAX_GROUP_BYTES = 1 << 30  # of the columns with text in a row group, unpacked


def read_paragraphs(path: Path, notes: ReadNotes, field: str = "") -> Iterator[str]:
    """Stream the lines of the rows' text.

    Raises:
        CorpusError: The file is damaged, or has no column with text.
        MissingDependencyError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise MissingDependencyError("pyarrow", "documents") from None
    try:
        with ParquetFile(path, memory_map=True) as file:
            names = [entry.name for entry in file.schema_arrow if _can_hold_text(pyarrow, entry.type)]
            if field and field not in names:
                hint = f"choose one with --field: {', '.join(names)}"
                raise MissingFieldError(f"{path} has no column {field} with text", hint)
            sample = list(itertools.islice(_read_rows(file, names), SAMPLE_ROWS))
            chosen = choose_columns(path, names, sample, field, notes)
            notes.other_fields = tuple(name for name in file.schema_arrow.names if name not in notes.fields)
            columns = [names[number] for number in chosen]
            _check_sizes(path, file.metadata, columns)
            short = [[row[number] for number in chosen] for row in sample]
            yield from read_rows(_read_rows(file, columns), range(len(columns)), short)
    except pyarrow.ArrowException as failure:
        raise CorpusError(f"{path} is not a valid Parquet file: {failure}", "save or copy it again") from None
    except OSError as failure:
        reason = failure.strerror or str(failure).partition("\n")[0]
        raise CorpusError(f"{path} cannot be read: {reason}", "save or copy it again") from None


def _can_hold_text(pyarrow: Any, kind: Any) -> bool:
    types = pyarrow.types
    if types.is_dictionary(kind):
        return _can_hold_text(pyarrow, kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind):
        return _can_hold_text(pyarrow, kind.value_type)
    if types.is_struct(kind):
        return any(_can_hold_text(pyarrow, kind.field(number).type) for number in range(kind.num_fields))
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _read_rows(file: Any, columns: list[str]) -> Iterator[list[Any]]:
    if not columns:
        return
    for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
        yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)


def _check_sizes(path: Path, metadata: Any, columns: list[str]) -> None:
    """Raise CorpusError if a row group unpacks to more than memory should hold."""
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        parts = [group.column(index) for index in range(group.num_columns)]
        size = sum(
            part.total_uncompressed_size for part in parts if part.path_in_schema.split(".")[0] in columns
        )
        if size > MAX_GROUP_BYTES:
            raise CorpusError(
                f"{path} is too large: a row group unpacks to {size / 1e6:,.0f} MB",
                "write smaller row groups",
            )
