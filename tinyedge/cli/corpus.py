"""`tinyedge corpus`: one corpus file from the phrasebook, Project Gutenberg or the user's text."""

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinyedge.cli._json import JsonOutput, JsonTarget
from tinyedge.cli._options import Values, options_from
from tinyedge.cli._table import print_table
from tinyedge.corpus.commands.settings import CommandSettings
from tinyedge.corpus.read_settings import ReadSettings

if TYPE_CHECKING:
    from tinyedge.corpus.build import CorpusReport, CorpusRequest


class Source(StrEnum):
    """Texts that tinyedge can provide."""

    PHRASEBOOK = "phrasebook"
    GUTENBERG = "gutenberg"
    COMMANDS = "commands"


@options_from("reading", ReadSettings)
@options_from("commands", CommandSettings)
def corpus(
    *,
    source: Annotated[
        list[Source] | None,
        typer.Option(
            help="Built-in text: phrasebook is generated (default without --input), gutenberg is downloaded."
        ),
    ] = None,
    inputs: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            metavar="PATH...",
            help="Your own files or folders: text, Markdown, HTML, books, documents, tables, chats.",
        ),
    ] = None,
    reading: Values,
    commands: Values,
    output_dir: Annotated[Path, typer.Option(help="Output folder of corpus_bilingual.txt.")] = Path("data"),
    seed: Annotated[int, typer.Option(help="Random seed of the phrasebook.")] = 0,
    json: JsonTarget = None,
) -> None:
    """Build a text corpus from your files or from built-in sources.

    The corpus is UTF-8 text: one sentence per line, a blank line between documents.
    """
    from tinyedge.cli._argv import format_command
    from tinyedge.cli._echo import print_next, print_note, print_result
    from tinyedge.corpus.build import prepare_corpus
    from tinyedge.train.storage.previous_run import replace_data

    output = JsonOutput.from_option(json, "tinyedge.corpus", inputs=inputs or ())
    request = make_corpus_request(source, inputs, seed, reading, commands)
    with replace_data(output_dir, print_note):
        result = prepare_corpus(request, output_dir, print_note)
    output.emit(result.to_json())
    if not output.is_printed:
        print_table(_make_rows(result), left=(0, 1))
        print_result(f"{output_dir / result.corpus['file']}: sha256 {result.corpus['sha256'][:12]}")
        print_next(format_command(["tokenizer", "--output-dir", output_dir]))


def make_corpus_request(
    source: list[Source] | None,
    inputs: list[Path] | None,
    seed: int = 0,
    reading: Values | None = None,
    commands: Values | None = None,
) -> "CorpusRequest":
    """Return the request for these options; without any, the phrasebook."""
    from tinyedge.corpus.build import CorpusRequest

    sources = source or ([] if inputs else [Source.PHRASEBOOK])
    return CorpusRequest(
        tuple(dict.fromkeys(sources)),
        tuple(inputs or ()),
        seed,
        ReadSettings(**(reading or {})),
        CommandSettings(**(commands or {})),
    )


def _make_rows(result: "CorpusReport") -> list[list[str]]:
    """Return one row per source and language (all books are one source, all files another), then the sums."""
    sums: dict[tuple[str, str], Counter[str]] = {}
    columns = ("documents", "sentences", "bytes")
    for entry in result.sources:
        origin = entry["name"].partition(":")[0]  # "gutenberg:1342" counts as gutenberg
        origin = origin if origin in list(Source) else "input"
        for source in (origin, "all"):
            counts = sums.setdefault((source, entry["language"]), Counter())
            counts.update({name: entry[name] for name in columns})
    ordered = sorted(sums.items(), key=lambda item: item[0][0] == "all")
    return [["source", "language", *columns]] + [
        [*key, *(f"{counts[name]:,}" for name in columns)] for key, counts in ordered
    ]
