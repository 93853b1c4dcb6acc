"""Markdown: its text without markup, code blocks, comments and front matter.

In: a Markdown file. Out: its paragraphs; headings, list items, rows of tables and footnotes are paragraphs of
their own. The lines of a paragraph are joined as CommonMark does, unless they clearly stand for themselves. A
file is parsed in parts of about PART_CHARS, which bounds memory and, for hostile files, time. Does not split
sentences.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyedge.corpus.encoding import read_lines
from tinyedge.corpus.formats.front_matter import skip_front_matter
from tinyedge.corpus.formats.markdown_rules import UNCLOSED, is_prose, make_parser, match_definition
from tinyedge.corpus.hyphenation import WordJoiner
from tinyedge.corpus.read_notes import ReadNotes
from tinyedge.corpus.read_settings import AUTO_LINES, KEEP_LINES

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

PART_CHARS = 1 << 14  # a part ends at the first blank line after so many, outside of code and comments,
MAX_PART_CHARS = 1 << 15  # or at this length, if there is none
MAX_CODE_CHARS = 1 << 18  # of a code block or a comment; a longer one has probably no end
MAX_OPEN_BRACKETS = 200  # of a part
MAX_REFERENCES = 100_000  # link definitions of a file that is parsed in parts

_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_HTML_OPENER = re.compile(r" {0,3}<(!--|script|style|pre)", re.IGNORECASE)
_HTML_CLOSERS = {"!--": "-->", "script": "</script", "style": "</style", "pre": "</pre"}
_TASK_BOX = re.compile(r"\[[ xX/-]\]\s+")
_LINE_MARK = re.compile(r"\[![\w-]+\][+-]?\s*|:{1,2}\s+|:{3,}.*")  # of a callout, a definition, a fenced div
_LINE_END = re.compile(r"\s+(?:\{[#.:][^{}]*\}|\^[\w-]{6,})$")  # attributes of a heading, Obsidian's block id
_HIGHLIGHT = re.compile(r"==(?=[^\s=])([^=\n]{1,1000})(?<=\S)==")

_COMMENT = re.compile(r"<!--.*?-->|<!-->|<!--->", re.DOTALL)
_NO_TEXT = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|$)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9-]{0,30})(?:\s[^<>]{0,100000})?/?>|<[?!][^<>]{0,1000}>")
# Elements within a line. A name that is not HTML is text: `List<String>`, "Dear <name>".
_INLINE_ELEMENTS_NAMES = (
    "a abbr acronym audio b bdi bdo big br button canvas cite code data del dfn em embed font i iframe"
    " img input ins kbd label map mark meter nobr object output picture pre progress q rp rt ruby s samp"
    " script select slot small source span strike strong style sub sup svg path g textarea time track tt u"
    " var video wbr"
)
_INLINE_ELEMENTS = frozenset(_INLINE_ELEMENTS_NAMES.split())
_STRAY = re.compile(r"<!--|^(?:`{3,}|~{3,})\s*")  # of a comment without an end; of a fence that is none
MAX_WORD_CHARS = 100  # at the end of a line, which a hyphen may have cut
_HARD_BREAK = "\u2028"  # Unicode's line separator; "\n" is a line break in the file alone
# A wrapped line continues in lower case: in novels three of four do, in German too. So lines stand for
# themselves if none of several does, or if one is shorter than any wrapped line.
MIN_LINES_APART = 3
MIN_WRAPPED_CHARS = 40


def read_paragraphs(path: Path, notes: ReadNotes, lines: str = AUTO_LINES) -> Iterator[str]:
    """Stream the text of a Markdown file.

    Args:
        path: The file.
        notes: Receives what is dropped.
        lines: What is done with line breaks inside a paragraph, as in ReadSettings; those that Markdown marks
            as such always count.

    Raises:
        MissingDependencyError: markdown-it-py is not installed.
    """
    parser = make_parser()
    parts = split_parts(skip_front_matter(read_lines(path, notes), notes))
    first = list(itertools.islice(parts, 2))
    references = _find_references(path) if len(first) > 1 else {}
    for part in itertools.chain(first, parts):
        yield from _read_part(part, notes, parser, references, lines)


def _read_part(
    text: str, notes: ReadNotes, parser: "MarkdownIt", references: dict[str, Any], lines: str
) -> Iterator[str]:
    """Yield the paragraphs of a part."""
    words = WordJoiner()
    words.look_ahead(text.split("\n"))
    # The parser takes quadratic time for brackets that nothing closes. They are text anyway.
    is_unbalanced = text.count("[") - text.count("]") > MAX_OPEN_BRACKETS
    (parser.disable if is_unbalanced else parser.enable)(["link", "image", "wiki_link"])
    tokens = parser.parse(text, {"references": dict(references)})
    return _Renderer(parser, words, notes, lines).render(tokens)


def split_parts(lines: Iterator[str]) -> Iterator[str]:
    """Cut Markdown into parts: at a blank line before an unindented line, outside of code and comments."""
    part: list[str] = []
    size = 0
    closer = ""  # of the code block or the comment that is open
    closer_size = 0  # length of the part when it was opened
    follows_blank = False
    for line in itertools.chain.from_iterable(map(_cut_long_line, lines)):
        if closer and size - closer_size > MAX_CODE_CHARS:
            closer = ""
        is_seam = follows_blank and bool(line.strip()) and line[0] not in " \t"
        if not closer and ((size >= PART_CHARS and is_seam) or size >= MAX_PART_CHARS):
            yield "\n".join(part)
            part, size = [], 0
        if closer:
            closer = "" if _closes(line, closer) else closer
        else:
            closer, closer_size = _find_open(line), size
        part.append(line)
        size += len(line) + 1
        follows_blank = not line.strip()
    if part:
        yield "\n".join(part)


def _cut_long_line(line: str) -> Iterator[str]:
    """Cut a line of more than a part at white space, or at the end of a Chinese sentence."""
    while len(line) > PART_CHARS:
        cut = max(line.rfind(mark, 0, PART_CHARS) for mark in " 。！？") + 1 or PART_CHARS
        yield line[:cut]
        line = line[cut:]
    yield line


def _find_open(line: str) -> str:
    """Return what ends the code block or the comment that a line opens, or "" if it opens none."""
    fence = _FENCE.match(line)
    if fence:
        return fence[1]
    opened = _HTML_OPENER.match(line)
    if not opened:
        return ""
    closer = _HTML_CLOSERS[opened[1].lower()]
    return "" if closer in line[opened.end() :].lower() else closer


def _closes(line: str, closer: str) -> bool:
    if closer[0] in "`~":
        found = line.strip()
        return len(found) >= len(closer) and not found.strip(closer[0])
    return closer in line.lower()


def _find_references(path: Path) -> dict[str, Any]:
    """Find the link definitions of a file that is parsed in parts; a target is not needed."""
    references: dict[str, Any] = {}
    for line in read_lines(path, ReadNotes(path)):
        if line.lstrip()[:1] == "[" and len(references) < MAX_REFERENCES:
            found = match_definition(line.lstrip()[:2_000])
            if found:
                references[found[0]] = {"title": "", "href": "#"}
    return references


class _Renderer:
    """Renders the tokens of a part as paragraphs."""

    def __init__(self, parser: "MarkdownIt", words: WordJoiner, notes: ReadNotes, lines: str) -> None:
        self._parser = parser
        self._words = words
        self._notes = notes
        self._lines = lines  # of ReadSettings

    def render(self, tokens: "list[Token]") -> Iterator[str]:
        """Yield the paragraphs, an empty string around each."""
        row: list[str] | None = None
        number = ""  # of the list item, as far as it is text
        is_item_start = False
        for token in tokens:
            if token.type == "inline":
                lines = self._render_inline(token.children or [])
                if row is not None:
                    row.append(" ".join(lines))
                    continue
                lines[0] = _TASK_BOX.sub("", lines[0], count=1) if is_item_start else lines[0]
                lines[0] = f"{number}{lines[0]}"
                number, is_item_start = "", False
                yield from ("", *filter(None, map(str.strip, lines)), "")
            elif token.type == "tr_open":
                row = []
            elif token.type == "tr_close":
                yield from ("", " ".join(row or ()), "")
                row = None
            elif token.type == "list_item_open":
                is_item_start = True
                # "1986. A great year." is a sentence.
                number = f"{token.info}{token.markup} " if len(token.info) >= 4 else ""
            elif token.type in ("fence", "code_block"):
                yield from self._render_code(token)
            elif token.type == "html_block":
                yield from ("", *self._render_html_block(token.content), "")
            elif token.type.startswith("math_block"):
                self._notes.count("formulas")
            elif token.type == "definition":
                self._notes.count("link_definitions")

    def _render_code(self, token: "Token") -> Iterator[str]:
        code_lines = 0
        for _, group in itertools.groupby(map(str.strip, token.content.split("\n")), bool):
            lines = list(group)
            if token.type == "code_block" and is_prose(lines):
                self._notes.count("indented_blocks_kept")
                yield from ("", *self._render_text("\n".join(lines)), "")
            else:
                code_lines += sum(map(bool, lines))
        self._notes.count("code_blocks", int(code_lines > 0))
        self._notes.count("code_lines", code_lines)
        self._notes.count("unclosed_code_blocks", int(UNCLOSED in token.meta))

    def _render_text(self, text: str) -> list[str]:
        """Return the lines of Markdown that is not a block of its own."""
        return self._render_inline(self._parser.parseInline(text)[0].children or [])

    def _render_inline(self, tokens: "list[Token]") -> list[str]:
        """Return the lines of inline markup, joined where they belong together; there is at least one."""
        text = _HIGHLIGHT.sub(r"\1", "".join(map(self._render_inline_token, tokens)))
        lines: list[str] = []
        for part in text.split(_HARD_BREAK):
            unit: list[str] = []
            for line in part.split("\n"):
                mark = _LINE_MARK.match(line)
                if mark and unit:
                    lines += self._join_lines(unit)
                    unit = []
                unit.append(_LINE_END.sub("", line[mark.end() :] if mark else line).strip())
                if mark and mark[0][0] in "[:" and not mark[0].startswith(": "):
                    lines += unit
                    unit = []
            lines += self._join_lines(unit) if unit else []
        return lines or [""]

    def _join_lines(self, lines: list[str]) -> list[str]:
        """Join the lines of a paragraph, unless they clearly stand for themselves."""
        if self._lines == KEEP_LINES or (self._lines == AUTO_LINES and _stand_alone(lines)):
            return lines
        text = lines[0]
        for line in lines[1:]:
            first, second, _ = self._words.join(text[-MAX_WORD_CHARS:], line)
            text = text[:-MAX_WORD_CHARS] + first + second
        return [text]

    def _render_inline_token(self, token: "Token") -> str:
        if token.type == "text":
            return _STRAY.sub("", token.content)
        if token.type == "code_inline":
            return token.content
        if token.type == "softbreak":
            return "\n"
        if token.type == "hardbreak":
            return _HARD_BREAK
        if token.type == "image":
            return "".join(map(self._render_inline_token, token.children or []))
        if token.type == "html_inline":
            return self._strip_tags(token.content)
        if token.type.startswith("math_inline"):
            return f"{token.markup}{token.content}{token.markup}"
        if token.type == "embed":
            self._notes.count("embedded_files")
        return ""

    def _render_html_block(self, content: str) -> Iterator[str]:
        for part in re.split(rf"{_HARD_BREAK}|\n\s*\n", self._strip_tags(content)):
            yield from map(str.strip, self._render_text(part.strip()))

    def _strip_tags(self, content: str) -> str:
        """Return the text of HTML, in a new line after each tag of a block."""
        content, comments = _COMMENT.subn("", content)
        self._notes.count("comments", comments)
        content, scripts = _NO_TEXT.subn("", content)
        self._notes.count("scripts", scripts)
        return _TAG.sub(_replace_tag, content)


def _replace_tag(tag: "re.Match[str]") -> str:
    from markdown_it.common.html_blocks import block_names

    name = (tag[1] or "").lower()
    if name in block_names or name == "br":
        return _HARD_BREAK
    return "" if not name or name in _INLINE_ELEMENTS or "-" in name else tag[0]


def _stand_alone(lines: list[str]) -> bool:
    """Whether lines are not wrapped: none of several continues in lower case, or one is short."""
    starts = [re.sub(r"^\W+", "", line)[:1] for line in lines[1:]]
    is_short = any(len(line) < MIN_WRAPPED_CHARS for line in lines[:-1])
    has_case = any(start.lower() != start.upper() for start in starts)
    return has_case and not any(map(str.islower, starts)) and (len(starts) >= MIN_LINES_APART or is_short)
