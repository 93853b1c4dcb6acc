"""A bundle whose tokenizer can spell JSON: the model of a micro bundle with other pieces.

The model was trained with other pieces, so its text means nothing. That is what tests of forms and of
clients need: it prefers no token that a form allows.
"""

import json
import random
from pathlib import Path

from tinyedge.bundle.bundle import load_bundle, write_bundle
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.text.train_tokenizer import TokenizerConfig, train

SIGNS = " \\ ^ ` ~ | < > = + * # @ _ { } [ ]"


def train_json_tokenizer(byte_fallback: bool = False) -> bytes:
    """Train 1000 pieces on invented words and JSON; with bytes on words alone: JSON then needs bytes."""
    draw = random.Random(1)
    syllables = [first + vowel + last for first in "bdlmrst" for vowel in "aeioñú" for last in ("", "n", "s")]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(1500)]
    lines = [" ".join(draw.choices(words, k=8)) for _ in range(3000)]
    if byte_fallback:
        return train(lines, "invented lines", TokenizerConfig(1000, byte_fallback=True))
    lines += [
        json.dumps(
            {draw.choice(line.split()): draw.random(), f"x_{draw.randint(0, 99)}": [draw.randint(0, 9)]}
        )
        + SIGNS
        for line in lines
    ]
    return train(lines, "invented lines", TokenizerConfig(1000, character_coverage=1.0))


def write_json_bundle(source: Path, folder: Path, pieces: bytes) -> Path:
    """Write a bundle with the model of another one and other pieces.

    Args:
        source: The other bundle.
        folder: Folder of the new one.
        pieces: Content of its `tokenizer.model`.
    """
    whole = load_bundle(source)
    added = ("schema", "created", "tinyedge", "files", "ngrams")
    manifest = {name: value for name, value in whole.manifest.items() if name not in added}
    manifest["tokenizer"] = {**manifest["tokenizer"], "sha256": Tokenizer(pieces).sha256}
    return write_bundle(folder, manifest, whole.model, pieces, "# A test fixture\n")
