"""Text that does not come from this program, made safe to print on a terminal.

In: any text, such as a file name, a board's answer or a generated word. Out: the same text, in which the
characters that control a terminal are JSON escapes. Does not know where a text comes from.
"""

import io
import re
from typing import TextIO

# Characters that move the cursor, start an escape sequence, end a line, or change the direction of the text
# around them (Unicode's bidirectional controls, UAX 9), and lone surrogates. A regular expression.
CONTROL_CHARACTERS = "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_KEPT_IN_OUTPUT = "\n\t"


def has_control_chars(text: str) -> bool:
    """Return whether a text has characters that control a terminal."""
    # isprintable() is True for almost every text, so a normal start does not compile the pattern.
    return not text.isprintable() and re.search(CONTROL_CHARACTERS, text) is not None


def printable(text: str, limit: int | None = None) -> str:
    r"""Return a text with its control characters, line breaks too, as JSON escapes such as `\u001b`.

    Args:
        text: Any text.
        limit: Length in characters from which the text is cut; "..." marks the cut.
    """
    if limit is not None and len(text) > limit:
        text = text[: limit - 3] + "..."
    return _escape(text, "") if has_control_chars(text) else text


class PrintableStream(io.TextIOWrapper):
    """An output stream that escapes control characters, except line breaks and tabs, in all that is printed.

    The escapes are those of JSON, so a JSON text on this stream keeps its value.
    """

    failure: OSError | None = None
    """Why a text could not be written, for example because the disk is full."""

    @classmethod
    def replace(cls, stream: io.TextIOWrapper) -> "PrintableStream":
        """Take over the buffer of a stream, which cannot be used afterwards."""
        encoding, buffered = stream.encoding, stream.line_buffering
        return cls(stream.detach(), encoding, "backslashreplace", line_buffering=buffered)

    def write(self, text: str, /) -> int:
        """Write a text, escaped where needed; return its length."""
        is_plain = text.replace("\n", "").isprintable()  # true for most texts, and cheap
        try:
            super().write(text if is_plain else _escape(text, _KEPT_IN_OUTPUT))
        except OSError as failure:
            self.failure = failure
            raise
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            super().flush()
        except OSError as failure:
            self.failure = failure
            raise

    def write_control(self, text: str) -> None:
        """Write a text of this program that controls the terminal."""
        super().write(text)


def write_control(stream: TextIO, text: str) -> None:
    """Write a text of this program that controls the terminal, to any stream."""
    if isinstance(stream, PrintableStream):
        stream.write_control(text)
    else:
        stream.write(text)


def _escape(text: str, kept: str) -> str:
    def escape(match: re.Match[str]) -> str:
        char = match[0]
        return char if char in kept else f"\\u{ord(char):04x}"

    return re.sub(CONTROL_CHARACTERS, escape, text)
