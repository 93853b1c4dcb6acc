"""`tinyedge corpus`: text from the phrasebook, from Project Gutenberg or from the user to one corpus file."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Source(StrEnum):
    """The texts that tinyedge can get by itself."""

    PHRASEBOOK = "phrasebook"
    GUTENBERG = "gutenberg"


def corpus(
    source: Annotated[
        list[Source] | None,
        typer.Option(
            help="Text to get: phrasebook is generated here (the default), gutenberg is downloaded."
        ),
    ] = None,
    inputs: Annotated[
        list[Path] | None,
        typer.Option(
            "--input", metavar="PATH...", help="Your own .txt, .md and .jsonl files, .gz too, or folders."
        ),
    ] = None,
    output_dir: Annotated[Path, typer.Option(help="Folder for corpus_bilingual.txt and corpus.json.")] = Path(
        "data"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the phrasebook.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print corpus.json instead of a table.")] = False,
) -> None:
    """Write a corpus: one sentence a line, UTF-8, a blank line between documents."""
    from tinyedge.corpus.build import CorpusRequest, prepare_corpus

    asked = source or ([] if inputs else [Source.PHRASEBOOK])
    request = CorpusRequest(tuple(dict.fromkeys(asked)), tuple(inputs or ()), seed)
    result = prepare_corpus(request, output_dir, report=lambda line: typer.echo(line, err=True))
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
        return
    rows = [[entry["name"], entry["language"], *_counts(entry)] for entry in result.sources]
    totals = [["all", language, *_counts(counts)] for language, counts in result.languages.items()]
    typer.echo(_table([["source", "language", "documents", "sentences", "bytes"], *rows, *totals]))
    typer.echo(f"{output_dir / result.corpus['file']}: sha256 {result.corpus['sha256']}")


def _counts(entry: dict[str, Any]) -> list[str]:
    return [f"{entry[name]:,}" for name in ("documents", "sentences", "bytes")]


def _table(rows: list[list[str]]) -> str:
    """Columns aligned: two of words to the left, the rest to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = (
        [
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    )
    return "\n".join("  ".join(row) for row in aligned)
