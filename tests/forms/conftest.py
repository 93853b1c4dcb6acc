"""Vocabularies of both kinds, and texts that are drawn from a form at random."""

import random
from collections.abc import Callable

import pytest

from tinyedge.forms.form import Form
from tinyedge.forms.matcher import Matcher
from tinyedge.forms.vocabulary import Vocabulary
from tinyedge.text.tokenizer import EOS_ID, Tokenizer

Draw = Callable[[Form, int], str | None]
MAX_TOKENS = 120
P_END = 0.25  # of a complete text that may go on


@pytest.fixture(scope="session", params=["pieces", "bytes"])
def tokenizer(request: pytest.FixtureRequest, json_model: bytes, bytes_model: bytes) -> Tokenizer:
    return Tokenizer(json_model if request.param == "pieces" else bytes_model)


@pytest.fixture(scope="session")
def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    return Vocabulary(tokenizer)


@pytest.fixture(scope="session")
def draw_text(tokenizer: Tokenizer, vocabulary: Vocabulary) -> Draw:
    """Draw a text of a form, all allowed tokens alike; None if it does not end within MAX_TOKENS."""

    def draw(form: Form, seed: int) -> str | None:
        chance = random.Random(seed)
        text = Matcher(form.build(), vocabulary).begin()
        tokens: list[int] = []
        while not text.is_final:
            if text.is_complete and chance.random() < P_END:
                break
            few = text.list_few()
            allowed = text.list_all() if few is None else list(few)
            assert allowed, "a dead end"
            token = chance.choice(allowed)
            if token == EOS_ID:
                break
            text.push(token)
            tokens.append(token)
            if len(tokens) == MAX_TOKENS:
                return None
        assert text.is_complete
        return tokenizer.decode(tokens)

    return draw
