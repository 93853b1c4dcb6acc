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

import numpy as np

from tinyedge.core.arrays import IndexArray, Logits, log_softmax
from tinyedge.runtime.sampler import Sampler, find_largest
from tinyedge.runtime.session import Decoder
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
    logits: Logits
    """(V,) the model's logits that it was chosen from."""


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
        self, decoder: Decoder, start: int, sampler: Sampler, banned_ids: Collection[int]
    ) -> FirstToken:
        """Read the prompt and select the token that follows it.

        Args:
            decoder: Reads the complete prompt, even if its last tokens are then replaced.
            start: Index of the first token that the model sees.
            sampler: Selects the token, and counts the tokens of the text.
            banned_ids: Tokens that must not be selected.
        """
        logits = decoder.prefill(self._tokens[start:])
        following = self._classify(logits, CANDIDATES, banned_ids)
        p_end = following.probability_of_end
        # Most prompts end with one piece, after which a word ends. They need no search for longer pieces.
        if self._is_finished or (len(self._word) == 1 and p_end >= SURE_END):
            sampler.count_tokens(self._tokens)
            return FirstToken(self._sample(logits, following, False, sampler, banned_ids), 0, logits)

        split, longer = self._back_up(start)
        typed = self._tokens[split:]
        sampler.count_tokens(self._tokens[:split])
        longer_odds = 0.0  # probability of a longer piece, relative to that of the typed tokens
        if len(longer):
            logits = logits.copy()  # the decoder's own array, which the next calls overwrite
            before = decoder.recompute(split - start, self._tokens[split - 1]).copy()
            logprobs_before = log_softmax(before)
            rest_logprob = 0.0  # of the typed tokens after the first
            for index, token in enumerate(typed[1:], split):
                seen = decoder.recompute(index + 1 - start, self._tokens[index])
                rest_logprob += float(log_softmax(seen)[token])
            p_typed = math.exp(float(logprobs_before[typed[0]]) + rest_logprob)
            letters = len(self._tokenizer.decode(typed).strip())
            longer_odds = float(np.exp(logprobs_before[longer]).sum()) / max(
                p_typed, P_UNKNOWN_LETTER**letters
            )
        may_grow = FINISHED_PRIOR * p_end < 1 - p_end + longer_odds
        if may_grow and len(longer):
            choices = np.full_like(before, -np.inf)
            choices[longer] = before[longer]
            choices[typed[0]] = before[typed[0]] + rest_logprob  # stands for all typed tokens
            chosen = sampler.sample(choices)
            if chosen != typed[0]:
                return FirstToken(chosen, len(typed), before)
            sampler.count_tokens(typed[1:])
        else:
            sampler.count_tokens(typed)
        return FirstToken(self._sample(logits, following, may_grow, sampler, banned_ids), 0, logits)

    def _back_up(self, start: int) -> tuple[int, IndexArray]:
        """Find the pieces that can replace the last tokens, as many tokens as one piece can replace.

        Args:
            start: Index of the first token that the model sees; it is not replaced.

        Returns:
            Index of the first token to replace, and the pieces; the number of tokens if there is none.
        """
        for count in range(min(MAX_BACKED_UP, len(self._word)), 0, -1):
            longer = self._tokenizer.find_longer_pieces(self._word[-count:])
            if len(longer):
                split = len(self._tokens) - count
                if split <= start:  # the word fills the window
                    break
                return split, longer
        return len(self._tokens), np.zeros(0, dtype=np.intp)

    def _classify(self, logits: Logits, count: int, banned_ids: Collection[int]) -> "_Following":
        """Examine the `count` most likely tokens after the prompt."""
        ids = find_largest(logits, min(count, len(logits)))
        values = logits[ids]
        text = self._tokenizer.decode(self._word)
        continues_word, is_last_token_of = self._tokenizer.continues_word, self._tokenizer.is_last_token_of
        ends, suffixes = [], []
        p_ends = p_suffixes = 0.0
        for token, weight in zip(ids.tolist(), np.exp(values - values[0]).tolist(), strict=True):
            if token in banned_ids:
                continue
            if not continues_word(token):
                ends.append(token)
                p_ends += weight
            elif weight >= MIN_WEIGHT and not self._is_finished and is_last_token_of(token, text):
                suffixes.append(token)
                p_suffixes += weight
        return _Following(len(ids), ends, suffixes, p_ends / (p_ends + p_suffixes) if suffixes else 1.0)

    def _sample(
        self,
        logits: Logits,
        following: "_Following",
        may_grow: bool,
        sampler: Sampler,
        banned_ids: Collection[int],
    ) -> int:
        """Select a token that ends the word, or one that the tokenizer would place there."""
        needed = sampler.config.candidates  # 0: all
        while len(following.ends) < needed or not needed:
            if following.examined == len(logits):
                break
            count = 4 * following.examined if needed else len(logits)
            following = self._classify(logits, count, banned_ids)
        allowed = following.ends
        if may_grow and following.suffixes:
            allowed = sorted(allowed + following.suffixes, key=lambda token: (-logits[token], token))
        if needed and len(allowed) >= needed:
            return sampler.sample_top_k(logits[allowed], np.array(allowed), banned_ids)
        choices = np.full_like(logits, -np.inf)
        choices[allowed] = logits[allowed]
        return sampler.sample(choices, banned_ids)


class _Following(NamedTuple):
    """The most likely tokens after a word, without those that may not follow."""

    examined: int
    """Number of most likely tokens that were examined."""
    ends: list[int]
    """Tokens that end the word, most likely first."""
    suffixes: list[int]
    """Tokens that make the word longer and that the tokenizer would place there."""
    probability_of_end: float
    """Probability of `ends` among both."""
