"""`tinyedge tokenizer`: a vocabulary from a corpus."""

from pathlib import Path
from typing import Annotated

import typer


def tokenizer(
    corpus: Annotated[
        Path | None, typer.Option(help="Corpus file; by default OUTPUT_DIR/corpus_bilingual.txt.")
    ] = None,
    output_dir: Annotated[Path, typer.Option(help="Where the .model and .vocab files go.")] = Path("data"),
    vocab_size: Annotated[int, typer.Option(help="Pieces, special tokens included.")] = 8000,
    character_coverage: Annotated[float, typer.Option(help="Share of characters that get a piece.")] = 0.9995,
    byte_fallback: Annotated[
        bool, typer.Option("--byte-fallback", help="Spell rare characters in bytes instead of UNK.")
    ] = False,
) -> None:
    """Train a SentencePiece vocabulary on a corpus and measure it on the held-out tenth."""
    from tinyedge.cli._echo import note
    from tinyedge.corpus.build import CORPUS_NAME
    from tinyedge.corpus.split import draw_split
    from tinyedge.text.train_tokenizer import TokenizerConfig, prepare_tokenizer

    config = TokenizerConfig(vocab_size, character_coverage, byte_fallback)
    split = draw_split(corpus or output_dir / CORPUS_NAME)
    output_dir.mkdir(parents=True, exist_ok=True)
    path, report = prepare_tokenizer(split, output_dir, config, note)
    typer.echo(f"{path}  {report.pieces} pieces, sha256 {report.sha256[:12]}")
    typer.echo(
        f"held-out text: {report.bytes_per_token:.2f} bytes a token, {100 * report.unknown:.3f} % unknown"
    )
