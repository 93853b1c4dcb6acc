"""Subtitles: the text of the cues without numbers, time codes, tags and positions.

In: a `.srt` or `.vtt` file. Out: the cues; the lines of a cue are joined, a new speaker's line is one of its
own, and a sentence over several cues is joined, unless a long pause is between them. Does not decide where
sentences end: `sentence_splitter` does.
"""

import html
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tinyedge.corpus.encoding import read_lines
from tinyedge.corpus.hyphenation import WordJoiner
from tinyedge.corpus.read_notes import ReadNotes
from tinyedge.corpus.sentence_splitter import split_sentences

_TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-+>\s*{_TIME}.*")
# <i>, <font color=...>, <c.yellow>, <v Speaker>, <00:01.000>, and {\an8} or {y:i} of other formats.
_TAG = re.compile(r"</?(?:[A-Za-z][^<>]{0,200}|[\d:.]{5,20})?>|\{\\[^{}]{0,200}\}|\{[A-Za-z]:[^{}]{0,50}\}")
_SPEAKER = re.compile(r"[-–—‐]\s*(?=\S)")
_INTERRUPTED = re.compile(r"(?:[–—♪♫]|--|\W-)$")
_CUT_WORD = re.compile(r"\w-$")
# [door creaks], (music), ♪; a sentence in parentheses is a thought, not a sound.
_SOUND = re.compile(r"\[[^\[\]]{0,200}\]|\([^()]{0,200}[^().!?…]\)|[♪♫\s]+")
_VTT_BLOCK = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s.*)?")
MAX_CHARS = 10_000  # a sentence of this length is not continued in the next cue
MAX_CHARS_BEFORE_UPPER = 300  # the same before a cue in upper case: some captions have no full stops
MAX_PAUSE = 3.0  # seconds; after a longer pause no sentence continues
AHEAD_CUES = 200  # cues that are searched for the spelling of a word with a hyphen


@dataclass(frozen=True, slots=True)
class _Cue:
    """A cue."""

    lines: list[str]
    """Its lines, with tags."""

    start: float | None
    """Time in seconds when it appears; None in a text without time codes."""

    end: float | None
    """Time in seconds when it disappears."""


def read_paragraphs(path: Path, notes: ReadNotes) -> Iterator[str]:
    """Stream the cues of a file of subtitles."""
    return read_cues(read_lines(path, notes), notes)


def read_cues(lines: Iterable[str], notes: ReadNotes) -> Iterator[str]:
    """Yield the text of the cues."""
    words = WordJoiner()
    ahead: deque[tuple[str, bool, bool]] = deque()
    texts = _read_texts(lines, words, notes)
    pending = ""  # a sentence that the next cue may continue
    is_dialogue = False  # whether a dash marked its speaker: another one may follow without a dash
    while True:
        following = list(itertools.islice(texts, max(0, AHEAD_CUES - len(ahead))))
        words.look_ahead(text for text, _, _ in following)
        ahead.extend(following)
        if not ahead:
            break
        text, is_speaker, is_after_pause = ahead.popleft()
        is_new = is_speaker or is_after_pause or (is_dialogue and not text[0].islower())
        if pending and not is_new and _is_open(pending, text):
            first, second, is_word = words.join(pending, text)
            notes.count("words_joined", is_word)
            pending = first + second
        else:
            if pending:
                yield pending
            pending, is_dialogue = text, is_speaker
        words.forget(1)
    if pending:
        yield pending


def _read_texts(
    lines: Iterable[str], words: WordJoiner, notes: ReadNotes
) -> Iterator[tuple[str, bool, bool]]:
    """Yield each speaker's text in a cue, whether a dash marks the speaker, and whether a pause precedes."""
    previous: list[str] = []
    end: float | None = None
    for cue in _split_cues(lines, notes):
        is_after_pause = end is not None and cue.start is not None and cue.start - end > MAX_PAUSE
        texts = [" ".join(html.unescape(_TAG.sub("", line)).split()) for line in cue.lines]
        # Automatic captions roll: a cue repeats the lines of the one before.
        new = [text for text in texts if text and text not in previous]
        notes.count("repeated_lines", sum(map(bool, texts)) - len(new))
        previous = [text for text in texts if text]
        for text, is_speaker in _join_cue(new, words, notes):
            if _SOUND.fullmatch(text):
                notes.count("sounds")
                continue
            yield text, is_speaker, is_after_pause
            is_after_pause = False
            end = cue.end


def _is_open(pending: str, text: str) -> bool:
    """Whether a sentence continues in the next cue: the splitter would find no end between them."""
    starts_lower = text[0].islower()
    if _INTERRUPTED.search(pending) or text[0] in "♪♫":
        return starts_lower and pending[-1] not in "♪♫"
    if _CUT_WORD.search(pending):
        return starts_lower
    if len(pending) >= (MAX_CHARS if starts_lower else MAX_CHARS_BEFORE_UPPER):
        return False
    last = split_sentences(pending)[-1]
    return split_sentences(f"{last} {text}")[0] != last


def _to_seconds(hours: str | None, minutes: str, seconds: str, fraction: str) -> float:
    return 3600 * int(hours or 0) + 60 * int(minutes) + float(f"{seconds}.{fraction}")


def _split_cues(lines: Iterable[str], notes: ReadNotes) -> Iterator[_Cue]:
    """Yield the lines of each cue; a line with time codes starts a cue, whatever is before it."""
    cue: list[str] = []
    start = end = None
    is_cue = False
    in_block = False  # a comment or a style sheet of WebVTT, up to a blank line
    follows_blank = True
    for line in lines:
        text = line.strip()
        times = _TIMES.fullmatch(text)
        if times:
            # The line before is the cue's number, or its name where a blank line precedes it.
            if cue and (cue[-1].isdecimal() or (len(cue) > 1 and not cue[-2]) or not is_cue):
                cue.pop()
            if is_cue:
                yield _Cue(cue, start, end)
            cue, is_cue, in_block = [], True, False
            start, end = _to_seconds(*times.groups()[:4]), _to_seconds(*times.groups()[4:])
            notes.count("cues")
        elif not in_block:
            in_block = follows_blank and bool(_VTT_BLOCK.fullmatch(text))
            if not in_block:
                cue.append(text)
        elif not text:
            in_block = False
        follows_blank = not text
    if is_cue or any(cue):  # without any time code, nothing is lost
        yield _Cue(cue, start, end)


def _join_cue(lines: list[str], words: WordJoiner, notes: ReadNotes) -> Iterator[tuple[str, bool]]:
    """Join the lines of a cue; a line that begins with a dash is another speaker's, which is yielded too."""
    text = ""
    is_speaker = False
    for line in lines:
        dash = _SPEAKER.match(line)
        if dash:
            if text:
                yield text, is_speaker
            text, is_speaker = "", True
        line = line[dash.end() :] if dash else line
        first, second, is_word = words.join(text, line) if text else ("", line.strip(), False)
        notes.count("words_joined", is_word)
        text = first + second
    if text:
        yield text, is_speaker
