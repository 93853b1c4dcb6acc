"""Prompts of a given length, for measurements."""

from tinyedge.core.errors import BenchError
from tinyedge.text.tokenizer import Tokenizer


def make_prompt(tokenizer: Tokenizer, tokens: int) -> str:
    """Make a text of exactly `tokens` tokens.

    Each word is one piece of the vocabulary, so that every runtime splits the text into the same tokens.

    Raises:
        BenchError: The vocabulary has too few such words.
    """
    words: list[str] = []
    for token in range(tokenizer.vocab_size):
        word = tokenizer.decode([token]).strip()
        if (
            word.isascii()
            and word.isalpha()
            and len(tokenizer.encode(" ".join([*words, word]))) == len(words) + 1
        ):
            words.append(word)
            if len(words) == tokens:
                return " ".join(words)
    raise BenchError(f"the vocabulary lacks {tokens} words of one piece", "pass another --bundle")
