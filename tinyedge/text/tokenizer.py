"""SentencePiece unigram: text to token ids and back. Knows nothing of models or of how it was trained.

Text is normalized to NFC here, because SentencePiece's own NFKC would turn "1.º" into "1.o".
"""

import codecs
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece

from tinyedge.core import files
from tinyedge.core.errors import TokenizerError

BOS_ID, EOS_ID, PAD_ID, UNK_ID = 0, 1, 2, 3  # the guide's table of special tokens
WORD_BOUNDARY = "\u2581"  # SentencePiece's visible space
LONE_SURROGATE = "[\ud800-\udfff]"  # a pattern; in a str they are always lone
UNKNOWN_TEXT = "\ufffd"  # what an UNK reads as


_LOG_LEVEL_ERROR = 2  # of SentencePiece's levels


def model_name(vocab_size: int) -> str:
    """The file's name: `bilingual_8k.model` for 8000 pieces, `bilingual_1500.model` for 1500."""
    size = f"{vocab_size // 1000}k" if vocab_size % 1000 == 0 else str(vocab_size)
    return f"bilingual_{size}.model"


class Tokenizer:
    """A trained vocabulary. Loads from the bytes of a `.model` file, which are data, not code.

    name: what errors call it. sha256: of the bytes, where it is known already.
    """

    def __init__(self, model: bytes, name: str = "tokenizer", sha256: str | None = None) -> None:
        self.sha256 = sha256 or hashlib.sha256(model).hexdigest()
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
            self.vocab_size: int = self._processor.get_piece_size()
            self._pieces: dict[int, bytes] = {}  # those that were asked for: a start needs none
        except (RuntimeError, OSError, ValueError, IndexError):
            raise TokenizerError(
                f"{name} is not a SentencePiece model", "train one with: tinyedge tokenizer"
            ) from None
        special = tuple(getattr(self._processor, f"{token}_id")() for token in ("bos", "eos", "pad", "unk"))
        if special != (BOS_ID, EOS_ID, PAD_ID, UNK_ID):
            raise TokenizerError(
                f"{name} has BOS, EOS, PAD, UNK at {special}, tinyedge needs 0, 1, 2, 3",
                "train one with: tinyedge tokenizer",
            )

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Reads a `.model` file. Raises TokenizerError when it is missing or is not one."""
        files.require_file(path, TokenizerError, "train one with: tinyedge tokenizer")
        return cls(path.read_bytes(), str(path))

    def encode(self, text: str) -> list[int]:
        """Text to ids, without BOS and EOS. Lone surrogates become U+FFFD; the text is taken as NFC."""
        return list(self._processor.encode(_normalize(text)))

    def encode_line(self, text: str) -> list[int]:
        """One sentence as the model sees it: BOS, ids, EOS."""
        return [BOS_ID, *self.encode(text), EOS_ID]

    def encode_lines(self, lines: Iterable[str]) -> list[list[int]]:
        """`encode_line` of each, in one call: twice as fast. Other threads of Python run meanwhile."""
        clean = [_normalize(line) for line in lines]
        encoded: list[list[int]] = self._processor.encode(clean, add_bos=True, add_eos=True, num_threads=1)
        return encoded

    def find_segmentations(
        self, texts: Sequence[str], count: int
    ) -> list[list[tuple[tuple[int, ...], float]]]:
        """For each text the best `count` ways to cut it, with their log probabilities, the best first."""
        scores = [self._processor.get_score(token) for token in range(self.vocab_size)]
        sentencepiece.set_min_log_level(
            _LOG_LEVEL_ERROR
        )  # it warns of each long word, whose best ways it cuts short
        found = self._processor.nbest_encode(list(texts), nbest_size=count)
        return [[(tuple(way), sum(scores[token] for token in way)) for way in ways] for ways in found]

    def decode(self, tokens: Sequence[int]) -> str:
        """Ids to text, exactly what a `TextStream` over them yields."""
        stream = TextStream(self)
        return "".join(stream.push(token) for token in tokens) + stream.flush()

    def piece(self, token: int) -> bytes:
        """A token as UTF-8 bytes: words start with a space; BOS and PAD are empty, EOS is a line break.

        A byte-fallback piece is its one byte, which may be part of a character.
        """
        found = self._pieces.get(token)
        if found is None:
            found = self._pieces[token] = self._decode_piece(token)
        return found

    def spellings(self) -> list[str]:
        """Every piece as SentencePiece writes it ("▁Casas"); empty for the special ones and single bytes."""
        processor = self._processor
        return [
            ""
            if processor.is_control(i) or processor.is_unknown(i) or processor.is_byte(i)
            else processor.id_to_piece(i)
            for i in range(self.vocab_size)
        ]

    def vocabulary_table(self) -> str:
        """The `.vocab` file: a line a piece, the piece and its log probability, tab-separated."""
        rows = (
            (self._processor.id_to_piece(i), self._processor.get_score(i)) for i in range(self.vocab_size)
        )
        return "".join(f"{piece}\t{score:.6g}\n" for piece, score in rows)

    def _decode_piece(self, token: int) -> bytes:
        if token == EOS_ID:
            return b"\n"
        if token == UNK_ID:
            return UNKNOWN_TEXT.encode()
        if self._processor.is_control(token):
            return b""
        piece: str = self._processor.id_to_piece(token)
        if self._processor.is_byte(token):
            return bytes([int(piece[3:5], 16)])
        return piece.replace(WORD_BOUNDARY, " ").encode()


def _normalize(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = re.sub(LONE_SURROGATE, UNKNOWN_TEXT, text)
    return unicodedata.normalize("NFC", text)


class TextStream:
    """Turns tokens into text as they come, never emitting half a character.

    `context` is what stands before the first token: where it is empty or ends a line, the first piece's
    leading space belongs to the tokenizer, not to the text, and is dropped.
    """

    def __init__(self, tokenizer: Tokenizer, context: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_line_start = True
        for token in context:
            self._update_line_start(token)

    def push(self, token: int) -> str:
        """The text that `token` completes; empty while a character is still unfinished."""
        piece = self._tokenizer.piece(token)
        if self._at_line_start:
            piece = piece.removeprefix(b" ")
        self._update_line_start(token)
        return self._decoder.decode(piece)

    def flush(self) -> str:
        """What is left at the end: an unfinished character as U+FFFD, or nothing."""
        return self._decoder.decode(b"", final=True)

    def _update_line_start(self, token: int) -> None:
        # Not any line break: a line feed spelled as a byte piece is inside a line, as is a space after it.
        if self._tokenizer.piece(token):
            self._at_line_start = token == EOS_ID
