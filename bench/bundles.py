"""Bundles for measurements: random weights and a vocabulary of invented words.

They are as fast as trained ones, and quick to make. Nothing is verified, so they state no quality.
"""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tinyedge.boards import DEFAULT_BOARD
from tinyedge.boards.load import default_board
from tinyedge.bundle.bundle import write_bundle
from tinyedge.bundle.manifest import SPECIAL_IDS
from tinyedge.core.config import ModelConfig
from tinyedge.export.fused_graph import build_fused_graph
from tinyedge.export.quantize import Quantization, quantize
from tinyedge.export.weights import Weights
from tinyedge.ngram import DEFAULT_NGRAM_MB
from tinyedge.ngram.counts import count_ngrams
from tinyedge.ngram.estimate import estimate
from tinyedge.ngram.prune import prune
from tinyedge.ngram.write import encode_table
from tinyedge.text import train_tokenizer
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.text.train_tokenizer import TokenizerConfig
from tinyedge.train.model import TinyTransformer
from tinyedge.train.model_id import compute_model_id

SEED = 4
WORDS_PER_PIECE, LINES_PER_PIECE, WORDS_PER_LINE = 1.5, 2.5, 8  # enough for a vocabulary of any size
ONSETS = ("b", "br", "c", "ch", "d", "f", "g", "gl", "h", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "v")
ENDS = ("", "n", "r", "s", "l")
# Of a table of n-grams: tokens of a text of 4 MB, and the share of them that follow from the token before.
# So a token has about as many continuations, and reads about as many blocks, as in a table made of novels.
NGRAM_TOKENS, FOLLOWING = 800_000, 0.6
NGRAM_WEIGHTS = (0.1, 0.1, 0.2, 0.2)  # as export chooses them after a run of some minutes
UNVERIFIED_PARITY = {
    "prompts": 0,
    "max_abs_logit_difference": 0.0,
    "greedy_tokens_equal": False,
    "tokens_compared": 0,
}


def generate_lines(vocab_size: int) -> Iterator[str]:
    """Generate meaningless text, enough for a vocabulary; it is the same each time."""
    draw = random.Random(SEED)
    syllables = [onset + vowel + end for onset in ONSETS for vowel in "aeiou" for end in ENDS]
    count = int(WORDS_PER_PIECE * vocab_size)
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(count)]
    count = int(LINES_PER_PIECE * vocab_size)
    return (" ".join(draw.choices(words, k=WORDS_PER_LINE)) for _ in range(count))


def train_random_tokenizer(vocab_size: int) -> bytes:
    """Train a `tokenizer.model` on invented words."""
    return train_tokenizer.train(
        generate_lines(vocab_size), "invented words", TokenizerConfig(vocab_size=vocab_size)
    )


def draw_ngrams(vocab_size: int) -> bytes:
    """Draw tokens and return the content of an `ngrams.bin` with their n-grams; it is the same each time."""
    draw = np.random.default_rng(SEED)
    words = vocab_size - len(SPECIAL_IDS)
    shares = 1 / (2 + np.arange(words))
    drawn = draw.choice(words, NGRAM_TOKENS, p=shares / shares.sum())
    follows = draw.random(NGRAM_TOKENS) < FOLLOWING
    for at in np.flatnonzero(follows[1:]) + 1:  # each token has likely followers of its own
        drawn[at] = (drawn[at] + 31 * drawn[at - 1]) % words
    tokens = (drawn + len(SPECIAL_IDS)).astype(np.uint16)
    trie = prune(estimate(count_ngrams([tokens], vocab_size)), int(DEFAULT_NGRAM_MB * 2**20))
    return encode_table(trie, NGRAM_WEIGHTS)


def write_random_bundle(
    folder: Path, config: ModelConfig, pieces: bytes, ngrams: bytes | None = None
) -> Path:
    """Write a bundle with random weights in int8.

    Args:
        folder: Folder of the bundle.
        config: Shape of the model.
        pieces: Content of `tokenizer.model`.
        ngrams: Content of `ngrams.bin`; None for none.
    """
    torch.manual_seed(SEED)
    model = TinyTransformer(config).eval()
    weights = Weights.from_model(model)
    card = "# Random weights\n\nMade by bench/bundles.py; its text means nothing.\n"
    return write_unverified_bundle(folder, model, weights, quantize(weights), pieces, "none", card, ngrams)


def write_unverified_bundle(
    folder: Path,
    model: TinyTransformer,
    weights: Weights,
    quantization: Quantization | None,
    pieces: bytes,
    recipe: str,
    card: str,
    ngrams: bytes | None = None,
) -> Path:
    """Write a bundle whose manifest states no quality and no parity.

    Args:
        folder: Folder of the bundle.
        model: The model.
        weights: Its weights.
        quantization: Its int8 matrices; None writes fp32.
        pieces: Content of `tokenizer.model`.
        recipe: Name of the training's recipe.
        card: Content of README.md.
        ngrams: Content of `ngrams.bin`; None for none.
    """
    config, tokenizer = model.config, Tokenizer(pieces)
    digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values()))
    manifest: dict[str, Any] = {
        "model_id": compute_model_id(model.state_dict(), config, tokenizer.sha256),
        "model": config.to_dict(),
        "parameters": config.parameters,
        "tokenizer": {"sha256": tokenizer.sha256, "vocab_size": config.vocab_size, **SPECIAL_IDS},
        "target": DEFAULT_BOARD,
        "budgets": default_board().budgets.to_dict(),
        "parity": UNVERIFIED_PARITY,
        "quality": {},
        "training": {"recipe": recipe, "checkpoint_sha256": digest.hexdigest()},
        "precision": "int8" if quantization else "fp32",
        "quantization": quantization.to_dict() if quantization else None,
    }
    graph = build_fused_graph(weights, quantization.matrices if quantization else {})
    return write_bundle(folder, manifest, graph, pieces, card, ngrams)
