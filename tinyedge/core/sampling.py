"""How the next token is chosen: the settings of the sampler, without the numpy that it computes with."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from tinyedge.core.errors import UsageError
from tinyedge.core.settings import check_settings, require_range, setting

# The limit of an answer, if the caller gives none.
DEFAULT_TOKENS = 64
COMMAND_TOKENS = 128  # of a home command: an intent with long names; the answer ends by itself
GREEDY_BELOW = 1e-5  # a lower temperature would overflow the division, and is greedy anyway


@dataclass(frozen=True)
class SamplingConfig:
    """Settings of the sampler.

    The steps apply to the logits in this order: bias, penalties, temperature, top_k, top_p, min_p.

    Raises:
        UsageError: A value has the wrong type or is outside its range; the message names the parameter.
    """

    temperature: float = setting(
        0.8,
        low=0,
        high=100,
        section="Sampling",
        help="Divide the logits by this: higher is more random, 0 is greedy.",
    )
    """Divisor of the logits; 0 selects the most likely token."""
    top_k: int = setting(
        40,
        low=0,
        high=(1 << 31) - 1,
        section="Sampling",
        help="Sample from this many most likely tokens; 0 is off.",
    )
    """Number of most likely tokens that remain; 0 is off."""
    top_p: float = setting(
        0.9,
        low=0,
        high=1,
        section="Sampling",
        help="Sample from the most likely tokens with this total probability; 1 is off.",
    )
    """The smallest set of most likely tokens with at least this probability remains; 1 is off."""
    min_p: float = setting(
        0.0,
        low=0,
        high=1,
        section="Sampling",
        help="Exclude tokens less likely than this times the most likely one; 0 is off.",
    )
    """Tokens remain whose probability is at least this share of the highest probability; 0 is off."""
    repetition_penalty: float = setting(
        1.0,
        low=0.01,
        high=100,
        section="Sampling",
        help="Above 1, tokens already in the text become less likely; 1 is off.",
    )
    """Positive logits of tokens in the text so far are divided by it, negative ones multiplied (CTRL, Keskar
    et al., 2019); 1 is off."""
    presence_penalty: float = setting(
        0.0,
        low=-100,
        high=100,
        flag=None,
        section="Sampling",
        help="Subtract this from the logits of tokens already in the text.",
    )
    """Subtracted from the logits of tokens in the text so far, as the OpenAI API defines it; 0 is off."""
    frequency_penalty: float = setting(
        0.0,
        low=-100,
        high=100,
        flag=None,
        section="Sampling",
        help="Subtract this for each time that a token is already in the text.",
    )
    """Subtracted once for each occurrence of a token in the text so far, as the OpenAI API defines it; 0 is
    off."""
    logit_bias: Mapping[int, float] = dataclasses.field(default_factory=dict)
    """Added to the logits of these tokens, by id; each from -100 to 100."""
    seed: int | None = setting(
        None,
        low=0,
        high=(1 << 63) - 1,
        none="random",
        section="Sampling",
        help="Random seed: the same seed gives the same text.",
    )
    """The same seed gives the same text; None draws a random one."""

    def __post_init__(self) -> None:
        check_settings(self)
        if not isinstance(self.logit_bias, Mapping):
            raise UsageError(
                f"logit_bias {self.logit_bias!r} is not a mapping of token ids to numbers",
                parameters=("logit_bias",),
            )
        for bias in self.logit_bias.values():
            require_range("logit_bias", bias, -100, 100)

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is selected, without a random draw."""
        return self.temperature < GREEDY_BELOW

    @property
    def candidates(self) -> int:
        """Number of largest logits that suffice to choose from; 0 where all of them are needed."""
        if self._changes_logits:
            return 0
        return 1 if self.greedy else self.top_k

    @property
    def _changes_logits(self) -> bool:
        penalties = (self.repetition_penalty - 1, self.presence_penalty, self.frequency_penalty)
        return any(penalties) or bool(self.logit_bias)
