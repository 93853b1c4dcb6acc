"""Selection of tokens for an answer in a form: as if all other tokens had no probability.

Tokens that the form does not allow are removed before top-k, top-p and all else. A mask of the vocabulary is
not needed for that. Where few tokens may follow, as inside the literal parts of JSON, these are listed and
only their logits are asked for; where exactly one may, the model is not asked at all. Elsewhere, the most
likely tokens are examined until enough of them are allowed. Both give the same token.
"""

from collections import OrderedDict
from collections.abc import Mapping

from tinyedge.forms.form import Form
from tinyedge.forms.matcher import FormText, Matcher
from tinyedge.forms.vocabulary import Vocabulary
from tinyedge.runtime.decoder import Decoder
from tinyedge.runtime.sampler import Sampler
from tinyedge.text.tokenizer import Tokenizer

KEPT_FORMS = 8
MAX_KEPT_STATES = 5000  # of a form that is kept: about 5 MB
GREEDY_CANDIDATES = 8  # after its training, a model's most likely tokens are nearly always allowed


class FormMatchers:
    """The forms that a tokenizer was last used with."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._vocabulary = Vocabulary(tokenizer)
        self._kept: OrderedDict[Form, Matcher] = OrderedDict()

    def prepare(self, form: Form) -> Matcher:
        """Return the matcher of a form.

        Raises:
            UsageError: The tokenizer cannot spell the form.
        """
        matcher = self._kept.pop(form, None)
        if matcher is None or matcher.automaton.size > MAX_KEPT_STATES:
            matcher = Matcher(form.build(), self._vocabulary, form.parameter)
        self._kept[form] = matcher
        while len(self._kept) > KEPT_FORMS:
            self._kept.popitem(last=False)
        return matcher


def sample_in_form(text: FormText, decoder: Decoder, sampler: Sampler) -> int:
    """Select the next token, and add it to the text in the form."""
    token = _select(text, decoder, sampler)
    text.push(token)
    return token


def _select(text: FormText, decoder: Decoder, sampler: Sampler) -> int:
    few = text.list_few()
    if few is not None and len(few) == 1:
        sampler.count_tokens(few)
        return few[0]
    needed, size = sampler.config.candidates, sampler.vocab_size
    if not 0 < needed < size:
        logits = decoder.logits()
        return sampler.sample_among({token: float(logits[token]) for token in text.list_all()})
    if few is None or sampler.config.greedy:
        count = min(size, max(GREEDY_CANDIDATES, 2 * needed))
        while True:
            allowed = _find_allowed(text, decoder, count, needed)
            if len(allowed) == needed or count == size:
                return sampler.sample_among(allowed)
            if few is not None:
                break
            count = min(size, 8 * count)
    logits_of_few, _ = decoder.score(few)
    return sampler.sample_among(dict(zip(few, logits_of_few, strict=True)))


def _find_allowed(text: FormText, decoder: Decoder, count: int, needed: int) -> Mapping[int, float]:
    """Return up to `needed` allowed tokens, with their logits, among the `count` most likely ones."""
    found: dict[int, float] = {}
    for token, logit in zip(*decoder.largest(count), strict=True):
        if text.allows(token):
            found[token] = logit
            if len(found) == needed:
                break
    return found
