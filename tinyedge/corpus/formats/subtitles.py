"""Subtitles: the text of the cues without numbers, time codes, tags and positions.

In: a `.srt` or `.vtt` file. Out: the cues; the lines of a cue are joined, a new speaker's line is one of its
own, and a sentence over several cues is joined. Does not know when a cue is shown.
"""

import html
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from tinyedge.corpus.encoding import read_lines
from tinyedge.corpus.read_notes import ReadNotes

_TIME = r"(?:\d{1,3}:)?\d{1,2}:\d{1,2}[.,]\d{1,3}"
_TIMES = re.compile(rf"\s*{_TIME}\s*-+>\s*{_TIME}.*")
# <i>, <font color=...>, <c.yellow>, <v Speaker>, <00:01.000>, and {\an8} or {y:i} of other formats.
_TAG = re.compile(r"</?(?:[A-Za-z][^<>]{0,200}|[\d:.]{5,20})?>|\{\\[^{}]{0,200}\}|\{[A-Za-z]:[^{}]{0,50}\}")
_SPEAKER = re.compile(r"[-–—‐]\s*(?=\S)")
_OPEN_END = re.compile(r"[^.!?…:;\"”’»)\]♪–—-]$")
_VTT_BLOCK = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s.*)?")
MAX_CHARS = 10_000  # of a sentence over several cues


def read_paragraphs(path: Path, notes: ReadNotes) -> Iterator[str]:
    """Stream the cues of a file of subtitles."""
    return read_cues(read_lines(path, notes), notes)


def read_cues(lines: Iterable[str], notes: ReadNotes) -> Iterator[str]:
    """Yield the text of the cues."""
    pending = ""  # a sentence that the next cue may continue
    previous: list[str] = []
    for cue in _split_cues(lines, notes):
        texts = [" ".join(html.unescape(_TAG.sub("", line)).split()) for line in cue]
        # Automatic captions roll: a cue repeats the lines of the one before.
        new = [text for text in texts if text and text not in previous]
        notes.count("repeated_lines", sum(map(bool, texts)) - len(new))
        previous = [text for text in texts if text]
        for text in _join_cue(new):
            if pending and text[0].islower() and _OPEN_END.search(pending) and len(pending) < MAX_CHARS:
                pending += f" {text}"
                continue
            if pending:
                yield pending
            pending = text
    if pending:
        yield pending


def _split_cues(lines: Iterable[str], notes: ReadNotes) -> Iterator[list[str]]:
    """Yield the lines of each cue; a line with time codes starts a cue, whatever is before it."""
    cue: list[str] = []
    is_cue = False
    in_block = False  # a comment or a style sheet of WebVTT, up to a blank line
    follows_blank = True
    for line in lines:
        text = line.strip()
        if _TIMES.fullmatch(text):
            # The line before is the cue's number, or its name where a blank line precedes it.
            if cue and (cue[-1].isdecimal() or (len(cue) > 1 and not cue[-2]) or not is_cue):
                cue.pop()
            if is_cue:
                yield cue
            cue, is_cue, in_block = [], True, False
            notes.count("cues")
        elif not in_block:
            in_block = follows_blank and bool(_VTT_BLOCK.fullmatch(text))
            if not in_block:
                cue.append(text)
        elif not text:
            in_block = False
        follows_blank = not text
    if is_cue:
        yield cue
    elif any(cue):
        yield cue  # no time code at all: nothing is lost


def _join_cue(lines: list[str]) -> Iterator[str]:
    """Join the lines of a cue; a line that begins with a dash is another speaker's."""
    text = ""
    for line in lines:
        dash = _SPEAKER.match(line)
        if dash and text:
            yield text
            text = ""
        text = f"{text} {line[dash.end() :] if dash else line}".strip()
    if text:
        yield text
