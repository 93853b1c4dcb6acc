"""Where each token of a text begins in it, in characters (Unicode code points).

In: a prompt or generated tokens. Out: offsets. A token whose piece begins with a space begins at that space,
if the text has it: the tokenizer adds one to the first piece of a line. All bytes of a character that is
spelled with byte pieces begin where the character begins.

Does not know the model or requests.
"""

import unicodedata
from collections.abc import Iterator, Sequence

from tinyedge.runtime.generator import LINE_BREAK
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, UNK_ID, WORD_BOUNDARY, TextStream, Tokenizer


def locate_prompt_tokens(tokenizer: Tokenizer, prompt: str, tokens: Sequence[int]) -> list[int]:
    """Locate the tokens of a prompt in its text as it was sent.

    The tokenizer normalizes a text to NFC, joins several spaces to one and removes spaces at both ends of a
    line, so lengths of pieces cannot simply be added.

    Args:
        tokenizer: The tokenizer.
        prompt: The text.
        tokens: Result of `Generator.encode_prompt` for it.

    Returns:
        The offset of each token. BOS begins where its line begins, EOS is the line break.
    """
    breaks = [match.span() for match in LINE_BREAK.finditer(prompt)]
    starts = [0, *(end for _, end in breaks)]
    ends = [*(start for start, _ in breaks), len(prompt)]
    offsets: list[int] = []
    for (start, end), line in zip(zip(starts, ends, strict=True), _split_lines(tokens), strict=True):
        text = prompt[start:end]
        has_eos = line[-1] == EOS_ID
        pieces = line[1:-1] if has_eos else line[1:]
        offsets.append(start)  # BOS
        offsets += [start + offset for offset in _locate_pieces(tokenizer, text, pieces)]
        if has_eos:
            offsets.append(end)
    return offsets


def _split_lines(tokens: Sequence[int]) -> Iterator[Sequence[int]]:
    starts = [index for index, token in enumerate(tokens) if token == BOS_ID]
    for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        yield tokens[start:end]


def _locate_pieces(tokenizer: Tokenizer, line: str, pieces: Sequence[int]) -> list[int]:
    text, origins = _normalize(line)
    raw = [tokenizer.piece(token) for token in pieces]
    offsets: list[int] = []
    at = 0  # position in the normalized text
    incomplete = b""  # bytes of a character that more byte pieces complete
    for index, token in enumerate(pieces):
        start: int | None = None
        if token == UNK_ID:
            following = raw[index + 1].decode("utf-8", "replace") if index + 1 < len(raw) else ""
            start, at = at, _find_end_of_unknown(text, at, following)
        elif incomplete or not _is_text(raw[index]):
            start = at
            incomplete += raw[index]
            if _is_text(incomplete):
                at, incomplete = at + 1, b""
        else:
            for character in raw[index].decode():
                here, at = _advance(text, at, character)
                start = here if start is None else start
        offsets.append(origins[min(at if start is None else start, len(text))])
    return offsets


def _advance(text: str, at: int, character: str) -> tuple[int, int]:
    """Return where a character of a piece is at or after a position, and the position after it."""
    if character == " ":
        end = at
        while text[end : end + 1] == " ":
            end += 1
        if end > at:
            return end - 1, end  # several spaces are one for the tokenizer: the last one is before the word
        return at, at + (text[at : at + 1] == WORD_BOUNDARY)  # nothing where the tokenizer added the space
    found = text.find(character, at)
    return (at, at) if found < 0 else (found, found + 1)


def _find_end_of_unknown(text: str, at: int, following: str) -> int:
    """Return where an UNK ends: it is one or more characters, up to the next piece."""
    if not following:
        return len(text.rstrip(" "))
    found = text.replace(WORD_BOUNDARY, " ").find(following, at + 1)
    return len(text) if found < 0 else found


def _normalize(line: str) -> tuple[str, list[int]]:
    """Return a line in NFC, and for each of its characters, and its end, the index in the original line."""
    if unicodedata.is_normalized("NFC", line):
        return line, list(range(len(line) + 1))
    parts: list[str] = []
    origins: list[int] = []
    start = 0
    for end in range(1, len(line) + 1):
        # A part ends where the rest is normalized independently of it.
        if end < len(line) and not _is_boundary(line, start, end):
            continue
        part = unicodedata.normalize("NFC", line[start:end])
        parts.append(part)
        origins += [min(start + index, end - 1) for index in range(len(part))]
        start = end
    return "".join(parts), [*origins, len(line)]


def _is_boundary(line: str, start: int, at: int) -> bool:
    if unicodedata.combining(line[at]):
        return False
    before, character = line[start:at], line[at]
    # Some characters that are no combining marks are composed too, for example Hangul vowels.
    separate = unicodedata.normalize("NFC", before) + unicodedata.normalize("NFC", character)
    return unicodedata.normalize("NFC", before + character) == separate


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


class OffsetCounter:
    """Counts the characters of a text that grows token by token, as a `TextStream` shows it."""

    end: int
    """Number of characters after which the text of the last token is complete."""

    def __init__(self, tokenizer: Tokenizer, context: Sequence[int], start: int) -> None:
        """Start before the first token.

        Args:
            tokenizer: The tokenizer.
            context: The tokens before the text, as for a `TextStream`.
            start: Number of characters before the first token.
        """
        self._tokenizer = tokenizer
        self._stream = TextStream(tokenizer, context)
        self._shown = self.end = start

    def push_text(self, text: str) -> int:
        """Add the rest of a token that completes the end of the prompt, and return the offset of the rest."""
        before = self._shown
        self._shown = self.end = before + len(text)
        return before

    def push(self, token: int) -> int:
        """Add a token and return the number of characters before it."""
        before = self._shown
        shown = self._stream.push(token)
        self._shown += len(shown)
        self.end = self._shown + self._stream.is_incomplete
        raw = self._tokenizer.piece(token)
        if _is_text(raw):  # an incomplete character before it became U+FFFD
            return self._shown - min(len(shown), len(raw.decode()))
        if self._stream.is_incomplete:
            return self._shown
        return max(before, self._shown - 1)
