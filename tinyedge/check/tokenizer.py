"""Whether the bundle's tokenizer can read and write the text that the model is for.

In: a loaded bundle, and text. Out: a checklist item. Loading has compared the tokenizer's hash, size and
special ids with the manifest. This proves that it is the right file, but not that it fits the text: a
vocabulary for another alphabet encodes every word as UNK, and a tokenizer that normalizes its input does not
decode to the original text.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyedge.check.item import ARTIFACTS, ChecklistItem, make_item
from tinyedge.check.prompts import select_builtin_prompts
from tinyedge.check.quality import TextSample
from tinyedge.text.evaluate import MAX_UNKNOWN_SHARE
from tinyedge.text.tokenizer import UNK_ID, UNKNOWN_TEXT, WORD_BOUNDARY, Tokenizer

NAME = "the tokenizer is compatible with the model"
PROMPTS_NAME = "the built-in prompts"
MAX_QUOTED = 40  # characters of a line that failed


@dataclass(frozen=True)
class RoundTrip:
    """A text that was encoded and decoded."""

    name: str
    """Name of the text."""
    lines: int
    """Lines without UNK, which are compared with what was decoded."""
    unknown_share: float
    """Bytes behind UNK, as a share of all bytes of the text. A run of unknown characters is one UNK token."""
    changed: tuple[str, ...]
    """Lines without UNK that were decoded to other text."""

    @property
    def fault(self) -> str | None:
        """Why the tokenizer does not fit the text, or None."""
        if self.unknown_share > MAX_UNKNOWN_SHARE:
            return (
                f"{100 * self.unknown_share:.2f}% of the bytes of {self.name} are UNK,"
                f" limit {100 * MAX_UNKNOWN_SHARE:g}%"
            )
        if self.changed:
            return (
                f"{len(self.changed)} of {self.lines} lines of {self.name} change when they are encoded and"
                f" decoded, the first is {self.changed[0][:MAX_QUOTED]!a}"
            )
        return None


def check_tokenizer(
    manifest: Mapping[str, Any], tokenizer: Tokenizer, texts: Sequence[TextSample]
) -> ChecklistItem:
    """Encode and decode the text that is here, and the built-in prompts that are in the model's languages.

    Args:
        manifest: The bundle's.
        tokenizer: The bundle's.
        texts: Held-out text, or none.

    Returns:
        An item that fails where a text has too many bytes behind UNK or does not survive the round trip.
    """
    found = [measure_round_trip(text.name, text.lines, tokenizer) for text in texts]
    if prompts := select_builtin_prompts(manifest):
        found.insert(0, measure_round_trip(PROMPTS_NAME, prompts, tokenizer))
    faults = [trip.fault for trip in found if trip.fault]
    if faults:
        return make_item(ARTIFACTS, NAME, False, "; ".join(faults))
    described = manifest["tokenizer"]
    ids = ", ".join(
        f"{name.removesuffix('_id').upper()} {number}"
        for name, number in described.items()
        if name.endswith("_id")
    )
    unknown = ", ".join(f"{100 * trip.unknown_share:.2f}% of {trip.name}" for trip in found)
    tried = (
        f"{sum(trip.lines for trip in found)} lines without UNK do not change when they are"
        f" encoded and decoded; bytes behind UNK: {unknown}"
        if found
        else "not tried, there is no text in its languages here (pass --text NAME=FILE)"
    )
    return make_item(
        ARTIFACTS,
        NAME,
        True,
        f"sha256 {described['sha256'][:12]}..., {described['vocab_size']:,} pieces as the model, {ids};"
        f" {tried}",
    )


def measure_round_trip(name: str, lines: Iterable[str], tokenizer: Tokenizer) -> RoundTrip:
    """Encode and decode each line."""
    compared = size = unknown = 0
    changed = []
    for line in lines:
        encoded = tokenizer.encode(line)
        size += len(_normalize(line).encode()) + 1  # with its line break, as in `text.evaluate`
        if UNK_ID in encoded:
            unknown += tokenizer.count_unknown_bytes(line)
        else:
            compared += 1
            if tokenizer.decode(encoded) != _normalize(line):
                changed.append(line)
    return RoundTrip(name, compared, unknown / size if size else 0.0, tuple(changed))


def _normalize(line: str) -> str:
    """The text that a tokenizer keeps: NFC, words separated by single spaces, no lone surrogates."""
    text = re.sub("[\ud800-\udfff]", UNKNOWN_TEXT, line)
    return re.sub(f"[ {WORD_BOUNDARY}]+", " ", unicodedata.normalize("NFC", text)).strip(" ")
