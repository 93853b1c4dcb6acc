"""The text that lm-evaluation-harness evaluates through the server, and tinyedge's own result for it.

In: a bundle. Out: files in a work folder: the tokenizer as transformers reads it, the documents, and the
result of `tinyedge eval`. Documents fit into one window of the model, so both programs predict the same
tokens from the same context.
"""

import itertools
import json
import subprocess
import sys
from pathlib import Path

from tinyedge.bundle.bundle import load_bundle
from tinyedge.corpus.phrasebook import generate_documents
from tinyedge.corpus.sentence_splitter import split_sentences
from tinyedge.export.portable.tokenizer import build_tokenizer_config, build_tokenizer_json, parse_vocabulary
from tinyedge.text.evaluate import read_lines_by_document
from tinyedge.text.tokenizer import Tokenizer

DOCUMENTS = 60
RESERVED_TOKENS = 2  # of the context: the harness generates one token that it ignores


def write_evaluation(bundle_path: Path, work: Path) -> None:
    """Write `tokenizer/`, `documents.json` and `eval.json`."""
    bundle = load_bundle(bundle_path)
    parsed = parse_vocabulary(bundle.tokenizer)
    folder = work / "tokenizer"
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(build_tokenizer_json(parsed)), encoding="utf-8")
    config = build_tokenizer_config(parsed, bundle.config)
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    text = work / "documents.jsonl"  # each row is a document, whatever its lines look like
    rows = collect_documents(Tokenizer(bundle.tokenizer), bundle.config.max_seq_length)
    text.write_text(
        "".join(json.dumps({"text": "\n".join(lines)}) + "\n" for lines in rows), encoding="utf-8"
    )
    documents = list(read_lines_by_document(text))  # as `tinyedge eval` reads them
    (work / "documents.json").write_text(
        json.dumps({"context": bundle.config.max_seq_length, "documents": documents}), encoding="utf-8"
    )
    command = [sys.executable, "-m", "tinyedge", "eval", str(bundle_path), "--text", f"documents={text}"]
    subprocess.run([*command, "--json", str(work / "eval.json")], check=True, stdout=subprocess.DEVNULL)


def collect_documents(tokenizer: Tokenizer, context: int) -> list[list[str]]:
    """Collect the first lines of phrasebook documents that fit into one window.

    The lines are those that `tinyedge eval` makes of them: a greeting may be several sentences, and each has
    a BOS and an EOS of its own.
    """
    found: list[list[str]] = []
    for document in generate_documents(seed=3):
        lines: list[str] = []
        size = 0
        for line in itertools.chain.from_iterable(map(split_sentences, document.sentences)):
            size += len(tokenizer.encode_line(line))
            if size > context - RESERVED_TOKENS or len(lines) == 2:
                break
            lines.append(line)
        if lines:
            found.append(lines)
        if len(found) == DOCUMENTS:
            break
    return found
