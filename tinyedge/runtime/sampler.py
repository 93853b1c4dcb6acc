"""Selection of the tokens of one text: its settings, its random stream, and the tokens it has so far.

In: logits, all or a few of them, and a SamplingConfig. Out: token ids. Knows no model and no tokenizer. The
usual settings need only the largest logits (`top_k`), others all of them (`full_sampling`, with numpy).
"""

import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from tinyedge.core.arrays import Logits
from tinyedge.core.errors import UsageError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime.top_k import select_top_k


class Sampler:
    """Selects the tokens of one text; keeps the state of the random stream and the counts of its tokens."""

    def __init__(self, config: SamplingConfig, vocab_size: int) -> None:
        """Create a sampler for one text.

        Raises:
            UsageError: `config.logit_bias` names a token that is not in the vocabulary.
        """
        for token in config.logit_bias:
            if type(token) is not int or not 0 <= token < vocab_size:
                raise UsageError(
                    f"logit_bias: {token!r} is not a token id, 0-{vocab_size - 1}", parameters=("logit_bias",)
                )
        self.config = config
        self.vocab_size = vocab_size
        self._random = random.Random(config.seed)  # importing numpy.random would slow down every start
        self._counts: Counter[int] = Counter()  # of each token in the text so far
        self._keeps_counts = config.candidates == 0

    def count_candidates(self, banned_count: int) -> int:
        """Return the number of largest logits that suffice, banned ones among them; 0 if all are needed."""
        count = self.config.candidates + banned_count
        return count if self.config.candidates and count < self.vocab_size else 0

    def count_tokens(self, tokens: Iterable[int]) -> None:
        """Add tokens to the text so far, to which the penalties apply."""
        if self._keeps_counts:
            self._counts.update(tokens)

    def next_point(self) -> float:
        """Return the point of the next draw, in [0, 1); a greedy selection draws nothing."""
        return 0.0 if self.config.greedy else self._random.random()

    def sample(self, logits: Logits, banned_ids: Collection[int] = ()) -> int:
        """Select the next token and add it to the text so far.

        Args:
            logits: (V,); not modified.
            banned_ids: Tokens that must not be selected.
        """
        from tinyedge.runtime.full_sampling import select_token  # needs numpy

        token = select_token(logits, self.config, self._counts, self.next_point(), banned_ids)
        self.count_tokens((token,))
        return token

    def sample_among(self, allowed: Mapping[int, float], banned_ids: Collection[int] = ()) -> int:
        """Select the next token among a few, as `sample` does if no other token is possible.

        Args:
            allowed: Logits by token.
            banned_ids: Tokens that must not be selected.
        """
        if 0 < self.config.candidates < self.vocab_size:
            ids = sorted(allowed, key=lambda token: (-allowed[token], token))
            values = [allowed[token] for token in ids]
            return select_top_k(ids, values, self.config, self.next_point(), banned_ids)
        from tinyedge.runtime.full_sampling import spread

        return self.sample(spread(allowed, self.vocab_size), banned_ids)
