"""Samples of what a bundle writes, and a check for loops and broken text.

In: a loaded bundle, and the training text if it is available. Out: samples and a checklist item. It
measures: nothing unreadable, no loop, varied word pairs, texts that end, words that exist. This is a minimum:
only a reader can decide whether a text makes sense, so samples are printed.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyedge.bench.prompts import PROMPTS
from tinyedge.check.item import VALIDATION, ChecklistItem, make_item
from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime.content_filter import ContentFilter
from tinyedge.runtime.generator import Generator
from tinyedge.text.tokenizer import UNKNOWN_TEXT
from tinyedge.text.turns import encode_turns

NAME = "samples have no loops or broken characters"
MAX_TOKENS = 128  # a sentence of a novel has about 30
SAMPLES = 16
WORD = re.compile(r"[^\W\d_]+")

# Measured with the defaults of `generate` (docs/check.md): a model trained on novels has 0.92, 100% and 97%.
# For comparison, a model that draws tokens at random never ends a text, and 80% of the words it writes exist.
LOOP_WORDS, LOOP_REPEATS = 6, 2  # least words and repetitions of a loop; "no, no, no" is not one
MIN_DISTINCT = 0.5  # distinct word pairs, as a share of all word pairs
MIN_ENDED = 0.5  # samples that ended by themselves, as a share of all samples
MIN_KNOWN = 0.9  # words that are in the training text, as a share of all words


@dataclass(frozen=True)
class GeneratedText:
    """One sample."""

    prompt: str
    """The beginning of the text."""
    text: str
    """The continuation, to be appended to the prompt as it is."""
    finish_reason: str
    """"stop", "length" or "content_filter"."""
    seed: int
    """Random seed of the sampler."""

    @property
    def words(self) -> list[str]:
        """Words of the continuation in lower case; a word that begins in the prompt is complete."""
        before = len(WORD.findall(self.prompt))
        if self.prompt[-1:].isalpha() and self.text[:1].isalpha():
            before -= 1
        return WORD.findall((self.prompt + self.text).lower())[before:]


def generate_samples(
    generator: Generator,
    content_filter: ContentFilter | None,
    prompts: Sequence[str] = tuple(PROMPTS.values()),
) -> list[GeneratedText]:
    """Generate SAMPLES texts as `tinyedge generate` does, with fixed seeds.

    Args:
        generator: The model.
        content_filter: The filter that `generate` uses.
        prompts: Prompts, used in turn; each round has another seed.
    """
    samples = []
    for number in range(SAMPLES):
        seed, prompt = divmod(number, len(prompts))
        text = prompts[prompt]
        found = generator.generate(
            encode_turns(generator.tokenizer, [text]) if generator.bundle.template else text,
            max_tokens=MAX_TOKENS,
            sampling=SamplingConfig(seed=seed),
            content_filter=content_filter,
        )
        samples.append(GeneratedText(text, found.text, found.finish_reason, seed))
    return samples


def check_samples(samples: Sequence[GeneratedText], corpus: Path | None, source: str = "") -> ChecklistItem:
    """Check that the samples have no loops, nothing unreadable, and varied words that exist.

    Args:
        samples: What the model wrote.
        corpus: The training text, or None where it is not available.
        source: Where the prompts come from, for the result.
    """
    words = [sample.words for sample in samples]
    pairs = [pair for each in words for pair in itertools.pairwise(each)]
    distinct = len(set(pairs)) / len(pairs) if pairs else 0.0
    ended = sum(sample.finish_reason == "stop" for sample in samples) / len(samples)
    unreadable = sum(UNKNOWN_TEXT in sample.text for sample in samples)
    loops = sum(map(has_loop, words))
    found = (
        f"{len(samples)} samples{source and f' of {source}'}, {unreadable} unreadable and {loops} with loops"
        f" (limit 0), {100 * distinct:.0f}% distinct word pairs (at least {100 * MIN_DISTINCT:.0f}%),"
        f" {100 * ended:.0f}% ended by themselves (at least {100 * MIN_ENDED:.0f}%)"
    )
    ok = not unreadable and not loops and distinct >= MIN_DISTINCT and ended >= MIN_ENDED
    if corpus is not None:
        known = known_word_share([word for each in words for word in each], corpus)
        found += (
            f", {100 * known:.1f}% of the words are in the training text (at least {100 * MIN_KNOWN:.0f}%)"
        )
        ok = ok and known >= MIN_KNOWN
    return make_item(VALIDATION, NAME, ok, found)


def has_loop(words: Sequence[str]) -> bool:
    """Whether a sequence of words is repeated several times in a row."""
    for period in range(1, len(words) // 2 + 1):
        run = 0
        for before, word in zip(words, words[period:], strict=False):
            run = run + 1 if word == before else 0
            if run >= max(LOOP_WORDS, LOOP_REPEATS * period):
                return True
    return False


def known_word_share(words: Sequence[str], corpus: Path) -> float:
    """Share of `words` that occur in a text file; 0 if there are no words."""
    unknown = set(words)
    for line in _read_lines(corpus):
        unknown.difference_update(WORD.findall(line.lower()))
        if not unknown:
            break
    return sum(word not in unknown for word in words) / len(words) if words else 0.0


def _read_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from file
