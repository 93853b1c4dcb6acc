"""Markdown: its text without markup, code blocks, comments and front matter.

In: a `.md` file. Out: its lines; headings and list items are paragraphs of their own. Does not decide whether
lines belong together.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from tinyedge.corpus.encoding import read_lines
from tinyedge.corpus.line_joining import take_sample
from tinyedge.corpus.read_notes import ReadNotes

_FENCE = re.compile(r"\s*(```|~~~)")
# Horizontal rules, underlines of headings, separators of tables, targets of links.
_RULE = re.compile(r"\s*(?:[-*_=]\s*){3,}|[\s|:-]*-{3}[\s|:-]*|\s*\[[^\]]{1,100}\]:\s.*")
_BLOCK = re.compile(r"\s*(?:>\s*)*(?:#{1,6}\s+|[-*+]\s+|\d{1,3}[.)]\s+)")
_LINK = re.compile(r"!?\[([^\[\]]{0,500})\](?:\([^()]{0,2000}\)|\[[^\[\]]{0,100}\])")
_EMPHASIS = re.compile(r"(?<!\w)([*_~]{1,3})(?=\S)([^*_~]{1,1000})(?<=\S)\1(?!\w)")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,500}>|<https?://[^<>\s]{1,500}>")


def read_paragraphs(path: Path, notes: ReadNotes) -> Iterator[str]:
    """Stream the text of a Markdown file."""
    return (line if line.strip() else "" for line in _strip_markdown(read_lines(path, notes)))


def _strip_markdown(lines: Iterator[str]) -> Iterator[str]:
    """Yield the text of Markdown without markup, code blocks, comments and front matter."""
    fence = ""
    in_comment = False
    for line in _skip_front_matter(lines):
        mark = _FENCE.match(line)
        if fence or mark:
            if mark and mark[1] == (fence or mark[1]):
                fence = "" if fence else mark[1]
            continue
        text, in_comment = _strip_comments(line, in_comment)
        if len(text) < 1_000 and _RULE.fullmatch(text):  # the expression takes quadratic time
            continue
        block = _BLOCK.match(text)
        text = _LINK.sub(r"\1", text[block.end() :] if block else text.lstrip(" \t>"))
        text = _TAG.sub("", text)
        for _ in range(2):  # nested: `**_word_**`
            text = _EMPHASIS.sub(r"\2", text)
        text = text.replace("`", "").replace("|", " ")
        # A heading or a list item is not a part of the paragraph around it.
        yield from ("", text.rstrip(" #") if "#" in block[0] else text, "") if block else (text,)


def _skip_front_matter(lines: Iterator[str]) -> Iterator[str]:
    head = take_sample(lines)
    if head and head[0].strip() == "---":
        ends = [i for i, line in enumerate(head) if i and line.strip() in ("---", "...")]
        head = head[ends[0] + 1 :] if ends else head
    return itertools.chain(head, lines)


def _strip_comments(line: str, inside: bool) -> tuple[str, bool]:
    """Remove HTML comments from a line; also return whether a comment is open at its end."""
    text = ""
    while line:
        before, mark, line = line.partition("-->" if inside else "<!--")
        text += "" if inside else before
        inside = inside != bool(mark)
    return text, inside
