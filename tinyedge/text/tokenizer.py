"""SentencePiece unigram tokenizer: text to token ids and back.

In: the bytes of a `.model` file; text or token ids. Out: token ids or text. Does not know models, or how the
vocabulary was trained. Text is normalized to NFC here, because SentencePiece's own NFKC would turn "1.º" into
"1.o".
"""

import codecs
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece

from tinyedge.core import files
from tinyedge.core.errors import TokenizerError
from tinyedge.core.hashes import hash_sha256

BOS_ID, EOS_ID, PAD_ID, UNK_ID = 0, 1, 2, 3  # as the project's guide defines them
WORD_BOUNDARY = "\u2581"  # SentencePiece writes a space as this character
LONE_SURROGATE = "[\ud800-\udfff]"  # a pattern; a surrogate in a str never has a partner
UNKNOWN_TEXT = "\ufffd"  # the text of an UNK

_LOG_LEVEL_ERROR = 2  # SentencePiece's own numbering


def model_name(vocab_size: int) -> str:
    """Return the file name: `bilingual_8k.model` for 8000 pieces, `bilingual_1500.model` for 1500."""
    size = f"{vocab_size // 1000}k" if vocab_size % 1000 == 0 else str(vocab_size)
    return f"bilingual_{size}.model"


class Tokenizer:
    """A trained vocabulary.

    Args:
        model: Content of a `.model` file; it is data, not code.
        name: Name of the tokenizer in error messages.
        sha256: Hash of `model` where it is already known.

    Raises:
        TokenizerError: `model` is not a SentencePiece model, or its special tokens have other ids.
    """

    def __init__(self, model: bytes, name: str = "tokenizer", sha256: str | None = None) -> None:
        self._name = name
        self.sha256 = sha256 or hash_sha256(model)
        self.content = model
        """Content of the `.model` file, searched by `find_longer_pieces`; 135 kB for 8000 pieces."""
        self._continues_word: dict[int, bool] = {}  # cache of `continues_word`
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
            self.vocab_size: int = self._processor.get_piece_size()
            self._pieces: dict[int, bytes] = {}  # cache of `piece`; empty at first, so that startup is fast
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
        """Read a `.model` file.

        Raises:
            TokenizerError: The file is missing or is not a usable SentencePiece model.
        """
        files.require_file(path, TokenizerError, "train one with: tinyedge tokenizer")
        return cls(path.read_bytes(), str(path))

    def encode(self, text: str) -> list[int]:
        """Encode a text without BOS and EOS. The text is normalized to NFC; lone surrogates become U+FFFD."""
        return list(self._processor.encode(_normalize(text)))

    def encode_line(self, text: str) -> list[int]:
        """Encode one sentence as the model sees it: BOS, ids, EOS."""
        return [BOS_ID, *self.encode(text), EOS_ID]

    def encode_lines(self, lines: Iterable[str]) -> list[list[int]]:
        """Encode several sentences in one call: twice as fast as `encode_line`, and other threads can run."""
        normalized = [_normalize(line) for line in lines]
        encoded: list[list[int]] = self._processor.encode(
            normalized, add_bos=True, add_eos=True, num_threads=1
        )
        return encoded

    def count_unknown_bytes(self, text: str) -> int:
        """Count the UTF-8 bytes of a text that are encoded as UNK. A run of unknown characters is one UNK."""
        text = _normalize(text)
        ids = self._processor.encode(text)
        if UNK_ID not in ids:
            return 0
        pieces = self._processor.encode(text, out_type=str)  # the piece of an UNK is the text behind it
        return sum(len(piece.encode()) for i, piece in zip(ids, pieces, strict=True) if i == UNK_ID)

    def find_segmentations(
        self, texts: Sequence[str], count: int
    ) -> list[list[tuple[tuple[int, ...], float]]]:
        """Find the most likely segmentations of each text.

        Args:
            texts: The texts.
            count: Largest number of segmentations for each text.

        Returns:
            For each text its segmentations as token ids with their log probability, most likely first.
        """
        scores = [self._processor.get_score(token) for token in range(self.vocab_size)]
        # SentencePiece warns about every long word, because it shortens the search there.
        sentencepiece.set_min_log_level(_LOG_LEVEL_ERROR)
        found = self._processor.nbest_encode(list(texts), nbest_size=count)
        return [[(tuple(ids), sum(scores[token] for token in ids)) for ids in best] for best in found]

    def decode(self, tokens: Sequence[int]) -> str:
        """Decode token ids to exactly the text that a `TextStream` over them returns."""
        stream = TextStream(self)
        return "".join(stream.push(token) for token in tokens) + stream.flush()

    def piece(self, token: int) -> bytes:
        """Return the UTF-8 bytes of a token.

        A piece that begins a word starts with a space. BOS and PAD are empty, EOS is a line break. A
        byte-fallback piece is one byte, which may be a part of a character.
        """
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._decode_piece(token)
        return piece

    def check_pieces(self) -> None:
        """Decode every piece, which loading does not, because it would take longer than all else.

        Raises:
            TokenizerError: A piece is not UTF-8.
        """
        for token in range(self.vocab_size):
            self.piece(token)

    def ends_in_word(self, token: int) -> bool:
        """Return whether a token ends with a letter, a mark or a digit."""
        return token > UNK_ID and _is_in_word(self.piece(token).decode("utf-8", "ignore")[-1:])

    def continues_word(self, token: int) -> bool:
        """Return whether a token directly after a word would make that word longer."""
        found = self._continues_word.get(token)
        if found is None:
            first = self.piece(token).decode("utf-8", "ignore")[:1]
            # Without a first character, the piece is a part of one that is not ASCII.
            found = self._continues_word[token] = token > UNK_ID and (not first or _is_in_word(first))
        return found

    def is_last_token_of(self, token: int, before: str) -> bool:
        """Return whether the text `before` and the text of `token` are encoded with `token` at the end.

        If so, the tokens before it are those of `before` alone: a part of a best segmentation is a best one.
        """
        if self._processor.is_byte(token):
            return True  # a part of a character cannot be encoded
        last: int = self._processor.encode(_normalize(before + self.piece(token).decode()))[-1]
        return last == token

    def find_longer_pieces(self, tokens: Sequence[int]) -> list[int]:
        """Find the pieces that begin with the text of `tokens` and continue it with a letter or digit.

        Returns:
            Their ids, lowest first.
        """
        from tinyedge.text.piece_index import find_longer_texts  # most texts need no search

        start = "".join(map(self._processor.id_to_piece, tokens))
        if start[0] == "<":  # so are special pieces and bytes spelled: "<s>" and "<0x0A>"
            return []
        texts = find_longer_texts(self.content, start.encode())
        ids = {self._processor.piece_to_id(text.decode("utf-8", "replace")) for text in texts}
        return sorted(ids - {UNK_ID})  # UNK: not a piece

    def spellings(self) -> list[str]:
        """List all pieces as SentencePiece writes them ("▁Casas"); special and byte pieces are empty."""
        processor = self._processor
        return [
            ""
            if processor.is_control(i) or processor.is_unknown(i) or processor.is_byte(i)
            else processor.id_to_piece(i)
            for i in range(self.vocab_size)
        ]

    def vocabulary_table(self) -> str:
        """Format the `.vocab` file: one line for each piece, with its log probability after a tab."""
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
        try:
            piece: str = self._processor.id_to_piece(token)
        except (UnicodeDecodeError, RuntimeError):
            raise TokenizerError(
                f"piece {token} of {self._name} is not UTF-8", "train one with: tinyedge tokenizer"
            ) from None
        if self._processor.is_byte(token):
            return bytes([int(piece[3:5], 16)])
        return piece.replace(WORD_BOUNDARY, " ").encode()


