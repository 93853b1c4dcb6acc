"""Token healing: the first token after a prompt that ends with a word, which may be unfinished.

In: the prompt's tokens and a decoder. Out: the first token, which may replace the prompt's last tokens. Does
not know stop strings or the terminal.

A prompt is segmented as if its text ended there. "My sis" becomes "My" and "s", "is", pieces after which
training never placed "ter", because "sister" is one piece. And a model that has learned a suffix continues
"Mi hermana" with a piece that belongs inside another word. So the last tokens are backed up: any piece that
begins with their text may stand in their place. A piece that makes the word longer is only allowed where the
tokenizer would place it.

First it is decided whether the word is finished, from probabilities and without a random draw. Then the
ordinary sampler chooses among the tokens that this allows, with one draw or two.
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tinyedge.core.arrays import Logits
from tinyedge.runtime.decoder import Decoder
from tinyedge.runtime.sampler import Sampler
from tinyedge.text.tokenizer import UNK_ID, Tokenizer

MAX_BACKED_UP = 4  # tokens; each costs one step, except after a piece that is surely a finished word
MAX_WORD_TOKENS = 16  # of a longer word, only the end is segmented again
CANDIDATES = 64  # most likely tokens that are examined first; enough for the default top_k of 40
MIN_WEIGHT = 1e-3  # a token that makes the word longer is not examined below this share of the highest
# People type words that the model does not know, to which it gives almost no probability: each letter of such
# a word is one of about twenty. Without this bound, a Spanish model made "friend" longer in 100 of 100 texts.
P_UNKNOWN_LETTER = 0.05
# Probability of its end from which a word of one piece is finished. It saves the steps that look back.
SURE_END = 0.5
# Prompts mostly end with finished words. Measured on held-out text (docs/decisions.md).
FINISHED_PRIOR = 100.0


class FirstToken(NamedTuple):
    """The first token of a continuation."""

    token: int
    """Token id."""
    replaced: int
    """Number of tokens at the prompt's end that it replaces; their text is the beginning of its text."""
    logits: "Logits | None"
    """(V,) the model's logits that it was chosen from, if they were asked for."""


