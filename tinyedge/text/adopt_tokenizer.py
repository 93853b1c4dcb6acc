"""Keep the vocabulary of another run, for a run that goes on from its model.

In: a vocabulary's file and the new corpus. Out: the same file in the new run's folder, with a report. Does
not know models.
"""

from collections.abc import Callable
from pathlib import Path

from tinyedge.core import files
from tinyedge.corpus.split import Split
from tinyedge.text.tokenizer import Tokenizer, model_name
from tinyedge.text.tokenizer_config import TokenizerConfig
from tinyedge.text.train_tokenizer import measure_fit
from tinyedge.text.vocabulary_report import (
    VocabularyReport,
    load_report,
    publish_pending_report,
    require_own_files,
    save_pending_report,
)

UNKNOWN_CORPUS = 64 * "0"  # digest of the corpus of a vocabulary that came without a report


def adopt_tokenizer(
    tokenizer: Tokenizer, source: Path, split: Split, output_dir: Path, note: Callable[[str], None]
) -> Path:
    """Copy a vocabulary to a run's folder, or reuse the copy that is there.

    Its report names the text that it was trained on, so that no later run replaces it silently.

    Args:
        tokenizer: The vocabulary.
        source: Its file.
        split: The corpus of the run, on which the vocabulary is measured.
        output_dir: Folder of the run.
        note: Receives a line about what was done.

    Returns:
        The path of the copy.

    Raises:
        TokenizerError: A file would be replaced that tinyedge did not write.
    """
    path = output_dir / model_name(tokenizer.vocab_size)
    existing = load_report(output_dir)
    if existing and existing.sha256 == tokenizer.sha256 and path.exists():
        note(f"tokenizer: reused {path}")
        return path
    original = load_report(source.parent)
    if original and original.sha256 != tokenizer.sha256:
        original = None
    require_own_files(output_dir, path)
    bytes_per_token, unknown = measure_fit(tokenizer, split.held_out_lines())
    report = VocabularyReport(
        original.config if original else TokenizerConfig(tokenizer.vocab_size),
        original.corpus_sha256 if original else UNKNOWN_CORPUS,
        tokenizer.sha256,
        tokenizer.vocab_size,
        bytes_per_token,
        unknown,
        None,
        original.sentencepiece if original else None,
        original.chosen if original else (),
        (original and original.other_corpus) or f"the text of {source.parent}",
    )
    save_pending_report(output_dir, report)
    files.write_bytes(path, tokenizer.content)
    files.write_text(path.with_suffix(".vocab"), tokenizer.vocabulary_table())
    publish_pending_report(output_dir)
    note(f"tokenizer: kept {source}: {bytes_per_token:.2f} bytes per token of the new text")
    return path
