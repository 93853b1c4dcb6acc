"""Which lines are joined: wrapped prose of any width and script, and not headlines, verse, lists or chats."""

import random
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tinyedge.corpus.encoding import MAX_LINE_CHARS
from tinyedge.corpus.line_joining import join_lines
from tinyedge.corpus.line_passage import read_line
from tinyedge.corpus.read_notes import ReadNotes

ENGLISH = (
    "The old man went down to the sea. He had not been there for a year, and it was cold. Nobody in"
    " the harbour knew his name, because he came only in winter, when the boats were on the shore."
    " “Where is the keeper?” he asked. A boy pointed to the house on the hill and went on with his"
    " work. It was a long way, and the wind came from the north; but he did not stop until he stood"
    " before the door. There was a light in the window. He knocked three times, waited, and heard the"
    " steps of somebody who had not slept."
)
SPANISH = (
    "El viejo bajó hasta el mar. No había estado allí en todo el año, y hacía mucho frío. —¿Dónde"
    " está el guarda? —preguntó al niño, que arreglaba una red junto a la barca. Nadie conocía su"
    " nombre, porque solo venía en invierno, cuando los barcos estaban en la playa. El niño señaló la"
    " casa de la colina y siguió trabajando."
)
GERMAN = (
    "Der alte Mann ging zum Meer hinunter. Er war seit einem Jahr nicht mehr dort gewesen, und das"
    " Wasser war kalt. Die Leute im Hafen kannten seinen Namen nicht, weil er nur im Winter kam, wenn"
    " die Boote am Strand lagen. Ein Junge zeigte auf das Haus am Hügel und ging wieder an seine"
    " Arbeit. Der Weg war lang, und der Wind kam aus dem Norden."
)
ARABIC = (
    "ذهب الولد إلى المدرسة لأنه أراد أن يتعلم.",
    "كان الوقت متأخرا وعاد إلى البيت.",
    "انتظرته أمه عند الباب وهي قلقة جدا.",
)
CHINESE = (
    "男孩去了学校，因为他想学习。",
    "天已经很晚了，他就回家了。",
    "他的母亲正在等他吃饭，可是他一点儿也不饿。",
)
WORDS = (
    *(
        "harbour",
        "winter",
        "boat",
        "the",
        "keeper",
        "of",
        "letter",
        "and",
        "light",
        "window",
        "stone",
        "under",
    ),
    *("rain", "never", "said", "old", "road"),
)
NAMES = ("alice", "bob")


def join(lines: list[str], mode: str = "auto") -> list[str]:
    return [unit for unit in join_lines(lines, mode, ReadNotes(Path("text"))) if unit]


def wrap(paragraphs: list[str], width: int, indent: str = "") -> list[str]:
    wrapped = (
        textwrap.wrap(text, width, initial_indent=indent, break_on_hyphens=False) for text in paragraphs
    )
    return [line for paragraph in wrapped for line in (*paragraph, "")]


def make_lines(count: int, low: int, high: int, convert: Callable[[str], str] = str) -> list[str]:
    """Return lines of words whose length is drawn between two limits, each as `convert` changes it."""
    drawn = random.Random(5)
    lines = []
    for _ in range(count):
        length, line = drawn.randint(low, high), ""
        while len(line) < length:
            line = f"{line} {drawn.choice(WORDS)}".strip()
        lines.append(convert(line))
    return lines


@pytest.mark.parametrize("width", [30, 40, 55, 72, 90, 100, 110, 120])
@pytest.mark.parametrize("text", [ENGLISH, SPANISH, GERMAN])
def test_wrapped_prose_is_joined_at_any_width(text: str, width: int) -> None:
    paragraphs = [text, text[: text.index(".") + 1], text]
    assert join(wrap(paragraphs, width)) == paragraphs


def test_prose_without_upper_and_lower_case_is_joined_if_its_lines_are_full() -> None:
    arabic, chinese = " ".join(ARABIC * 4), "".join(CHINESE * 4)
    assert join(wrap([arabic] * 2, 60)) == [arabic] * 2
    assert join([chinese[start : start + 30] for start in range(0, len(chinese), 30)]) == [chinese]
    assert join(list(ARABIC * 9)) == list(ARABIC * 9)
    assert join(list(CHINESE * 9)) == list(CHINESE * 9)


KEPT = {
    "headlines": make_lines(80, 50, 90, str.capitalize),
    "headlines in lower case": make_lines(80, 50, 90),
    "verse": make_lines(80, 30, 45, str.capitalize),
    "chat": make_lines(80, 3, 90, str.capitalize),
    "chat in lower case": make_lines(80, 3, 90),
    "chat with names": make_lines(80, 3, 90, lambda line: f"{NAMES[len(line) % 2]}: {line}"),
    "chat with times": make_lines(80, 3, 90, lambda line: f"[12:{len(line) % 60:02}] {line}"),
    "phrase pairs": make_lines(80, 10, 40, lambda line: f"{line}\t{line[::-1]}"),
    "words": make_lines(80, 1, 2),
    "list": make_lines(80, 10, 70, lambda line: f"- {line}"),
    "numbered list": make_lines(80, 10, 70, lambda line: f"{len(line)}. {line}"),
    "contents": make_lines(80, 10, 30, lambda line: f"{line} ........ {len(line)}"),
    "a sentence a line": [f"{sentence}." for sentence in ENGLISH.split(". ")] * 5,
    "a paragraph a line": [ENGLISH, SPANISH, GERMAN, ENGLISH[:200], SPANISH[:90]] * 4,
    "Chinese verse": ["床前明月光，疑是地上霜。", "举头望明月，低头思故乡。"] * 9,
    "an address": ["12 Harbour Road", "Port Arthur", "Tasmania 7182"],
}