class LastWord:
    """The word with which a prompt ends.

    Args:
        tokenizer: The tokenizer.
        tokens: Tokens of the complete prompt.
        is_finished: Whether a space follows the word, so that it cannot become longer.
    """

    def __init__(self, tokenizer: Tokenizer, tokens: Sequence[int], is_finished: bool) -> None:
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._is_finished = is_finished
        self._word: list[int] = []
        for token in reversed(tokens[-MAX_WORD_TOKENS:]):
            if token <= UNK_ID:
                break
            self._word.insert(0, token)
            if tokenizer.piece(token).startswith(b" "):
                break

    def sample_next(
        self,
        decoder: Decoder,
        start: int,
        sampler: Sampler,
        banned_ids: Collection[int],
        keep_logits: bool = False,
    ) -> FirstToken:
        """Read the prompt and select the token that follows it.

        Args:
            decoder: Reads the complete prompt, even if its last tokens are then replaced.
            start: Index of the first token that the model sees.
            sampler: Selects the token, and counts the tokens of the text.
            banned_ids: Tokens that must not be selected.
            keep_logits: Whether the result has the logits.
        """
        decoder.restart(self._tokens[start:])
        following = self._classify(decoder, CANDIDATES, banned_ids)
        p_end = following.probability_of_end
        following = self._extend(decoder, following, sampler.config.candidates, banned_ids)
        logits = decoder.logits().copy() if keep_logits else None  # the next calls overwrite them
        # Most prompts end with one piece, after which a word ends. They need no search for longer pieces.
        if self._is_finished or (len(self._word) == 1 and p_end >= SURE_END):
            sampler.count_tokens(self._tokens)
            return FirstToken(sampler.sample_among(following.ends, banned_ids), 0, logits)

        split, longer = self._back_up(start)
        typed = self._tokens[split:]
        sampler.count_tokens(self._tokens[:split])
        longer_odds = 0.0  # probability of a longer piece, relative to that of the typed tokens
        if longer:
            decoder.recompute(split - start, self._tokens[split - 1])
            logits_before = decoder.logits().copy() if keep_logits else None
            (typed_logit, *longer_logits), total = decoder.score([typed[0], *longer])
            rest_logprob = 0.0  # of the typed tokens after the first
            for index, token in enumerate(typed[1:], split):
                decoder.recompute(index + 1 - start, self._tokens[index])
                (logit,), its_total = decoder.score([token])
                rest_logprob += logit - its_total
            p_typed = math.exp(typed_logit - total + rest_logprob)
            letters = len(self._tokenizer.decode(typed).strip())
            p_longer = sum(math.exp(logit - total) for logit in longer_logits)
            longer_odds = p_longer / max(p_typed, P_UNKNOWN_LETTER**letters)
        may_grow = FINISHED_PRIOR * p_end < 1 - p_end + longer_odds
        if may_grow and longer:
            choices = dict(zip(longer, longer_logits, strict=True))
            choices[typed[0]] = typed_logit + rest_logprob  # stands for all typed tokens
            chosen = sampler.sample_among(choices)
            if chosen != typed[0]:
                return FirstToken(chosen, len(typed), logits_before)
            sampler.count_tokens(typed[1:])
        else:
            sampler.count_tokens(typed)
        allowed = following.ends | following.suffixes if may_grow else following.ends
        return FirstToken(sampler.sample_among(allowed, banned_ids), 0, logits)

    def _back_up(self, start: int) -> tuple[int, list[int]]:
        """Find the pieces that can replace the last tokens, as many tokens as one piece can replace.

        Args:
            start: Index of the first token that the model sees; it is not replaced.

        Returns:
            Index of the first token to replace, and the pieces; the number of tokens if there is none.
        """
        for count in range(min(MAX_BACKED_UP, len(self._word)), 0, -1):
            longer = self._tokenizer.find_longer_pieces(self._word[-count:])
            if longer:
                split = len(self._tokens) - count
                if split <= start:  # the word fills the window
                    break
                return split, longer
        return len(self._tokens), []

    def _classify(self, decoder: Decoder, count: int, banned_ids: Collection[int]) -> "_Following":
        """Examine the `count` most likely tokens after the prompt."""
        ids, logits = decoder.largest(min(count, decoder.config.vocab_size))
        text = self._tokenizer.decode(self._word)
        continues_word, is_last_token_of = self._tokenizer.continues_word, self._tokenizer.is_last_token_of
        ends, suffixes = {}, {}
        p_ends = p_suffixes = 0.0
        for token, logit in zip(ids, logits, strict=True):
            if token in banned_ids:
                continue
            weight = math.exp(logit - logits[0])
            if not continues_word(token):
                ends[token] = logit
                p_ends += weight
            elif weight >= MIN_WEIGHT and not self._is_finished and is_last_token_of(token, text):
                suffixes[token] = logit
                p_suffixes += weight
        return _Following(len(ids), ends, suffixes, p_ends / (p_ends + p_suffixes) if suffixes else 1.0)

    def _extend(
        self, decoder: Decoder, following: "_Following", needed: int, banned_ids: Collection[int]
    ) -> "_Following":
        """Examine more tokens after the prompt, until `needed` of them end the word; 0 is all."""
        size = decoder.config.vocab_size
        while (len(following.ends) < needed or not needed) and following.examined < size:
            count = 4 * following.examined if needed else size
            following = self._classify(decoder, count, banned_ids)
        return following


class _Following(NamedTuple):
    """The most likely tokens after a word, without those that may not follow."""

    examined: int
    """Number of most likely tokens that were examined."""
    ends: dict[int, float]
    """Tokens that end the word, with their logits."""
    suffixes: dict[int, float]
    """Tokens that make the word longer and that the tokenizer would place there, with their logits."""
    probability_of_end: float
    """Probability of `ends` among both."""
