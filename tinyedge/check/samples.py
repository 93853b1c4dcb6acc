"""What a bundle writes, and whether that is coherent, as far as a machine can tell.

In: a loaded bundle, and the training text where it is there. Out: samples and a line. Coherent is here:
nothing unreadable, no loop, varied pairs of words, texts that come to an end, words that exist. That is the
least one may ask; whether it makes sense is for who reads the samples, so they are printed.
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

NAME = "sample generation produces coherent text"
MAX_TOKENS = 128  # a sentence of a novel has some 30
ROUNDS = 2  # samples a prompt: 16 in all
WORD = re.compile(r"[^\W\d_]+")

# Measured at the defaults of `generate` (docs/check.md): a model trained on novels has 0.92, 100 % and 97 %;
# one that draws its tokens at random never ends, and 80 % of what it writes are words.
LOOP_WORDS, LOOP_TURNS = 6, 2  # words that were there before, and how often over: "no, no, no" is no loop
MIN_DISTINCT = 0.5  # of pairs of words, the share that came once
MIN_ENDED = 0.5  # of samples
MIN_KNOWN = 0.9  # of words, those that are in the training text


@dataclass(frozen=True)
class GeneratedText:
    """One text. Prompt and continuation stand together as they are."""

    prompt: str
    text: str
    finish_reason: str
    seed: int

    @property
    def words(self) -> list[str]:
        """Of the continuation, in lower case; a word that the prompt began is whole."""
        before = len(WORD.findall(self.prompt))
        if self.prompt[-1:].isalpha() and self.text[:1].isalpha():
            before -= 1
        return WORD.findall((self.prompt + self.text).lower())[before:]


def generate_samples(generator: Generator, content_filter: ContentFilter | None) -> list[GeneratedText]:
    """As `tinyedge generate` would, with fixed seeds: the same bundle writes the same."""
    samples = []
    for seed in range(ROUNDS):
        for prompt in PROMPTS.values():
            found = generator.generate(
                prompt,
                max_tokens=MAX_TOKENS,
                sampling=SamplingConfig(seed=seed),
                content_filter=content_filter,
            )
            samples.append(GeneratedText(prompt, found.text, found.finish_reason, seed))
    return samples


def check_samples(samples: Sequence[GeneratedText], corpus: Path | None) -> ChecklistItem:
    """Ticked where nothing is wrong. corpus: the training text, if it is there."""
    words = [sample.words for sample in samples]
    pairs = [pair for each in words for pair in itertools.pairwise(each)]
    distinct = len(set(pairs)) / len(pairs) if pairs else 0.0
    ended = sum(sample.finish_reason == "stop" for sample in samples) / len(samples)
    unreadable = sum(UNKNOWN_TEXT in sample.text for sample in samples)
    loops = sum(map(has_loop, words))
    found = (
        f"{len(samples)} samples, {unreadable} unreadable, {loops} with loops,"
        f" {100 * distinct:.0f} % distinct word pairs, {100 * ended:.0f} % came to an end"
    )
    ok = not unreadable and not loops and distinct >= MIN_DISTINCT and ended >= MIN_ENDED
    if corpus is not None:
        known = known_word_share([word for each in words for word in each], corpus)
        found += f", {100 * known:.1f} % of the words are in the training text"
        ok = ok and known >= MIN_KNOWN
    return make_item(VALIDATION, NAME, ok, found)


def has_loop(words: Sequence[str]) -> bool:
    """Whether some words are followed by themselves, over and over."""
    for period in range(1, len(words) // 2 + 1):
        run = 0
        for before, word in zip(words, words[period:], strict=False):
            run = run + 1 if word == before else 0
            if run >= max(LOOP_WORDS, LOOP_TURNS * period):
                return True
    return False


def known_word_share(words: Sequence[str], corpus: Path) -> float:
    """The share of `words` that stand in a text file; 0 where there are none."""
    unknown = set(words)
    for line in _lines(corpus):
        unknown.difference_update(WORD.findall(line.lower()))
        if not unknown:
            break
    return sum(word not in unknown for word in words) / len(words) if words else 0.0


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from file