@pytest.mark.parametrize("kind", KEPT)
def test_lines_that_stand_for_themselves_are_kept(kind: str) -> None:
    assert join(KEPT[kind]) == KEPT[kind]


@pytest.mark.parametrize(
    "stanza",
    [
        [
            "The fog comes in upon the marsh,",
            "and so;",
            "the voice of geese is thin and harsh,",
            "and no one.",
        ],
        ["I saw the willow in the rain,", "the river by the door;"],
    ],
)
def test_verse_that_goes_on_in_lower_case_is_kept(stanza: list[str]) -> None:
    """Its lines are short before words in lower case, and end with commas, as wrapped lines rarely do."""
    lines = [line for _ in range(5) for line in (*stanza, "")]
    assert [line for line in join(lines) if line] == stanza * 5


@pytest.mark.parametrize("line", ["." * 500_000, ". " * 250_000, "." * 500_000 + " 12"])
def test_a_very_long_line_of_dots_takes_linear_time(line: str) -> None:
    """Quadratic time would be a day: the test would not end."""
    assert read_line(line).is_row == line.endswith("12")


def test_double_spaced_prose_is_joined() -> None:
    """Two blank lines end a paragraph, where one stands after every line."""
    paragraphs = [ENGLISH, SPANISH, ENGLISH]
    lines = [
        part
        for text in paragraphs
        for line in (*textwrap.wrap(text, 65, break_on_hyphens=False), "")
        for part in (line, "")
    ]
    assert [text for text in join(lines) if text] == paragraphs


def test_sentences_with_blank_lines_between_them_stay_apart() -> None:
    lines = [part for line in KEPT["headlines"] for part in (line, "")]
    assert [line for line in join(lines) if line] == KEPT["headlines"]


def test_each_passage_is_decided_for_itself() -> None:
    contents = make_lines(30, 10, 40, lambda line: f"CHAPTER {line.upper()}")
    stanza = make_lines(4, 30, 45, str.capitalize)
    prose = wrap([ENGLISH] * 3, 72)
    lines = [*contents, "", *prose, *stanza, "", *prose, *KEPT["headlines"], "", *prose]
    assert join(lines) == [
        *contents,
        *[ENGLISH] * 3,
        *stanza,
        *[ENGLISH] * 3,
        *KEPT["headlines"],
        *[ENGLISH] * 3,
    ]


def test_short_paragraphs_are_decided_with_those_around() -> None:
    sentences = [f"{sentence}." for sentence in ENGLISH.replace("?” he asked", "”").split(". ")][:-1]
    assert join(wrap(sentences * 5, 40)) == sentences * 5


def test_prose_without_blank_lines_is_joined_up_to_short_lines_and_indents() -> None:
    lines = [line for line in wrap([ENGLISH] * 9, 72, indent="   ") if line]
    assert [line.strip() for line in join(lines)] == [ENGLISH] * 9


def test_wrapped_items_of_a_list_stay_apart() -> None:
    items = [f"- {sentence}." for sentence in ENGLISH.split(". ")]
    lines = [line for item in items for line in textwrap.wrap(item, 40, subsequent_indent="  ")]
    assert join(lines) == items


def test_the_marks_of_a_quoted_email_go_inside_a_paragraph() -> None:
    lines = textwrap.wrap(ENGLISH, 60, initial_indent="> ", subsequent_indent="> ")
    assert join([*lines, ">", *lines, "", *wrap([ENGLISH], 60)]) == [
        f"> {ENGLISH}",
        ">",
        f"> {ENGLISH}",
        ENGLISH,
    ]


def test_the_user_decides_for_all_lines() -> None:
    lines = ["Above", "the sea", "", "Below", "it"]
    assert join(lines, "keep") == [line for line in lines if line]
    assert join(lines, "join") == ["Above the sea", "Below it"]


@pytest.mark.parametrize("mode", ["auto", "keep", "join"])
def test_a_soft_hyphen_at_the_end_of_a_line_joins_the_word(mode: str) -> None:
    assert join(["It was excep\u00ad", "tional."], mode) == ["It was exceptional."]


@pytest.mark.parametrize(
    ("lines", "joined"),
    [
        (["an exam-", "ple of it", "one example"], "an example of it one example"),
        (["a well-", "known man", "is well-known"], "a well-known man is well-known"),
        (["an unheard-", "of thing"], "an unheard-of thing"),
        (["in two-", "and three-part songs"], "in two- and three-part songs"),
        (["from 1914-", "18 on"], "from 1914-18 on"),
        (["Jean-", "Paul"], "Jean- Paul"),
    ],
)
def test_a_hyphen_at_the_end_of_a_line_goes_if_the_text_has_the_word_without_it(
    lines: list[str], joined: str
) -> None:
    assert join(lines, "join") == [joined]


def test_what_was_joined_and_kept_is_counted() -> None:
    notes = ReadNotes(Path("text"))
    list(join_lines([*wrap([ENGLISH], 72), *KEPT["headlines"]], "auto", notes))
    assert notes.counts == {"lines_joined": len(textwrap.wrap(ENGLISH, 72)) - 1, "lines_kept": 79}


def test_a_paragraph_without_an_end_is_cut() -> None:
    paragraphs = join(["word " * 14 + "end"] * 10_000, "join")
    assert len(paragraphs) > 1
    assert max(map(len, paragraphs)) < MAX_LINE_CHARS + 100
