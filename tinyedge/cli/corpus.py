"""`tinyedge corpus`: text from the phrasebook, from Project Gutenberg or from the user to one corpus file."""

import json
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyedge.cli._table import aligned

if TYPE_CHECKING:
    from tinyedge.corpus.build import CorpusReport, CorpusRequest


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
    output_dir: Annotated[Path, typer.Option(help="Where corpus_bilingual.txt goes.")] = Path("data"),
    seed: Annotated[int, typer.Option(help="Seed of the phrasebook.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print corpus.json instead of a table.")] = False,
) -> None:
    """Write a corpus: one sentence a line, UTF-8, a blank line between documents."""
    from tinyedge.corpus.build import prepare_corpus

    result = prepare_corpus(
        request_for(source, inputs, seed), output_dir, report=lambda line: typer.echo(line, err=True)
    )
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False))
        return
    typer.echo(aligned(_rows(result), left=(0, 1)))
    typer.echo(f"{output_dir / result.corpus['file']}: sha256 {result.corpus['sha256']}")


def request_for(source: list[Source] | None, inputs: list[Path] | None, seed: int = 0) -> "CorpusRequest":
    """What the flags ask for: the phrasebook where they ask for nothing."""
    from tinyedge.corpus.build import CorpusRequest

    asked = source or ([] if inputs else [Source.PHRASEBOOK])
    return CorpusRequest(tuple(dict.fromkeys(asked)), tuple(inputs or ()), seed)


def _rows(result: "CorpusReport") -> list[list[str]]:
    """A row a source and language, all books as one source, all files as another; then a row a language."""
    sums: dict[tuple[str, str], Counter[str]] = {}
    columns = ("documents", "sentences", "bytes")
    for entry in result.sources:
        origin = entry["name"].partition(":")[0]  # "gutenberg:1342" is of gutenberg
        origin = origin if origin in list(Source) else "input"
        for source in (origin, "all"):
            counts = sums.setdefault((source, entry["language"]), Counter())
            counts.update({name: entry[name] for name in columns})
    ordered = sorted(sums.items(), key=lambda item: item[0][0] == "all")
    return [["source", "language", *columns]] + [
        [*key, *(f"{counts[name]:,}" for name in columns)] for key, counts in ordered
    ]
