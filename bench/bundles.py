"""Bundles for measuring: random weights and a vocabulary of invented words.

As fast as trained ones, and soon made. Nothing was compared with anything, so they claim no quality.
"""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tinyedge.boards import DEFAULT_BOARD
from tinyedge.boards.board import default_board
from tinyedge.bundle.bundle import write_bundle
from tinyedge.bundle.manifest import SPECIAL_IDS
from tinyedge.core.config import ModelConfig
from tinyedge.export.fused_graph import build_fused_graph
from tinyedge.export.quantize import Quantization, quantize
from tinyedge.export.weights import Weights
from tinyedge.text import train_tokenizer
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.text.train_tokenizer import TokenizerConfig
from tinyedge.train.model import TinyTransformer

SEED = 4
WORDS_A_PIECE, LINES_A_PIECE, WORDS_A_LINE = 1.5, 2.5, 8  # enough for a vocabulary of any size
ONSETS = ("b", "br", "c", "ch", "d", "f", "g", "gl", "h", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "v")
ENDS = ("", "n", "r", "s", "l")
NOTHING_COMPARED = {
    "prompts": 0,
    "max_abs_logit_difference": 0.0,
    "greedy_tokens_equal": False,
    "tokens_compared": 0,
}


def lines(vocab_size: int) -> Iterator[str]:
    """Text that means nothing, the same each time."""
    draw = random.Random(SEED)
    syllables = [onset + vowel + end for onset in ONSETS for vowel in "aeiou" for end in ENDS]
    count = int(WORDS_A_PIECE * vocab_size)
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(count)]
    count = int(LINES_A_PIECE * vocab_size)
    return (" ".join(draw.choices(words, k=WORDS_A_LINE)) for _ in range(count))


def invented_pieces(vocab_size: int) -> bytes:
    """A `tokenizer.model` of invented words."""
    return train_tokenizer.train(lines(vocab_size), "invented words", TokenizerConfig(vocab_size=vocab_size))


def write_invented(folder: Path, config: ModelConfig, pieces: bytes) -> Path:
    """Random weights of that shape, in int8."""
    torch.manual_seed(SEED)
    model = TinyTransformer(config).eval()
    weights = Weights.from_model(model)
    card = "# Random weights\n\nMade by bench/bundles.py; its text means nothing.\n"
    return write_unproven(folder, model, weights, quantize(weights), pieces, "none", card)


def write_unproven(
    folder: Path,
    model: TinyTransformer,
    weights: Weights,
    quantization: Quantization | None,
    pieces: bytes,
    recipe: str,
    card: str,
) -> Path:
    """A bundle that claims nothing. quantization: None is fp32. recipe: name of the training."""
    config = model.config
    digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values()))
    manifest: dict[str, Any] = {
        "model": config.to_dict(),
        "parameters": config.parameters,
        "tokenizer": {"sha256": Tokenizer(pieces).sha256, "vocab_size": config.vocab_size, **SPECIAL_IDS},
        "target": DEFAULT_BOARD,
        "budgets": default_board().budgets.to_dict(),
        "parity": NOTHING_COMPARED,
        "quality": {},
        "training": {"recipe": recipe, "checkpoint_sha256": digest.hexdigest()},
        "precision": "int8" if quantization else "fp32",
        "quantization": quantization.to_dict() if quantization else None,
    }
    graph = build_fused_graph(weights, quantization.matrices if quantization else {})
    return write_bundle(folder, manifest, graph, pieces, card)
