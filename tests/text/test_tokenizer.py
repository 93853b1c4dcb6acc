"""Text to tokens and back, for any text and any ids, streamed or at once; training of a vocabulary."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.syllables import syllable_lines
from tinyedge.core.errors import TokenizerError, UsageError
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, TextStream, Tokenizer, model_name
from tinyedge.text.train_tokenizer import TokenizerConfig, train

# Text that has broken tokenizers before, in addition to what Hypothesis finds.
HARD = [
    "\0",
    "\ud800",
    "\udfff",
    "\u200d",
    "\ufe0f",
    "👩‍👩‍👧",
    "e\u0301",
    "n\u0303",
    "\u2581",
    "\ufeff",
    "\ufffd",
    "\n ",
    "…",
    "1.º",
]
TEXT = st.lists(
    st.one_of(
        st.text(st.characters(codec=None), max_size=5),  # lone surrogates included
        st.sampled_from([*HARD, " ", "bañ", "dos", "ramen"]),
    ),
    max_size=12,
).map("".join)


@pytest.fixture(scope="session")
def micro(micro_bundle: Path) -> Tokenizer:
    return Tokenizer.load(micro_bundle / "tokenizer.model")


@pytest.fixture(scope="session")
def byte_tokenizer(byte_fallback_model: bytes) -> Tokenizer:
    return Tokenizer(byte_fallback_model)


@pytest.fixture(scope="session")
def reference(byte_fallback_model: bytes) -> sentencepiece.SentencePieceProcessor:
    """Return SentencePiece's own decoder with the vocabulary of `byte_tokenizer`."""
    return sentencepiece.SentencePieceProcessor(model_proto=byte_fallback_model)


