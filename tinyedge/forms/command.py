"""Answers to home commands as a form: what they copy are names of the prompt and words of its sentence.

A small model often spells a rare word wrongly that it should copy. The form leaves it to the model which
words to copy, and spells them. In: the prompt of a home command. Out: the form of its answers.
"""

import json
from collections.abc import Sequence

from tinyedge.core.errors import UsageError
from tinyedge.corpus.commands.answer import SLOT_ORDER
from tinyedge.corpus.commands.home import AREA, FLOOR, MAX_WORDS, Mention, split_prompt
from tinyedge.forms.grammar import (
    EMPTY,
    Chars,
    Either,
    Node,
    Repeat,
    Series,
    Text,
    constant,
    optional,
    series,
)
from tinyedge.forms.json_text import NUMBER, SPECIAL, escape

# Slots whose value is a part of the sentence, in Home Assistant's templates.
COPIED_SLOTS = ("item", "message", "search_query", "conversation_command")
MAX_NAME = 64  # characters of an intent, a slot, or a value that is not copied
PUNCTUATION = ".,!?:…¡¿"  # around a word, it is not copied with it

# Of intents and slots.
_LETTERS = ((ord("a"), ord("z")), (ord("A"), ord("Z")), (ord("0"), ord("9")), (ord("_"), ord("_")))
_LETTER = Chars(_LETTERS)
_NAME = Repeat(_LETTER, 1, MAX_NAME)
_TEXT = series('"', Repeat(Chars(SPECIAL, is_negated=True), 1, MAX_NAME), '"')


def parse_command(prompt: str) -> Node:
    """Return the answers to a prompt of `format_prompt`: `{"intent":...,"domain":...,"slots":{...}}`.

    A room is one that the prompt names, and so is a floor. A name is that of a device in the prompt, or words
    of the sentence that are no part of one. Other copied slots are words of the sentence that follow each
    other. All other slots are any number or text. Slots stand in the order of `SLOT_ORDER`, each once, and
    any others after them.

    Raises:
        UsageError: The sentence has more than MAX_WORDS words.
    """
    mentions, sentence = split_prompt(prompt)
    words = sentence.split()
    if len(words) > MAX_WORDS:
        raise UsageError(
            f"prompt has a command of {len(words)} words, at most {MAX_WORDS} are allowed",
            "ask for one command at a time",
            ("prompt",),
        )
    devices = [mention for mention in mentions if mention.kind not in (AREA, FLOOR)]
    of_devices = [any(mention.has_word(word) for mention in devices) for word in words]
    values = dict.fromkeys(COPIED_SLOTS, _list_spans(words, [False] * len(words)))
    values["name"] = [*map(_spell_name, devices), *_list_spans(words, of_devices)]
    for kind in (AREA, FLOOR):
        values[kind] = [_spell_name(mention) for mention in mentions if mention.kind == kind]
    slots = _OTHER_SLOTS  # one or more of those that may still follow
    for name in reversed(SLOT_ORDER):
        if name not in values:
            parts: tuple[Node, ...] = _KNOWN_SLOTS[name]
        elif values[name]:
            parts = (Text(f'{name}":"'), Either(tuple(values[name])), _QUOTE)
        else:
            continue
        slots = Either((Series((*parts, Either((Series((_COMMA, slots)), EMPTY)))), slots))
    return series(
        '{"intent":"', _NAME, '"', optional(series(',"domain":"', _NAME, '"')),
        ',"slots":{', optional(series('"', slots)), "}}",
    )  # fmt: skip


def _spell_name(mention: Mention) -> Node:
    """Return the text of a name, which the tokenizer must be able to spell: no other one would be right."""
    return Text(json.dumps(mention.name, ensure_ascii=False)[1:-1], is_required=True)


def _list_spans(words: Sequence[str], is_excluded: Sequence[bool]) -> list[Node]:
    """Return the texts of one word, or of several that follow each other: for each word those that it begins.

    The first word of a sentence may be copied in small letters: its capital is that of the beginning.

    Args:
        words: The words of a sentence.
        is_excluded: Which of them no text has.
    """
    spans: list[Node] = []
    after: Node | None = None
    for number in reversed(range(len(words))):
        if is_excluded[number]:
            after = None
            continue
        span = _begin_span(words[number], after)
        spans.append(span)
        if number == 0 and (lowered := words[0][:1].lower() + words[0][1:]) != words[0]:
            spans.append(_begin_span(lowered, after))
        after = span
    return spans


def _begin_span(word: str, after: Node | None) -> Node:
    alone = escape(Text(word.strip(PUNCTUATION) or word))
    return alone if after is None else Either((alone, Series((escape(Text(f"{word} ")), after))))


def _other_name(taken: Sequence[str], is_first: bool = True) -> Node:
    """Return the names of slots that are none of some names."""
    first_letters = sorted({name[0] for name in taken if name})
    options: list[Node] = [
        series(letter, _other_name([name[1:] for name in taken if name[:1] == letter], is_first=False))
        for letter in first_letters
    ]
    other = Chars(_LETTERS, excluded=tuple((ord(letter), ord(letter)) for letter in first_letters))
    options.append(series(other, Repeat(_LETTER, 0, MAX_NAME)))
    if not is_first and "" not in taken:
        options.append(EMPTY)
    return Either(tuple(options))


# Slots without the quotation mark at their beginning.
_COMMA = constant(Text(',"'))
_QUOTE = constant(Text('"'))
_VALUE = constant(Either((NUMBER, _TEXT)))
_KNOWN_SLOTS = {
    name: (constant(Text(f'{name}":')), _VALUE)
    for name in SLOT_ORDER
    if name not in (*COPIED_SLOTS, "name", AREA, FLOOR)
}
_OTHER_SLOT = series(_other_name(SLOT_ORDER), '":', _VALUE)
_OTHER_SLOTS = constant(series(_OTHER_SLOT, Repeat(series(_COMMA, _OTHER_SLOT))))
