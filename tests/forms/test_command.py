"""Answers to home commands: names of the prompt, and words of its sentence."""

import json
import random

import pytest

from tests.forms.conftest import Draw
from tinyedge.core.errors import UsageError
from tinyedge.corpus.commands.answer import Command, parse_answer
from tinyedge.corpus.commands.home import MAX_WORDS, Home, format_prompt, split_prompt
from tinyedge.corpus.commands.source import generate_pairs, load_templates
from tinyedge.forms.command import COPIED_SLOTS
from tinyedge.forms.form import Form
from tinyedge.forms.matcher import Matcher
from tinyedge.forms.vocabulary import Vocabulary
from tinyedge.text.tokenizer import Tokenizer

HOME = Home(
    (("Bedroom Lamp", "light"), ('The "Echo"', "media_player"), ("Coffee Machine", "switch")),
    ("Kitchen", "Bedroom"),
    ("First Floor",),
)


def allows(sentence: str, answer: str, vocabulary: Vocabulary, tokenizer: Tokenizer) -> bool:
    """Whether the form of a sentence allows an answer, in the tokens of the tokenizer."""
    text = Matcher(Form.command(format_prompt(HOME, sentence)).build(), vocabulary).begin()
    for token in tokenizer.encode(answer):
        if not text.allows(token):
            return False
        text.push(token)
    return text.is_complete


@pytest.mark.parametrize(
    ("sentence", "command"),
    [
        ("turn on the bedroom lamp", Command("HassTurnOn", {"name": "Bedroom Lamp"})),
        ("lights off in the kitchen", Command("HassTurnOff", {"area": "Kitchen"}, "light")),
        ("open everything on the first floor", Command("HassTurnOn", {"floor": "First Floor"})),
        ("who wrote Hamlet", Command("unknown")),
        ("add oat milk to my list.", Command("HassShoppingListAddItem", {"item": "oat milk"})),
        ("Play lo fi beats!", Command("HassMediaSearchAndPlay", {"search_query": "lo fi beats"})),
        ("Jazz, please", Command("HassMediaSearchAndPlay", {"search_query": "jazz"})),
        ('play "so what"', Command("HassMediaSearchAndPlay", {"search_query": '"so what"'})),
        ('mute the "echo"', Command("HassMediaPlayerMute", {"name": 'The "Echo"'})),
        ("pasta timer for 9 minutes", Command("HassStartTimer", {"name": "pasta", "minutes": 9})),
        ("set the bedroom lamp to -3.5", Command("x_Y2", {"names": -3.5, "areas": "too", "item_2": "x y"})),
    ],
)
def test_right_answers_are_allowed(
    sentence: str, command: Command, vocabulary: Vocabulary, tokenizer: Tokenizer
) -> None:
    assert allows(sentence, command.to_text(), vocabulary, tokenizer)


@pytest.mark.parametrize(
    ("sentence", "slots"),
    [
        ("turn on the bedroom lamp", {"name": "Bedroom Lamb"}),  # a name that the home does not have
        ("turn on the bedroom lamp", {"name": "bedroom lamp"}),  # its words, but not its name
        ("turn on the bedroom lamp", {"name": "lamp"}),
        ("switch the coffe machine on", {"name": "coffe machine"}),
        ("turn on the bedroom lamp", {"area": "Bedroom"}),  # the sentence names the lamp, and not the room
        ("turn on the light", {"area": "light"}),
        ("turn on the light", {"floor": "First Floor"}),
        ("add oat milk", {"item": "oat mill"}),
        ("add oat milk", {"item": "milk oat"}),
        ("add oat milk", {"item": "at milk"}),
        ("add oat milk", {"item": ""}),
        ("add oat milk", {"item": 3}),
        ("play jazz in 5 minutes", {"search_query": "jazz", "name": "jazz"}),  # another order
        ("play jazz in 5 minutes", {"item_2": 5, "minutes": 5}),
    ],
)
def test_what_the_prompt_does_not_have_is_not_copied(
    sentence: str, slots: dict[str, str], vocabulary: Vocabulary, tokenizer: Tokenizer
) -> None:
    answer = json.dumps({"intent": "Any", "slots": slots}, separators=(",", ":"))
    assert not allows(sentence, answer, vocabulary, tokenizer)


@pytest.mark.parametrize("held_out", [False, True])
def test_the_answers_of_the_training_are_allowed(
    held_out: bool, vocabulary: Vocabulary, tokenizer: Tokenizer
) -> None:
    pytest.importorskip("hassil", reason="expands the templates: extra `commands`")
    templates = load_templates("builtin", None)  # type: ignore[arg-type]  # nothing is downloaded
    for pair in generate_pairs(templates, 150, seed=3, held_out=held_out):
        matcher = Matcher(Form.command(pair.prompt).build(), vocabulary)
        state = matcher.advance(matcher.automaton.start, pair.command.to_text())
        assert state is not None, (pair.prompt, pair.command)
        assert state.accepts


@pytest.mark.parametrize("seed", range(20))
def test_every_text_is_an_answer_whose_copies_stand_in_the_prompt(seed: int, draw_text: Draw) -> None:
    rng = random.Random(seed)
    words = [
        "play",
        "the",
        "song",
        "So",
        "What!",
        "in",
        "the",
        "kitchen",
        "on",
        "first",
        "floor,",
        "bedroom",
        "lamp",
    ]
    sentence = " ".join(rng.sample(words, 8))
    prompt = format_prompt(HOME, sentence)
    mentions = {mention.name for mention in split_prompt(prompt)[0]}
    text = draw_text(Form.command(prompt), seed)
    if text is None:
        return
    command = parse_answer(text)
    assert command is not None
    for name, value in command.slots.items():
        if name in COPIED_SLOTS:
            assert str(value).lower() in sentence.lower()
        elif name in ("area", "floor"):
            assert value in mentions


def test_a_slot_stands_in_an_answer_once(vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
    for name, value in (("minutes", "5"), ("search_query", '"jazz"'), ("area", '"Kitchen"')):
        slot = f'"{name}":{value}'
        sentence = "play jazz in the kitchen"
        assert allows(sentence, f'{{"intent":"Any","slots":{{{slot}}}}}', vocabulary, tokenizer)
        assert not allows(sentence, f'{{"intent":"Any","slots":{{{slot},{slot}}}}}', vocabulary, tokenizer)


@pytest.mark.parametrize("home", [Home((("Lamp \u65e5", "light"),)), Home((), ("Lamp \u65e5",))])
def test_a_name_that_the_tokenizer_cannot_spell_is_an_error(json_model: bytes, home: Home) -> None:
    """Otherwise the answer would have another name."""
    form = Form.command(format_prompt(home, "turn on lamp \u65e5"))
    with pytest.raises(UsageError, match="cannot spell: '\u65e5'"):
        Matcher(form.build(), Vocabulary(Tokenizer(json_model)))


def test_a_sentence_of_too_many_words_is_an_error() -> None:
    Form.command(" ".join(["milk"] * MAX_WORDS)).build()
    with pytest.raises(
        UsageError, match=f"has a command of {MAX_WORDS + 1} words, at most {MAX_WORDS} are allowed"
    ):
        Form.command(" ".join(["milk"] * (MAX_WORDS + 1))).build()


def test_a_sentence_without_words_has_answers(vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
    assert allows("", Command("unknown").to_text(), vocabulary, tokenizer)