@pytest.fixture(params=["micro", "byte_tokenizer"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    found: Tokenizer = request.getfixturevalue(request.param)
    return found


def decode_stream(tokenizer: Tokenizer, tokens: Sequence[int], context: Sequence[int] = ()) -> str:
    stream = TextStream(tokenizer, context)
    return "".join(stream.push(token) for token in tokens) + stream.flush()


def normalize(text: str) -> str:
    """Return the text that a round trip must produce: NFC, single inner spaces, no lone surrogates.

    U+2581 is SentencePiece's own symbol for a space, so it becomes a space.
    """
    text = unicodedata.normalize("NFC", re.sub("[\ud800-\udfff]", "\ufffd", text))
    return re.sub(" +", " ", text).strip(" ").replace("\u2581", " ").rstrip(" ")


# --- round trips ---


@given(TEXT)
@example("\ud83d\ude00")
@example("\n a")
@example("a\n\n b")
@example("\u2581\u2581a \u2581")
def test_a_vocabulary_with_byte_fallback_keeps_any_text(byte_tokenizer: Tokenizer, text: str) -> None:
    tokens = byte_tokenizer.encode(text)
    assert UNK_ID not in tokens
    assert byte_tokenizer.decode(tokens) == normalize(text)


@given(TEXT)
def test_a_vocabulary_without_byte_fallback_keeps_known_characters(micro: Tokenizer, text: str) -> None:
    """A run of unknown characters becomes one U+FFFD; the other characters stay unchanged."""
    decoded = micro.decode(micro.encode(text))
    known = {char for token in range(4, micro.vocab_size) for char in micro.piece(token).decode()}
    expected = re.sub("\ufffd+", "\ufffd", "".join(c if c in known else "\ufffd" for c in normalize(text)))
    assert decoded == expected


@given(st.lists(st.sampled_from(["el", "barco", "niña", "y", "music", "the", "sea"]), max_size=12))
def test_text_of_the_corpus_has_no_unknown_tokens(micro: Tokenizer, words: list[str]) -> None:
    tokens = micro.encode(" ".join(words))
    assert UNK_ID not in tokens
    assert micro.decode(tokens) == " ".join(words)


def test_text_is_normalized_to_nfc_only(byte_tokenizer: Tokenizer) -> None:
    assert byte_tokenizer.encode("n\u0303") == byte_tokenizer.encode("ñ")
    assert byte_tokenizer.decode(byte_tokenizer.encode("1.º ﬁ ①")) == "1.º ﬁ ①"


def test_a_line_is_encoded_between_bos_and_eos(micro: Tokenizer) -> None:
    assert micro.encode("") == []
    assert micro.encode_line("para") == [BOS_ID, *micro.encode("para"), EOS_ID]


# --- streams ---


@given(st.lists(st.integers(0, 1099), max_size=40), st.integers(0, 40))
@example([4 + 0xE2, 4 + 0x82, 4 + 0xAC], 0)  # the euro sign, byte by byte
@example([4 + 0xE2, 4 + 0x82], 1)
@example([4, BOS_ID, 390], 2)
def test_any_ids_decode_the_same_streamed_and_at_once(
    byte_tokenizer: Tokenizer, tokens: list[int], cut: int
) -> None:
    expected = byte_tokenizer.decode(tokens)
    assert decode_stream(byte_tokenizer, tokens) == expected
    assert expected.encode("utf-8").decode("utf-8") == expected  # no lone surrogate
    # A stream after a context continues the text, unless the context ends inside a character, or with BOS, at
    # which an answer begins, without a space.
    head = byte_tokenizer.decode(tokens[:cut])
    if expected.startswith(head) and not head.endswith("\ufffd") and BOS_ID not in tokens[:cut]:
        assert head + decode_stream(byte_tokenizer, tokens[cut:], tokens[:cut]) == expected


@given(st.lists(st.integers(0, 999), max_size=40), st.integers(0, 40))
def test_a_context_changes_only_the_first_space(micro: Tokenizer, tokens: list[int], cut: int) -> None:
    tokens = [token for token in tokens if token != BOS_ID]  # an answer begins at it, without a space
    together = micro.decode(tokens)
    assert micro.decode(tokens[:cut]) + decode_stream(micro, tokens[cut:], tokens[:cut]) == together


@given(TEXT)
def test_streams_match_sentencepiece(
    byte_tokenizer: Tokenizer, reference: sentencepiece.SentencePieceProcessor, text: str
) -> None:
    # Without U+2581: SentencePiece removes several of them at the beginning as one space.
    tokens = byte_tokenizer.encode(text.replace("\u2581", ""))
    assert decode_stream(byte_tokenizer, tokens) == reference.decode(tokens)


def test_an_incomplete_character_is_held_back(byte_tokenizer: Tokenizer) -> None:
    stream = TextStream(byte_tokenizer)
    tokens = byte_tokenizer.encode("₿")[-3:]
    assert [byte_tokenizer.piece(token) for token in tokens] == [b"\xe2", b"\x82", b"\xbf"]
    assert [stream.push(token) for token in tokens] == ["", "", "₿"]
    assert stream.flush() == ""
    stream.push(tokens[0])
    assert stream.flush() == "\ufffd"


def test_a_prompt_and_its_continuation_keep_the_space(micro: Tokenizer) -> None:
    word = micro.encode("para")
    assert decode_stream(micro, word) == "para"
    assert decode_stream(micro, word, [BOS_ID]) == "para"
    assert decode_stream(micro, word, [BOS_ID, *word]) == " para"
    assert decode_stream(micro, word, [BOS_ID, *word, EOS_ID]) == "para"
    assert decode_stream(micro, word, [BOS_ID, *word, EOS_ID, BOS_ID]) == "para"
    assert decode_stream(micro, [*word, PAD_ID, *word, UNK_ID, EOS_ID, *word]) == "para para\ufffd\npara"


def test_pieces_are_bytes(tokenizer: Tokenizer) -> None:
    assert [tokenizer.piece(token) for token in range(4)] == [b"", b"\n", b"", "\ufffd".encode()]
    assert all(tokenizer.piece(token) for token in range(4, tokenizer.vocab_size))


def test_the_vocabulary_table_has_a_row_for_each_piece(tokenizer: Tokenizer) -> None:
    rows = tokenizer.vocabulary_table().splitlines()
    assert len(rows) == tokenizer.vocab_size
    assert [row.split("\t")[0] for row in rows[:4]] == ["<s>", "</s>", "<pad>", "<unk>"]
    assert all(len(row.split("\t")) == 2 for row in rows)


# --- files ---


def test_files_that_are_not_a_tokenizer_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.model"
    with pytest.raises(TokenizerError, match=r"other.model does not exist"):
        Tokenizer.load(other)
    other.write_bytes(b"")
    with pytest.raises(TokenizerError, match=r"other.model is empty"):
        Tokenizer.load(other)
    with pytest.raises(TokenizerError, match="is a folder"):
        Tokenizer.load(tmp_path)
    other.write_bytes(b"\xff" * 100)
    with pytest.raises(TokenizerError, match=r"other.model is not a SentencePiece model"):
        Tokenizer.load(other)


def test_a_tokenizer_with_other_special_ids_is_refused(tmp_path: Path) -> None:
    lines = iter(syllable_lines(500))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines, model_prefix=str(tmp_path / "llama"), vocab_size=300, minloglevel=2
    )
    with pytest.raises(TokenizerError, match=r"has BOS, EOS, PAD, UNK at \(1, 2, -1, 0\), tinyedge needs"):
        Tokenizer.load(tmp_path / "llama.model")


# --- training ---


def test_the_same_lines_give_the_same_vocabulary(byte_fallback_model: bytes) -> None:
    config = TokenizerConfig(vocab_size=1100, byte_fallback=True)
    assert train(syllable_lines(), "the same lines", config) == byte_fallback_model
    assert Tokenizer(byte_fallback_model).vocab_size == 1100


def test_with_separate_spaces_a_word_has_the_same_pieces_everywhere() -> None:
    """So a model can copy a word into JSON, where a quotation mark and not a space stands before it."""
    lines = [*syllable_lines(), *(f'{{"name":"{line}"}}' for line in syllable_lines())]
    tokenizer = Tokenizer(train(lines, "lines", TokenizerConfig(vocab_size=1100, separate_spaces=True)))
    for word in syllable_lines(40)[0].split():
        alone = tokenizer.encode(word)[1:]  # without the space at the start of a text
        assert tokenizer.encode(f"a {word}")[-len(alone) :] == alone
        quoted = tokenizer.encode(f'"{word}"')
        assert quoted[-1 - len(alone) : -1] == alone
    pieces = [tokenizer.piece(token) for token in range(tokenizer.vocab_size)]
    assert [piece for piece in pieces if b" " in piece] == [b" "]
    assert tokenizer.decode(tokenizer.encode("a  b")).split() == ["a", "b"]


def test_too_little_text_for_any_vocabulary_is_an_error() -> None:
    with pytest.raises(TokenizerError) as caught:
        train(["one two three", "four five six"], "corpus.txt", TokenizerConfig(vocab_size=1000))
    assert re.fullmatch(
        r"corpus.txt is too small for any vocabulary: it fills \d+ pieces, the smallest is 1000",
        caught.value.message,
    )
    assert "add text" in caught.value.hint


def test_too_little_text_names_the_largest_vocabulary_that_works() -> None:
    lines = syllable_lines()
    with pytest.raises(TokenizerError) as caught:
        train(lines, "corpus.txt", TokenizerConfig(vocab_size=30_000))
    found = re.search(
        r"too small for --vocab-size 30000: the largest that works is (\d+)", caught.value.message
    )
    assert found
    assert Tokenizer(train(lines, "corpus.txt", TokenizerConfig(int(found[1])))).vocab_size == int(found[1])


def test_more_characters_than_pieces_is_an_error() -> None:
    lines = [chr(0x4E00 + i) + chr(0x4E00 + (i * 7) % 1500) for i in range(1500)]
    with pytest.raises(
        TokenizerError, match=r"different characters and special tokens, more than --vocab-size 1000"
    ):
        train(lines, "corpus.txt", TokenizerConfig(vocab_size=1000, character_coverage=1.0))


@pytest.mark.parametrize(
    ("config", "parameter"),
    [
        ({"vocab_size": 999}, "vocab_size"),
        ({"vocab_size": 32001}, "vocab_size"),
        ({"character_coverage": 0.97}, "character_coverage"),  # SentencePiece accepts 0.98-1
        ({"character_coverage": float("nan")}, "character_coverage"),
    ],
)
def test_invalid_settings_are_refused(config: dict[str, float], parameter: str) -> None:
    with pytest.raises(UsageError, match=parameter):
        TokenizerConfig(**config)  # type: ignore[arg-type]


def test_sentencepiece_accepts_the_lowest_coverage() -> None:
    train(syllable_lines(), "lines", TokenizerConfig(1000, character_coverage=0.98))


def test_the_file_name_contains_the_vocabulary_size() -> None:
    assert model_name(8000) == "bilingual_8k.model"
    assert model_name(1500) == "bilingual_1500.model"


def test_digits_and_spanish_capitals_always_have_a_piece() -> None:
    """They are rare in any text: the default character coverage alone would make them UNK."""
    tokenizer = Tokenizer(train(syllable_lines(), "lines", TokenizerConfig(1000)))
    for text in ("Ángela Ñ Ú 1234567890", "¿Qué? ¡Sí! «Óscar»", "“Yes,” she said — $5"):
        assert UNK_ID not in tokenizer.encode(text)
