"""The template `turns/1`: how prompts and completions become tokens.

A conversation is BOS prompt BOS completion EOS, and further turns go on in the same way: BOS prompt BOS
completion EOS. BOS also ends a prompt, because no text that a user types is encoded as it. So the template
needs no pieces of its own, and works with every vocabulary. White space in a turn, line breaks included, is
one space: a line break of a text is EOS, which ends an answer here.

In: texts. Out: tokens. Does not know numpy, so that a plain start of the device does not load it.
"""

from collections.abc import Sequence

from tinyedge.text.tokenizer import BOS_ID, EOS_ID, Tokenizer


def encode_turns(tokenizer: Tokenizer, turns: Sequence[str]) -> list[int]:
    """Encode a conversation.

    Args:
        tokenizer: The model's tokenizer.
        turns: Prompt, completion, prompt, completion, and so on; at least one.

    Returns:
        Token ids. They end with BOS after a prompt, which its completion follows, and with EOS after a
        completion.
    """
    tokens: list[int] = []
    for number, turn in enumerate(turns):
        tokens += [BOS_ID, *tokenizer.encode(normalize_turn(turn))]
        if number % 2:
            tokens.append(EOS_ID)
    return tokens if len(turns) % 2 == 0 else [*tokens, BOS_ID]


def normalize_turn(text: str) -> str:
    """Return a turn as the model sees it: in one line, without white space at its ends."""
    return " ".join(text.split())
