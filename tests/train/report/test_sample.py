"""Prompts of the samples that a run shows: openings of its held-out text."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")

from tinyedge.text.evaluate import tokenize_document
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.train.report.sample import choose_prompts


def test_a_prompt_has_the_language_that_its_text_is_held_out_as(micro_bundle: Path) -> None:
    tokenizer = Tokenizer((micro_bundle / "tokenizer.model").read_bytes())
    chat = [
        "no se lo digas a ella, pero esta noche yo no voy.",
        '"i would have called you," she said to him.',
        "the old man was at home when they came.",
    ]
    passages = [tokenize_document(chat, tokenizer)]
    shards: Any = SimpleNamespace(
        languages=("en", "es"), template="", validation_passages=lambda language: passages
    )
    english, spanish = choose_prompts(shards, tokenizer)
    assert chat[2].startswith(english)
    assert chat[0].startswith(spanish)
