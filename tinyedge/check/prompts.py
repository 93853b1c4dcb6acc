"""Prompts in the languages and the manner of the model's own text.

In: texts, if there are any, and the manifest. Out: prompts and a description of their source.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyedge.bench.prompts import PROMPTS
from tinyedge.check.quality import TextSample
from tinyedge.text.openings import choose_openings

MAX_PROMPTS = 8


@dataclass(frozen=True)
class SamplePrompts:
    """Prompts to continue."""

    prompts: tuple[str, ...]
    """The prompts; at least one."""
    source: str
    """Where they come from, as in "16 samples of openings of en, es"."""


def choose_sample_prompts(texts: Sequence[TextSample], manifest: Mapping[str, Any]) -> SamplePrompts:
    """Choose prompts from texts, or else the manifest's, or else built-in ones in the model's languages.

    Without all of them, the only prompt is empty, so that each sample begins with the model's own words.
    """
    chosen = texts[:MAX_PROMPTS]
    openings = [
        opening
        for text in chosen
        for opening in choose_openings(text.lines, MAX_PROMPTS // len(chosen), text.name)
    ]
    if openings:
        return SamplePrompts(tuple(openings), f"openings of {', '.join(text.name for text in chosen)}")
    if listed := manifest.get("openings"):
        # One of each text in turn, so that all have a share of the first MAX_PROMPTS.
        mixed = [text for row in itertools.zip_longest(*listed.values()) for text in row if text]
        return SamplePrompts(tuple(mixed[:MAX_PROMPTS]), f"the bundle's openings of {', '.join(listed)}")
    if prompts := select_builtin_prompts(manifest):
        return SamplePrompts(tuple(prompts), "the built-in prompts (no text here)")
    return SamplePrompts(("",), "the model's own beginnings (no text here)")


def select_builtin_prompts(manifest: Mapping[str, Any]) -> list[str]:
    """Return the built-in prompts in the languages that the manifest has quality figures of; all if none."""
    languages = manifest.get("quality")
    return [
        prompt for name, prompt in PROMPTS.items() if not languages or name.partition("-")[0] in languages
    ]
