"""`tinyedge tokenizer`: train a vocabulary on a corpus."""

from pathlib import Path
from typing import Annotated

import typer

from tinyedge.cli._options import Values, options_from, select_given
from tinyedge.text.tokenizer_config import TokenizerConfig


@options_from("settings", TokenizerConfig, optional=True)
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
    from tinyedge.cli._argv import format_command
    from tinyedge.cli._echo import print_next, print_note, print_result
    from tinyedge.core.errors import CorpusError
    from tinyedge.core.files import require_file
    from tinyedge.corpus.build import CORPUS_NAME
    from tinyedge.corpus.split import draw_split
    from tinyedge.text.train_tokenizer import prepare_tokenizer
    from tinyedge.train.storage.previous_run import replace_data

    chosen = select_given(settings)
    config = TokenizerConfig(**chosen)
    text = corpus or output_dir / CORPUS_NAME
    require_file(text, CorpusError, "write a corpus with tinyedge corpus, or pass --corpus")
    with replace_data(output_dir, print_note):
        path, report = prepare_tokenizer(
            draw_split(text), output_dir, config, print_note, flexible=settings.keys() - chosen, chosen=chosen
        )
    print_result(f"{path}  {report.pieces} pieces, sha256 {report.sha256[:12]}")
    print_result(
        f"held-out text: {report.bytes_per_token:.2f} bytes per token, {100 * report.unknown:.3f}% unknown"
    )
    if corpus is None:  # `train` needs the corpus in its folder
        print_next(format_command(["train", "--output-dir", output_dir]))
