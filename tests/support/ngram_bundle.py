"""A bundle with a table of n-grams: the micro bundle, and n-grams of drawn tokens."""

from pathlib import Path

import numpy as np

from tinyedge.bundle.bundle import load_bundle, write_bundle
from tinyedge.ngram.counts import count_ngrams
from tinyedge.ngram.estimate import estimate
from tinyedge.ngram.write import encode_table

WEIGHTS = (0.1, 0.2, 0.3, 0.4)
GENERATED = ("schema", "created", "tinyedge", "files", "ngrams")


def make_ngrams(vocab_size: int = 1000, tokens: int = 6000) -> bytes:
    """Return the content of a small `ngrams.bin`; it is the same each time."""
    drawn = np.random.default_rng(3).zipf(1.3, tokens) % (vocab_size - 4) + 4
    text = drawn.astype(np.uint16)
    return encode_table(estimate(count_ngrams([text], vocab_size)), WEIGHTS)


def write_ngram_bundle(source: Path, folder: Path, ngrams: bytes | None = None) -> Path:
    """Write a copy of the bundle `source` with n-grams; by default those of `make_ngrams`."""
    whole = load_bundle(source)
    manifest = {name: value for name, value in whole.manifest.items() if name not in GENERATED}
    card = whole.card.decode()
    content = make_ngrams(whole.config.vocab_size) if ngrams is None else ngrams
    return write_bundle(folder, manifest, whole.model, whole.tokenizer, card, content)
