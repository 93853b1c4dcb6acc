"""Which tokens may follow: the lists are those of a check of every token, and there are no dead ends."""

import random

import pytest

from tinyedge.core.errors import UsageError
from tinyedge.forms.form import Form
from tinyedge.forms.grammar import Either, Text
from tinyedge.forms.matcher import FormText, Matcher
from tinyedge.forms.vocabulary import Vocabulary
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Tokenizer

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "level": {"type": "integer", "minimum": -20, "maximum": 100},
        "more": {"type": "array", "items": {"enum": ["on", "off", None, 1.5]}, "maxItems": 2},
    },
    "required": ["name"],
}
FORMS = [
    Form.regex(r"yes|no|maybe ?not"),
    Form.regex(r" two spaces?  x"),
    Form.regex(r"[^a-y]{3}"),
    Form.regex(r"(ba|bo|b|o)*"),
    Form.choices(["don", "dono", "un don"]),
    Form.json_schema(SCHEMA),
    Form.json_object(),
]


def begin(form: Form, vocabulary: Vocabulary) -> FormText:
    return Matcher(form.build(), vocabulary).begin()


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_lists_of_tokens_are_those_of_a_check_of_every_token(
    form: Form, vocabulary: Vocabulary, tokenizer: Tokenizer
) -> None:
    text, chance = begin(form, vocabulary), random.Random(3)
    for _ in range(25):
        expected = [token for token in range(tokenizer.vocab_size) if text.allows(token)]
        assert text.list_all() == expected
        few = text.list_few()
        assert few is None or list(few) == expected
        assert not {BOS_ID, PAD_ID, UNK_ID} & set(expected)
        assert (EOS_ID in expected) == text.is_complete
        growing = [token for token in expected if token != EOS_ID]
        assert text.is_final == (text.is_complete and not growing)
        if not growing:
            break
        text.push(chance.choice(growing))


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_an_allowed_token_leaves_a_way_to_an_answer(form: Form, vocabulary: Vocabulary) -> None:
    for seed in range(5):
        text, chance = begin(form, vocabulary), random.Random(seed)
        for _ in range(60):
            allowed = text.list_all()
            assert allowed
            if text.is_final:
                break
            growing = [token for token in allowed if token != EOS_ID]
            text.push(chance.choice(growing))


def test_one_leading_space_of_the_first_piece_is_no_part_of_the_text(json_model: bytes) -> None:
    tokenizer = Tokenizer(json_model)
    text = begin(Form.regex("[a-z]+"), Vocabulary(tokenizer))
    pieces = {token: tokenizer.piece(token) for token in text.list_all()}
    spaced = next(token for token, piece in pieces.items() if piece[:1] == b" " and len(piece) > 1)
    text.push(spaced)
    assert not any(tokenizer.piece(token).startswith(b" ") for token in text.list_all())


def test_a_form_that_begins_with_a_space_needs_it_twice(json_model: bytes) -> None:
    tokenizer = Tokenizer(json_model)
    text = begin(Form.regex(" x"), Vocabulary(tokenizer))
    tokens = []
    while not text.is_final:
        tokens.append(text.list_all()[0])
        text.push(tokens[-1])
    assert tokenizer.decode(tokens) == " x"
    assert b"".join(map(tokenizer.piece, tokens)) == b"  x"


def test_a_character_with_a_piece_is_not_spelled_in_bytes(bytes_model: bytes) -> None:
    tokenizer = Tokenizer(bytes_model)
    vocabulary = Vocabulary(tokenizer)
    assert vocabulary.has_piece("a")
    assert not vocabulary.has_piece("{")
    text = begin(Form.regex("a[{]"), vocabulary)
    assert not text.allows(vocabulary.byte_ids[ord("a")])
    text.push(vocabulary.texts.index("a"))
    assert text.list_all() == [vocabulary.byte_ids[ord("{")]]


def test_bytes_only_begin_characters_of_the_form(bytes_model: bytes) -> None:
    vocabulary = Vocabulary(Tokenizer(bytes_model))
    text = begin(Form.choices(["☃", "€"]), vocabulary)
    snowman, euro = "☃".encode(), "€".encode()
    first = [text.allows(vocabulary.byte_ids[byte]) for byte in (snowman[0], snowman[1], 0xC3)]
    assert first == [True, False, False]
    text.push(vocabulary.byte_ids[snowman[0]])  # the euro's first byte too
    assert not text.is_complete
    seconds = {snowman[1]} if vocabulary.has_piece("€") else {snowman[1], euro[1]}
    assert text.list_all() == sorted(vocabulary.byte_ids[byte] for byte in seconds)


def test_a_choice_that_no_piece_can_spell_is_an_error(json_model: bytes) -> None:
    with pytest.raises(UsageError, match="characters that the tokenizer cannot spell: '☃'") as failure:
        begin(Form.choices(["sí", "☃"]), Vocabulary(Tokenizer(json_model)))
    assert "--byte-fallback" in failure.value.hint


def test_an_option_of_a_pattern_that_no_piece_can_spell_does_not_exist(json_model: bytes) -> None:
    tokenizer = Tokenizer(json_model)
    text = begin(Form.regex("☃+|no"), Vocabulary(tokenizer))
    assert all(tokenizer.piece(token).strip() in (b"", b"n", b"no") for token in text.list_all())


def test_json_needs_a_tokenizer_that_knows_its_characters(micro_bundle_fp32: object) -> None:
    from pathlib import Path

    model = (Path(str(micro_bundle_fp32)) / "tokenizer.model").read_bytes()
    with pytest.raises(UsageError, match=r"cannot spell: '\{' '\}'$"):
        begin(Form.json_object(), Vocabulary(Tokenizer(model)))


def test_repetitions_of_repetitions_are_refused_before_they_fill_the_memory(vocabulary: Vocabulary) -> None:
    with pytest.raises(UsageError, match="the form is too complex"):
        begin(Form.regex("((a{0,99}){0,99}){0,99}b"), vocabulary)


def test_a_schema_that_only_refers_to_itself_has_no_text(vocabulary: Vocabulary) -> None:
    with pytest.raises(UsageError, match="no text that the tokenizer can spell has the form"):
        begin(Form.json_schema({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}), vocabulary)


@pytest.mark.parametrize("is_required", [True, False])
def test_half_of_a_surrogate_pair_is_not_spelled(vocabulary: Vocabulary, is_required: bool) -> None:
    """It is no character, also for a tokenizer that can spell all of them; a command line may have one."""
    options = (Text("ab\udc80", is_required), Text("ab"))
    if is_required:
        with pytest.raises(UsageError, match=r"cannot spell: '\\udc80'"):
            Matcher(Either(options), vocabulary)
        return
    matcher = Matcher(Either(options), vocabulary)
    reached = matcher.advance(matcher.automaton.start, "ab")
    assert reached is not None
    assert (reached.accepts, reached.heads) == (True, ())
