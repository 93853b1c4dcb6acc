"""Search for the pieces of a vocabulary that begin with a text.

In: the bytes of a SentencePiece model. Out: token ids. SentencePiece has no such search, and asking it for
each piece takes longer than computing many tokens. Its model lists the pieces in plain text.
"""

import numpy as np

from tinyedge.core.arrays import IndexArray

LINE_FEED, SCORE = 0x0A, 0x15  # tags of a piece and its entry, and of its score, in the model
LENGTHS_OF_OTHERS = (7, 9)  # bytes of an entry besides its piece: a score, for a special piece also its type
HEAD_BYTES = 6  # compared for all pieces at once; the rest is compared for the few that are left


class PieceIndex:
    """The pieces of a model, by their text.

    The model begins with an entry for each piece, in the order of the ids: a line feed and the length of the
    rest, a line feed and the length of the piece, the piece, its score. If a model has another form, no piece
    is found.
    """

    def __init__(self, model: bytes, vocab_size: int) -> None:
        self._content = content = np.frombuffer(model + bytes(HEAD_BYTES), dtype=np.uint8)
        entries = np.flatnonzero((content[:-4] == LINE_FEED) & (content[2:-2] == LINE_FEED))
        lengths = content[entries + 3].astype(np.intp)
        others = content[entries + 1] - lengths
        is_entry = (others == LENGTHS_OF_OTHERS[0]) | (others == LENGTHS_OF_OTHERS[1])
        is_entry &= content[np.minimum(entries + 4 + lengths, len(content) - 1)] == SCORE
        if np.count_nonzero(is_entry) != vocab_size:
            is_entry[:] = False
        self._starts: IndexArray = entries[is_entry] + 4
        self._lengths: IndexArray = lengths[is_entry]
        self._heads = content[self._starts + np.arange(HEAD_BYTES)[:, None]]  # (HEAD_BYTES, V)

    def find_longer(self, start: bytes) -> IndexArray:
        """Find the pieces that begin with `start` and continue with a letter or digit.

        A character that is not ASCII counts as a letter: in a trained vocabulary, no piece has other
        characters after a letter.
        """
        matches = self._lengths > len(start)
        for index, byte in enumerate(start[:HEAD_BYTES]):
            matches &= self._heads[index] == byte
        ids: IndexArray = np.flatnonzero(matches)
        for index, byte in enumerate(start[HEAD_BYTES:], HEAD_BYTES):
            ids = ids[self._content[self._starts[ids] + index] == byte]
        following = self._content[self._starts[ids] + len(start)]
        lower = following | 0x20
        is_letter = ((lower >= ord("a")) & (lower <= ord("z"))) | (following >= 0x80)
        return ids[is_letter | ((following >= ord("0")) & (following <= ord("9")))]
