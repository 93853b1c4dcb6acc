"""Prompts of a wanted length, for measuring."""

from tinyedge.core.errors import BenchError
from tinyedge.text.tokenizer import Tokenizer


def prompt_of(tokenizer: Tokenizer, tokens: int) -> str:
    """A text of exactly `tokens` tokens: words that are a piece each, so that every runtime cuts it alike.

    Raises BenchError where the vocabulary has too few of them.
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
