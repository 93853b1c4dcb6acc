"""A bundle of random weights with a vocabulary of invented words: as fast as a trained one, and soon made."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import torch

from tinyedge import vocabulary
from tinyedge.bundle import write_bundle
from tinyedge.config import ModelConfig
from tinyedge.export.fused import fused_onnx
from tinyedge.export.quantize import quantize
from tinyedge.export.weights import Weights
from tinyedge.manifest import SPECIAL_IDS
from tinyedge.tokenizer import Tokenizer
from tinyedge.train.model import TinyTransformer
from tinyedge.vocabulary import TokenizerConfig

SEED = 4
WORDS, LINES, WORDS_A_LINE = 12_000, 20_000, 8  # enough for a vocabulary of 8,000
ONSETS = ("b", "br", "c", "ch", "d", "f", "g", "gl", "h", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "v")
ENDS = ("", "n", "r", "s", "l")


def lines() -> Iterator[str]:
    """Text that means nothing, the same each time."""
    draw = random.Random(SEED)
    syllables = [onset + vowel + end for onset in ONSETS for vowel in "aeiou" for end in ENDS]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(WORDS)]
    return (" ".join(draw.choices(words, k=WORDS_A_LINE)) for _ in range(LINES))


def write_invented(folder: Path) -> Path:
    """The default shape in int8. Nothing was compared, so it claims no quality."""
    config = ModelConfig()
    pieces = vocabulary.train(lines(), "invented words", TokenizerConfig(vocab_size=config.vocab_size))
    torch.manual_seed(SEED)
    model = TinyTransformer(config).eval()
    digest = hashlib.sha256(b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values()))
    weights = Weights.of(model)
    quantization = quantize(weights)
    manifest = {
        "model": config.to_dict(),
        "parameters": config.parameters,
        "tokenizer": {"sha256": Tokenizer(pieces).sha256, "vocab_size": config.vocab_size, **SPECIAL_IDS},
        "precision": "int8",
        "quantization": quantization.to_dict(),
        "target": "pi-zero-2w",
        "budgets": {"max_rss_mb": 400, "max_peak_mb": 512, "max_p95_ms": 250},
        "parity": {
            "prompts": 0,
            "max_abs_logit_difference": 0.0,
            "greedy_tokens_equal": False,
            "tokens_compared": 0,
        },
        "quality": {},
        "training": {"recipe": "none", "checkpoint_sha256": digest.hexdigest()},
    }
    card = "# Random weights\n\nMade by bench/peers/invented.py; its text means nothing.\n"
    return write_bundle(folder, manifest, fused_onnx(weights, quantization.matrices), pieces, card)