def _is_in_word(char: str) -> bool:
    return char.isalnum() or (char != "" and unicodedata.category(char)[0] == "M")


def _normalize(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = re.sub(LONE_SURROGATE, UNKNOWN_TEXT, text)
    return unicodedata.normalize("NFC", text)


class TextStream:
    """Incremental detokenizer that never returns an incomplete character.

    Args:
        tokenizer: The tokenizer.
        context: The tokens before the stream. If they are empty, or end or begin a line, the leading space of
            the first piece was added by the tokenizer and is dropped.
    """

    def __init__(self, tokenizer: Tokenizer, context: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_line_start = True
        for token in reversed(context):  # BOS, or the last one that has text, decides
            if token == BOS_ID:
                break
            if tokenizer.piece(token):
                self._at_line_start = token == EOS_ID
                break

    @property
    def is_incomplete(self) -> bool:
        """Whether the text so far ends in an incomplete character, which is not returned yet."""
        return bool(self._decoder.getstate()[0])

    def push(self, token: int) -> str:
        """Add a token and return the text that it completes; empty while a character is incomplete."""
        piece = self._tokenizer.piece(token)
        if piece:
            if self._at_line_start:
                piece = piece.removeprefix(b" ")
            # Only EOS begins a line. A line feed of a byte piece is inside a line; a space after it is kept.
            self._at_line_start = token == EOS_ID
        return self._decoder.decode(piece)

    def flush(self) -> str:
        """End the stream and return the rest: U+FFFD for an incomplete character, or nothing."""
        return self._decoder.decode(b"", final=True)
