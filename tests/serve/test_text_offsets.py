"""Offsets of tokens in the text of an answer, character by character."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyedge.runtime import Generator
from tinyedge.runtime.generator import LINE_BREAK
from tinyedge.serve.generation import Prompt
from tinyedge.serve.text_offsets import OffsetCounter, locate_prompt_tokens
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, UNK_ID, WORD_BOUNDARY, Tokenizer

PROMPTS = (
    "The weather was cold.",
    "My sister.\nIt is here.",
    "Mi  hermana  va.",
    "a\n\nb.",
    "cafe\u0301 frío.",
    "  lead  and end  ",
    "a\r\nb\rc",
    "\ttab\u00a0here",
    "日本 x 日本",
    "ma\u0308\u0323n \u1112\u1161\u11ab x",
    "é🙂 a👩‍👩‍👧b",
)


@pytest.fixture(scope="module")
def generator(micro_bundle: Path) -> Generator:
    return Generator.load(micro_bundle)


@pytest.fixture(scope="module")
def byte_tokenizer(byte_fallback_model: bytes) -> Tokenizer:
    return Tokenizer(byte_fallback_model)


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Encode a prompt as `Generator.encode_prompt` does."""
    first, *others = LINE_BREAK.split(text)
    tokens = [BOS_ID, *tokenizer.encode(first)]
    for line in others:
        tokens += [EOS_ID, BOS_ID, *tokenizer.encode(line)]
    return tokens


def require_positions(tokenizer: Tokenizer, text: str, tokens: Sequence[int], offsets: list[int]) -> None:
    """Check that each token is in the text where its offset says, up to normalization."""
    assert offsets == sorted(offsets)
    assert len(offsets) == len(tokens)
    for token, offset in zip(tokens, offsets, strict=True):
        rest = text[offset:]
        if token == EOS_ID:
            assert rest[:1] in ("\r", "\n"), (text, offset)
        elif token not in (BOS_ID, UNK_ID):
            piece = tokenizer.piece(token).decode("utf-8", "ignore")
            found = unicodedata.normalize("NFC", rest).replace(WORD_BOUNDARY, " ")
            assert found.startswith(piece) or found.startswith(piece.removeprefix(" ")), (text, piece, offset)


@pytest.mark.parametrize("text", PROMPTS)
def test_each_token_of_a_prompt_is_at_its_offset(
    generator: Generator, byte_tokenizer: Tokenizer, text: str
) -> None:
    for tokenizer in (generator.tokenizer, byte_tokenizer):
        tokens = encode(tokenizer, text)
        require_positions(tokenizer, text, tokens, locate_prompt_tokens(tokenizer, text, tokens))


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet="Tha wé\u0301\u0323日🙂\n\r \t\u00a0\u2581\u1112\u1161", max_size=30))
def test_any_prompt_has_offsets(generator: Generator, byte_tokenizer: Tokenizer, text: str) -> None:
    for tokenizer in (generator.tokenizer, byte_tokenizer):
        tokens = encode(tokenizer, text)
        require_positions(tokenizer, text, tokens, locate_prompt_tokens(tokenizer, text, tokens))


def test_known_offsets(generator: Generator, byte_tokenizer: Tokenizer) -> None:
    """Computed by hand."""
    for text, pieces, expected in (
        ("Mi  hermana  va.", [" Mi", " herman", "a", " ", "v", "a", "."], [0, 3, 10, 12, 13, 14, 15]),
        ("a\n\nb.", [" a", "\n", "", "\n", "", " b", "."], [0, 1, 2, 2, 3, 3, 4]),
        ("cafe\u0301 frío.", [" c", "af", "é", " f", "r", "í", "o", "."], [0, 1, 3, 5, 7, 8, 9, 10]),
        ("日本 x", [" ", "\ufffd", " ", "x"], [0, 0, 2, 3]),
    ):
        tokens = generator.encode_prompt(text)
        assert [generator.tokenizer.piece(token).decode() for token in tokens[1:]] == pieces
        assert locate_prompt_tokens(generator.tokenizer, text, tokens)[1:] == expected
    tokens = encode(byte_tokenizer, "日a")
    raw = [byte_tokenizer.piece(token) for token in tokens[1:]]
    assert raw == [b" ", b"\xe6", b"\x97", b"\xa5", b"a"]
    assert locate_prompt_tokens(byte_tokenizer, "日a", tokens)[1:] == [0, 0, 0, 0, 1]


def test_a_growing_text_has_the_same_offsets(byte_tokenizer: Tokenizer) -> None:
    for text in ("日本 xy", "The weather 🙂 was.", "a\nbé"):
        tokens = encode(byte_tokenizer, text)
        counter = OffsetCounter(byte_tokenizer, (), 0)
        assert [counter.push(token) for token in tokens] == locate_prompt_tokens(byte_tokenizer, text, tokens)
        assert counter.end == len(text)


def test_incomplete_characters_are_counted_as_they_are_shown(byte_tokenizer: Tokenizer) -> None:
    first, second, third = byte_tokenizer.encode("日")[-3:]
    (letter,) = byte_tokenizer.encode("xa")[-1:]
    tokens = [letter, first, second, letter, second, first, first, second, third, letter]
    counter = OffsetCounter(byte_tokenizer, (letter,), 7)
    assert [counter.push(token) for token in tokens] == [7, 8, 8, 9, 10, 11, 12, 12, 12, 13]
    assert len(byte_tokenizer.decode([letter, *tokens])) - 1 == counter.end - 7


def test_bos_as_text_is_located(generator: Generator) -> None:
    prompt = Prompt(generator, "<s> The cat")
    assert prompt.locate_tokens()[:2] == [0, 3]
    assert prompt.tokens == generator.encode_prompt("The cat")
    spelled = Prompt(generator, "<s>The cat</s><s> a b</s>")
    assert spelled.tokens == [*generator.encode_prompt("The cat\na b"), EOS_ID]
    assert [offset for _, offset in zip(spelled.tokens, spelled.locate_tokens(), strict=True)][-4:] == [
        *(14, 17, 19, 21),
    ]
    assert Prompt(generator, "The </s>").tokens == generator.encode_prompt("The </s>")
    literal = Prompt(generator, "<s> The cat", is_literal=True)
    assert literal.tokens == generator.encode_prompt("<s> The cat")
