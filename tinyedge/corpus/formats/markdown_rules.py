"""A CommonMark parser whose rules lose no text where CommonMark would.

In: nothing. Out: a parser of markdown-it-py with tables, strikethrough, footnotes, formulas and wiki links.
Where CommonMark drops the rest of a file (a code fence or a comment without an end, a nesting that is too
deep) or takes text for markup (`[Name]: Yes.` as a link definition), a rule here keeps the text. Does not
render.
"""

import bisect
import re
from typing import TYPE_CHECKING

from tinyedge.core.errors import MissingDependencyError

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

MAX_NESTING = 60  # levels; a list has two. The parser needs some 3 stack frames per level, of 1,000
LEVELS_BELOW = 20  # that inline markup may add
UNCLOSED = "unclosed"  # key in `meta` of a fence without an end

_OPENER_IN_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*[\w+#.-]+[ \t]*")
_PROSE_INFO = re.compile(r"\s*[^\W\d_]+(?:[,;:]?\s+[^\W\d_]+){3,}.*")  # "```python title=a" is none
_CLOSED_BY = (("<!--", "-->"), ("<script", "</script"), ("<style", "</style"), ("<?", "?>"), ("<!", ">"))
_WIKI_LINK = re.compile(r"!?\[\[([^\[\]\n|]{1,500}?)(?:\\?\|([^\[\]\n]{0,500}))?\]\]")
_DEFINITION = re.compile(
    r"""\[((?:[^\[\]\\]|\\.){1,999})\]:[ \t]*\n?[ \t]*
    (<[^<>\n]*>|[^\s<]\S*)
    (?:[ \t]*(?:\n[ \t]*|[ \t])(?:"[^"\n]*"|'[^'\n]*'|\([^()\n]*\)))?[ \t]*(?:\n|$)""",
    re.VERBOSE,
)
# What is certainly a target. "[Keeper]: Yes." and "[Kim]: and/or" are lines of a transcript. `[//]: # (...)`
# and `[comment]: <> (...)` are the usual ways to write a comment.
_TARGET = re.compile(
    r"<>|\#|<?(?:[a-z][a-z0-9+.-]{1,20}://|mailto:|www\.|\.{1,2}/).*"
    r"|<?[\w./%-]+\.(?:md|html?|png|jpe?g|gif|svg|pdf|txt|webp)(?:\#.*)?>?",
    re.IGNORECASE,
)
_LOCAL_TARGET = re.compile(r"[/\#]\S+")  # of a definition whose label occurs elsewhere
# Indented or fenced text that is prose, not code: whole sentences without the characters of code.
_PROSE = re.compile(r"[^{}\[\]<>=|\\$;@#*_`~]*[.!?…][\"'”’»)]*")
MIN_PROSE_WORDS = 5  # a line


def make_parser() -> "MarkdownIt":
    """Return a parser.

    Raises:
        MissingDependencyError: markdown-it-py or mdit-py-plugins is not installed.
    """
    try:
        from markdown_it import MarkdownIt
        from mdit_py_plugins.dollarmath import dollarmath_plugin
        from mdit_py_plugins.footnote import footnote_plugin
    except ImportError:
        raise MissingDependencyError("markdown-it-py", "train") from None

    parser = MarkdownIt("commonmark", {"html": True, "maxNesting": MAX_NESTING + LEVELS_BELOW})
    parser.enable(["table", "strikethrough"])
    # Footnotes stay where they are written: at the end of a part of the file they would be lost.
    footnote_plugin(parser, inline=False, move_to_end=False, always_match_refs=True)
    dollarmath_plugin(parser, allow_space=False, allow_digits=False, allow_blank_lines=False)
    interrupted = ["paragraph", "reference", "blockquote"]  # blocks that the two end without a blank line
    parser.block.ruler.before("table", "too_deep", _read_too_deep)
    parser.block.ruler.at("fence", _read_fence, {"alt": [*interrupted, "list"]})
    parser.block.ruler.at("reference", _read_definition)
    parser.block.ruler.at("html_block", _read_html_block, {"alt": interrupted})
    parser.inline.ruler.before("link", "wiki_link", _read_wiki_link)
    return parser


def _read_too_deep(state: "StateBlock", start: int, end: int, silent: bool) -> bool:
    """Read what is nested too deeply as a paragraph: the parser would drop it."""
    if state.level < MAX_NESTING or silent:
        return False
    line = start + 1
    while line < end and (state.isEmpty(line) or state.sCount[line] >= state.blkIndent):
        line += 1
    state.push("paragraph_open", "p", 1)
    token = state.push("inline", "", 0)
    token.content = state.getLines(start, line, state.blkIndent, False).strip()
    token.children = []
    state.push("paragraph_close", "p", -1)
    state.line = line
    return True


def _read_fence(state: "StateBlock", start: int, end: int, silent: bool) -> bool:
    """Read a code fence; one without an end ends at the first blank line, not at the end of the file.

    A fence has no end either if its content, after a blank line, opens another one with an info string, or
    has sentences while the number of fences is odd.
    """
    from markdown_it.rules_block import fence

    # Fences without an end that were found: each is read to the end of its container only once.
    unclosed = state.env.setdefault("unclosed_fences", {})
    pos = state.bMarks[start] + state.tShift[start]
    marker = state.src[pos : pos + 3]
    if marker not in ("```", "~~~"):
        return False
    info = state.src[state.skipCharsStr(pos, marker[0]) : state.eMarks[start]]
    if _PROSE_INFO.fullmatch(info):
        return False
    if silent:
        return fence(state, start, end, silent)
    length, last = unclosed.get(marker, (0, 0))
    limit = end
    if start < last and state.skipCharsStr(pos, marker[0]) - pos >= length:
        limit = start + 1  # no end before `last`
    if not fence(state, start, limit, silent):
        return False
    token = state.tokens[-1]
    lines = token.content.split("\n")
    closer = state.src[
        state.bMarks[state.line - 1] + state.tShift[state.line - 1] : state.eMarks[state.line - 1]
    ]
    is_closed = (
        limit == end
        and state.line - 1 > start
        and not closer.strip().strip(marker[0])
        and len(closer.strip()) >= len(token.markup)
    )
    if not is_closed and limit == end:
        unclosed[marker] = (len(token.markup), state.line)
    blank = next((line for line in range(start + 1, state.line) if state.isEmpty(line)), state.line)
    if is_closed:
        openers = map(_OPENER_IN_FENCE.fullmatch, lines[blank - start :])
        is_closed = not any(found and found[1].startswith(token.markup) for found in openers)
    if is_closed and blank < state.line and _is_odd_fence(state, start, marker):
        paragraphs = "\n".join(lines[blank - start :]).split("\n\n")
        is_closed = not any(is_prose(paragraph.split("\n")) for paragraph in paragraphs if paragraph.strip())
    if not is_closed:
        if limit != end:
            blank = next((line for line in range(start + 1, end) if _ends_unclosed(state, line)), end)
        token.content = state.getLines(start + 1, blank, state.sCount[start], True)
        token.meta[UNCLOSED] = True
        token.map = [start, blank]
        state.line = blank
    return True


def _is_odd_fence(state: "StateBlock", start: int, marker: str) -> bool:
    """Whether one of the fences from a line on has no partner."""
    numbers: dict[str, list[int]] = state.env.setdefault("fence_lines", {})
    if marker not in numbers:
        starts = (state.bMarks[line] + state.tShift[line] for line in range(state.lineMax))
        numbers[marker] = [line for line, pos in enumerate(starts) if state.src.startswith(marker, pos)]
    return (len(numbers[marker]) - bisect.bisect_left(numbers[marker], start)) % 2 == 1


def is_prose(lines: list[str]) -> bool:
    """Whether lines that Markdown takes for code are sentences."""
    filled = [line.strip() for line in lines if line.strip()]
    words = sum(len(line.split()) for line in filled)
    return words >= MIN_PROSE_WORDS * len(filled) and bool(_PROSE.fullmatch(" ".join(filled)))


def _ends_unclosed(state: "StateBlock", line: int) -> bool:
    return state.isEmpty(line) or state.sCount[line] < state.blkIndent


def _read_definition(state: "StateBlock", start: int, end: int, silent: bool) -> bool:
    """Read the definition of a link's target; anything else that looks like one is text."""
    if silent or state.is_code_block(start):
        return False
    pos = state.bMarks[start] + state.tShift[start]
    if state.src[pos : pos + 1] != "[" or state.src[pos : pos + 2] == "[^":
        return False
    last = start + 1
    while last < min(start + 3, end) and not state.isEmpty(last):
        last += 1
    text = state.getLines(start, last, state.blkIndent, False).lstrip()
    found = match_definition(text)
    if not found or (found[2] and not _is_referenced(state.src, text)):
        return False
    state.env.setdefault("references", {}).setdefault(found[0], {"title": "", "href": "#"})
    state.line = min(start + found[1], last)
    token = state.push("definition", "", 0)
    token.map = [start, state.line]
    token.hidden = True
    return True


def match_definition(text: str) -> tuple[str, int, bool] | None:
    """Match a link definition at the start of a text.

    Returns:
        The normalized label, the number of lines, and whether it is a definition only if the label occurs
        elsewhere; None if it is certainly none.
    """
    from markdown_it.common.utils import normalizeReference

    found = _DEFINITION.match(text)
    if not found or not found[1].strip():
        return None
    is_local = bool(_LOCAL_TARGET.fullmatch(found[2]))
    if not is_local and not _TARGET.fullmatch(found[2]):
        return None
    return normalizeReference(found[1]), found[0].rstrip("\n").count("\n") + 1, is_local


def _is_referenced(source: str, definition: str) -> bool:
    """Whether the label of a definition occurs elsewhere, without a colon after it."""
    label = definition.partition("]:")[0] + "]"
    return source.count(label) > source.count(f"{label}:")


def _read_html_block(state: "StateBlock", start: int, end: int, silent: bool) -> bool:
    """Read a block of HTML; a comment or a script without an end is a paragraph, not the rest of the file."""
    from markdown_it.rules_block import html_block

    pos = state.bMarks[start] + state.tShift[start]
    opening = state.src[pos : pos + 9].lower()
    closers = state.env.setdefault("closers", {})  # position of the next one, which is searched only once
    for opener, closer in _CLOSED_BY:
        if opening.startswith(opener):
            close = closers.get(closer, -1)
            if closer not in closers or 0 <= close < pos + len(opener):
                close = closers[closer] = state.src.find(closer, pos + len(opener))
            if close < 0 or (opener == "<!--" and state.src.rfind(opener, pos + len(opener), close) >= 0):
                return False
            break
    return html_block(state, start, end, silent)


def _read_wiki_link(state: "StateInline", silent: bool) -> bool:
    """Read `[[page]]` or `[[page|text]]`, and `![[file]]`, which embeds a file."""
    if state.src[state.pos] not in "![":
        return False
    found = _WIKI_LINK.match(state.src, state.pos, state.posMax)
    if not found:
        return False
    if not silent:
        if found[0][0] == "!":
            state.push("embed", "", 0)
        else:
            state.push("text", "", 0).content = (found[2] or found[1]).strip()
    state.pos = found.end()
    return True
