r"""A shell script whose output can be told from everything else that a login prints.

In: a script and its arguments. Out: bytes for `sh -s`, and the script's own output from the two streams of
the session. Does not know ssh.

Start-up files of an account may print before and after a command. So the output counts only between two lines
whose text nobody can know in advance. The bytes contain these lines in two halves, so that a start-up file
that echoes its input does not produce them. The script is one line of input: a start-up file that reads input
leaves all of it or nothing, never a part that runs.
"""

import secrets
import shlex
from collections.abc import Sequence
from typing import TextIO

from tinyedge.core.printable import printable

MARK_BYTES = 16  # of each half of the mark
LINE_CHARACTERS = 2000  # a longer line is cut when it is shown
COMMAND = "exec sh -s"  # runs the script; every login shell understands it


class MarkedScript:
    """A script, and what its session has printed so far."""

    def __init__(self, script: str, arguments: Sequence[str], shown: tuple[TextIO, TextIO] | None = None):
        """Prepare a script.

        Args:
            script: The script. It gets an empty standard input.
            arguments: Its positional parameters "$1", "$2" and so on.
            shown: Where to print its standard output and standard error line by line; None prints nothing.
        """
        halves = secrets.token_hex(MARK_BYTES), secrets.token_hex(MARK_BYTES)
        self.stdin = _format_script(script, arguments, *halves)
        """Input of `COMMAND`."""
        out, err = shown or (None, None)
        mark = "".join(halves).encode()
        self.output = MarkedStream(mark, out)
        """Standard output of the session."""
        self.errors = MarkedStream(mark, err)
        """Standard error of the session."""

    def add(self, descriptor: int, chunk: bytes) -> None:
        """Add what the session has printed on standard output (1) or standard error (2)."""
        (self.output if descriptor == 1 else self.errors).add(chunk)

    @property
    def has_ended(self) -> bool:
        """Whether the script has ended and all of its output is here."""
        return self.output.code is not None and self.errors.code is not None


class MarkedStream:
    """One stream of the session, divided into what the script printed and the rest."""

    def __init__(self, mark: bytes, shown: TextIO | None) -> None:
        """Create an empty stream.

        Args:
            mark: First word of the lines before and after the script's output.
            shown: Where to print the script's output line by line.
        """
        self.code: int | None = None
        """Exit code of the script; None until it has ended."""
        self.has_begun = False
        """Whether the script has begun."""
        self._mark, self._shown = mark, shown
        self._noise, self._rest = bytearray(), bytearray()
        self._lines: list[str] = []
        self._has_empty_line = False  # that is not shown yet

    @property
    def noise(self) -> str:
        """What the session printed before the script began."""
        return (self._noise if self.has_begun else self._noise + self._rest).decode(errors="replace")

    @property
    def content(self) -> str:
        """What the script printed."""
        return "\n".join(self._lines)

    def add(self, chunk: bytes) -> None:
        """Add bytes; what follows the end of the script is ignored."""
        self._rest += chunk
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            if self.code is None:
                self._add_line(line)

    def _add_line(self, line: bytearray) -> None:
        word, _, value = line.partition(b" ")
        if word != self._mark:
            if self.has_begun:
                self._lines.append(line.decode(errors="replace"))
                self._show(self._lines[-1])
            else:
                self._noise += line + b"\n"
        elif value == b"begin":
            self.has_begun = True
        elif value.isdigit():
            self.code = int(value)

    def _show(self, line: str) -> None:
        """Print a line. The line break before the last mark is not the script's, so an empty line waits."""
        if self._shown is None:
            return
        if self._has_empty_line:
            print(file=self._shown)
        self._has_empty_line = not line
        if line:
            print(printable(line.rstrip("\r"), LINE_CHARACTERS), file=self._shown, flush=True)


def encode_octal(text: str) -> str:
    """Encode a text for `printf %b`: octal escapes only, in which no shell finds anything to interpret."""
    return "".join(f"\\0{byte:03o}" for byte in text.encode())


def _format_script(script: str, arguments: Sequence[str], first: str, second: str) -> bytes:
    """Format a script for `sh -s` as one line, in which each of its bytes is an octal escape."""
    text = f"set -- {shlex.join(arguments)}\n{script}\n"
    mark = f"printf '\\n%s%s %s\\n' {first} {second}"
    steps = (
        *(f"{mark} begin", f"{mark} begin >&2"),
        f"(eval \"$(printf %b '{encode_octal(text)}')\") </dev/null",
        *("set -- $?", f'{mark} "$1"', f'{mark} "$1" >&2', 'exit "$1"'),
    )
    return f"{'; '.join(steps)}\n".encode()
