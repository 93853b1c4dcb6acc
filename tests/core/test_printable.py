"""No text of somebody else controls the terminal."""

import io
import json
import re

from hypothesis import example, given
from hypothesis import strategies as st

from tinyedge.core.printable import (
    CONTROL_CHARACTERS,
    PrintableStream,
    has_control_chars,
    printable,
    write_control,
)

ANY_TEXT = st.text(st.characters(codec=None))  # lone surrogates included


@given(ANY_TEXT)
@example("año, niño\u00a0\u200d\U0001f600")  # not printable according to Python, but harmless on a terminal
@example("a\u2028b")
@example("a\u202eb")
@example("a\x1b[2J")
@example("\udc80")
def test_control_characters_are_found(text: str) -> None:
    assert has_control_chars(text) == bool(re.search(CONTROL_CHARACTERS, text))


@given(ANY_TEXT)
@example("\x1b]0;title\x07\x9b2J\r\n\t\u2066")
def test_a_printable_text_has_no_control_characters(text: str) -> None:
    assert not has_control_chars(printable(text))


def test_a_harmless_text_stays() -> None:
    text = "el niño \U0001f468\u200d\U0001f469 año\u00a0nuevo"
    assert printable(text) is text


def test_a_long_text_is_cut() -> None:
    assert printable("a" * 50, limit=10) == "aaaaaaa..."
    assert printable("a" * 10, limit=10) == "a" * 10


def open_stream(encoding: str = "utf-8") -> tuple[io.BytesIO, PrintableStream]:
    raw = io.BytesIO()
    return raw, PrintableStream.replace(io.TextIOWrapper(raw, encoding))


def test_a_stream_escapes_all_but_line_breaks_and_tabs() -> None:
    raw, stream = open_stream()
    print("a\tb\n\x1b[31mc\u202e\r", file=stream, flush=True)
    assert raw.getvalue() == b"a\tb\n\\u001b[31mc\\u202e\\u000d\n"


def test_a_stream_writes_what_its_encoding_lacks_as_an_escape() -> None:
    raw, stream = open_stream("ascii")
    print("é\udc80", file=stream, flush=True)
    assert raw.getvalue() == b"\\xe9\\udc80\n"


@given(st.text())
@example("\u202e\x9b\x7f")
def test_json_on_a_stream_keeps_its_value(text: str) -> None:
    raw, stream = open_stream()
    print(json.dumps({"text": text}, ensure_ascii=False), file=stream, flush=True)
    assert json.loads(raw.getvalue()) == {"text": text}


def test_the_program_itself_may_control_the_terminal() -> None:
    raw, stream = open_stream()
    write_control(stream, "\r50%")
    stream.flush()
    plain = io.StringIO()
    write_control(plain, "\r50%")
    assert raw.getvalue() == plain.getvalue().encode() == b"\r50%"
