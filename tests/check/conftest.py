"""Vocabularies that fit neither the built-in prompts nor the filter's list."""

import io
import random

import pytest
import sentencepiece

GREEK, LATIN = "αβγδεζηθικλμνξοπρστυφχψω", "abcdefghijklmnopqrstuvwxyzáéíóúñ"


def train_foreign_vocabulary(letters: str, normalization: str) -> bytes:
    """A SentencePiece model with tinyedge's special ids that `tinyedge tokenizer` would not train."""
    draw = random.Random(0)
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(3000)]
    lines = [" ".join(draw.choices(words, k=8)) + "." for _ in range(2000)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=1000,
        model_type="unigram",
        normalization_rule_name=normalization,
        required_chars=letters + ".,",
        bos_id=0,
        eos_id=1,
        pad_id=2,
        unk_id=3,
        minloglevel=2,
    )
    return model.getvalue()


@pytest.fixture(scope="session")
def greek_vocabulary() -> bytes:
    return train_foreign_vocabulary(GREEK, "identity")


@pytest.fixture(scope="session")
def case_folding_vocabulary() -> bytes:
    return train_foreign_vocabulary(LATIN, "nmt_nfkc_cf")
