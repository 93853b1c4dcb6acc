"""Whether the content filter works with this bundle: its list, its tokenizer, its answers.

In: the filter's list, the bundle's tokenizer, generated text. Out: an item of the list. Does not know what a
text means: docs/filter.md describes what a list of words can do.
"""

from collections.abc import Sequence

from tinyedge.check.item import CODE, ChecklistItem, make_item
from tinyedge.check.samples import GeneratedText
from tinyedge.core.errors import FilterError
from tinyedge.runtime.content_filter import STAR, ContentFilter
from tinyedge.text.tokenizer import TextStream, Tokenizer

NAME = "safety filter enabled"
# Share of the listed words that the vocabulary has to be able to write. Below it, the model's language has
# another alphabet, and the list does not apply to its answers.
MIN_WRITABLE_SHARE = 0.5


def load_filter() -> tuple[ContentFilter | None, str]:
    """Load the list that `generate` and `serve` use; None and the reason where it cannot be used."""
    try:
        return ContentFilter.load(), ""
    except FilterError as failure:
        return None, failure.message


def check_filter(
    content_filter: ContentFilter | None,
    reason: str,
    tokenizer: Tokenizer,
    samples: Sequence[GeneratedText],
) -> ChecklistItem:
    """Check that the filter stops the words on its list as this model would write them.

    Args:
        content_filter: The list that `generate` and `serve` use; None where it cannot be used.
        reason: Why it cannot be used.
        tokenizer: The bundle's. Each listed word is encoded with it and passed to the filter token by token.
        samples: What the model wrote with the filter on.

    Returns:
        An item that fails where there is no usable list, where a listed word that the vocabulary can write
        is not stopped or shown in part, where the vocabulary can write fewer than MIN_WRITABLE_SHARE of the
        list, and where a sample contains a listed word.
    """
    if content_filter is None:
        return make_item(CODE, NAME, False, f"there is no usable list: {reason}")
    words = [pattern.replace(STAR, "") for pattern in content_filter.patterns]
    writable = [word for word in words if tokenizer.decode(tokenizer.encode(word)) == word]
    missed = [word for word in writable if _stream(content_filter, tokenizer, word) != ("", True)]
    shown = sum(_contains_listed_word(content_filter, sample) for sample in samples)
    ended = sum(sample.finish_reason == "content_filter" for sample in samples)
    found = (
        f"on by default in generate and serve; stops {len(writable) - len(missed)} of the {len(writable)}"
        f" listed words and phrases that the vocabulary can write; it ended {ended} of {len(samples)} samples"
    )
    faults = []
    if missed:
        faults.append(f"{len(missed)} listed words are not stopped")
    if len(writable) < MIN_WRITABLE_SHARE * len(words):
        faults.append(
            f"the vocabulary cannot write {len(words) - len(writable)} of the {len(words)} listed words"
        )
    if shown:
        faults.append(f"{shown} samples contain a listed word")
    return make_item(CODE, NAME, not faults, "; ".join([*faults, found]))


def _stream(content_filter: ContentFilter, tokenizer: Tokenizer, word: str) -> tuple[str, bool]:
    """Return what is shown of a word that arrives token by token, and whether the text was stopped."""
    text, matcher = TextStream(tokenizer), content_filter.watch()
    shown = "".join(matcher.push(text.push(token)) for token in tokenizer.encode(word))
    shown += matcher.push(text.flush()) + matcher.flush()
    return shown, matcher.stopped


def _contains_listed_word(content_filter: ContentFilter, sample: GeneratedText) -> bool:
    """Whether the continuation of a sample has a listed word."""
    matcher = content_filter.watch(sample.prompt)
    matcher.push(sample.text)
    matcher.flush()
    return matcher.stopped
