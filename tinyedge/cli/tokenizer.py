"""`tinyedge tokenizer`: train a vocabulary on a corpus."""

from pathlib import Path
from typing import Annotated

import typer

from tinyedge.cli._options import Values, options_from
from tinyedge.text.tokenizer_config import TokenizerConfig


@options_from("settings", TokenizerConfig)
def tokenizer(
    *,
    corpus: Annotated[
        Path | None, typer.Option(help="Corpus file. [default: OUTPUT_DIR/corpus_bilingual.txt]")
    ] = None,
    output_dir: Annotated[Path, typer.Option(help="Output folder of the .model and .vocab files.")] = Path(
        "data"
    ),
    settings: Values,
) -> None:
    """Train a SentencePiece vocabulary on a corpus.

    It is measured on the tenth of the corpus that is held out.
    """
    from tinyedge.cli._echo import print_note
    from tinyedge.corpus.build import CORPUS_NAME
    from tinyedge.corpus.split import draw_split
    from tinyedge.text.train_tokenizer import prepare_tokenizer

    config = TokenizerConfig(**settings)
    split = draw_split(corpus or output_dir / CORPUS_NAME)
    output_dir.mkdir(parents=True, exist_ok=True)
    path, report = prepare_tokenizer(split, output_dir, config, print_note)
    typer.echo(f"{path}  {report.pieces} pieces, sha256 {report.sha256[:12]}")
    typer.echo(
        f"held-out text: {report.bytes_per_token:.2f} bytes per token, {100 * report.unknown:.3f}% unknown"
    )
