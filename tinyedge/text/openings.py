"""Openings of a text: the first words of some of its lines, as prompts in the text's language and style.

In: lines and the language of their text. Out: prompts. Does not know models. A script without spaces is cut
between characters.
"""

import unicodedata
from collections.abc import Iterable

from tinyedge.corpus.document import UNKNOWN_LANGUAGE
from tinyedge.corpus.language import LANGUAGES, detect_language
from tinyedge.text.evaluate import Passage
from tinyedge.text.tokenizer import BOS_ID, UNKNOWN_TEXT, Tokenizer

MAX_WORDS, MAX_CHARACTERS = 3, 40
FEW_CHARACTERS = 4  # of a line without spaces
PASSAGE_TOKENS = 8192  # from the beginning of a text, from which its openings are chosen
MIN_WORDS = 5  # shorter lines, such as headings, are used only where there are not enough others


def choose_openings(lines: Iterable[str], count: int, language: str = "") -> list[str]:
    """Choose up to `count` different openings, evenly from all lines; the same lines give the same openings.

    An opening has one to MAX_WORDS words. Openings with an unknown character are not chosen. Lines that begin
    with a quotation mark or a dash are taken only where there are no others, because nobody begins a prompt
    with it.

    Args:
        lines: Lines of a text.
        count: Maximum number of openings.
        language: The text's language. A document may mix languages, so a line that is detected as another
            language is not chosen. A name that is not in LANGUAGES allows all lines.
    """
    openings: list[str] = []
    usable = _select_language(lines, language)
    sentences = [line for line in usable if len(line.split()) >= MIN_WORDS]
    for group in (sentences, usable):
        candidates = [line for line in group if begins_like_prompt(line)] or group
        # Evenly spaced lines first, then the others, in case some of the first are unusable.
        step = max(1, len(candidates) // count)
        order = [*candidates[::step], *candidates]
        for line in order:
            if len(openings) == count:
                return openings
            # Lengths alternate. If an opening was already chosen, one with more words may be different.
            lengths = range(MAX_WORDS - len(openings) % MAX_WORDS, MAX_WORDS + 1)
            found = (cut_opening(line, words) for words in lengths)
            opening = next((each for each in found if each and each not in openings), "")
            if opening and UNKNOWN_TEXT not in opening:
                openings.append(opening)
    return openings


def choose_passage_openings(
    passages: Iterable[Passage], tokenizer: Tokenizer, count: int, language: str
) -> list[str]:
    """Choose openings of the beginning of tokenized passages, as `choose_openings` does."""
    lines: list[str] = []
    tokens = 0
    for passage in passages:
        lines += tokenizer.decode(passage.tokens[: PASSAGE_TOKENS - tokens].tolist()).split("\n")
        tokens += len(passage.tokens)
        if tokens >= PASSAGE_TOKENS:
            break
    return choose_openings(lines, count, language)


def choose_first_prompts(
    passages: Iterable[Passage], tokenizer: Tokenizer, count: int, max_characters: int = MAX_CHARACTERS
) -> list[str]:
    """Choose the first prompts of conversations, up to `count` different ones of at most `max_characters`."""
    prompts: list[str] = []
    for passage in passages:
        tokens = passage.tokens.tolist()
        prompt = tokenizer.decode(tokens[: tokens.index(BOS_ID, 1)])
        if len(prompts) < count and len(prompt) <= max_characters and UNKNOWN_TEXT not in prompt:
            prompts += [prompt] if prompt not in prompts else []
    return prompts


def begins_like_prompt(line: str) -> bool:
    """Whether a line begins with a letter, or as a Spanish question or exclamation does."""
    return line[:1].isalpha() or line[:1] in ("¡", "¿")


def _select_language(lines: Iterable[str], language: str) -> list[str]:
    """Return the lines that are detected as `language`, or else those whose language is not clear."""
    if language not in LANGUAGES:
        return list(lines)
    found = [(detect_language(line), line) for line in lines]
    return [line for name, line in found if name == language] or [
        line for name, line in found if name == UNKNOWN_LANGUAGE
    ]


def cut_opening(line: str, max_words: int = MAX_WORDS) -> str:
    """Return the first words of a line, at most half of them; "" if the line is too short to be continued."""
    words = line.split()
    if len(words) > 1:
        opening = " ".join(words[: max(1, min(max_words, len(words) // 2))])
        end = len(opening) if len(opening) <= MAX_CHARACTERS else FEW_CHARACTERS
    else:
        opening = line.strip()
        end = min(FEW_CHARACTERS, len(opening) // 2)
    while 0 < end < len(opening) and unicodedata.category(opening[end]).startswith("M"):
        end += 1  # a combining mark belongs to the character before it
    return opening[:end]
