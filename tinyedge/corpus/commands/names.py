"""Draw names of a home's devices, rooms and floors, and free text such as timers and songs.

In: the word lists of data/commands/names.toml and a random stream. Out: names and texts. Some words are held
out: names for evaluation are made of words that no training name has. Does not know templates.
"""

import functools
import importlib.resources
import random
import tomllib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_HELD_OUT = 7  # one word of so many is held out
_INVENTED = 0.15  # share of names with a word that no language has
_ODD = 0.22  # share of names that no list has
_ONSETS = (
    *("b", "br", "c", "ch", "cl", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pl"),
    *("pr", "qu", "r", "s", "sh", "st", "t", "tr", "v", "w", "y", "z"),
)
_VOWELS = ["a", "e", "i", "o", "u", "ai", "ea", "io", "ou"]
_CODAS = ["", "", "", "n", "r", "l", "s", "m", "x", "nd", "rk"]


@functools.cache
def load_words() -> dict[str, Any]:
    """Read the word lists: for each language a list by its name, and `nouns` by domain."""
    data = importlib.resources.files("tinyedge.corpus").joinpath("data/commands/names.toml")
    loaded = tomllib.loads(data.read_text("utf-8"))
    return {
        language: {
            name: {domain: _split(words) for domain, words in value.items()}
            if name == "nouns"
            else _split(value)
            for name, value in lists.items()
        }
        for language, lists in loaded.items()
    }


@dataclass(frozen=True, slots=True)
class NameSource:
    """Draws names in one language."""

    language: str
    """`en` or `es`."""
    rng: random.Random
    """Random stream."""
    held_out: bool = False
    """Whether to draw from the words that are held out, instead of all others."""
    words: Sequence[str] = ()
    """Other words of the language, which names are made of too: a model must copy any word."""
    _cache: dict[str, Sequence[str]] = field(default_factory=dict, repr=False)

    def pick(self, name: str) -> str:
        """Draw an entry of a list, such as `rooms`."""
        entries = self._cache.get(name)
        if entries is None:
            lists: Mapping[str, Any] = load_words()[self.language]
            entries = lists["nouns"][name[6:]] if name.startswith("nouns.") else lists[name]
            kept = [entry for entry in entries if _is_held_out(entry) == self.held_out]
            entries = self._cache[name] = kept or entries
        chosen: str = self.rng.choice(entries)
        return chosen

    def invent(self) -> str:
        """Make up a word."""
        rng = self.rng
        syllables = (
            rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(rng.randint(1, 3))
        )
        return "".join(syllables)

    def join_words(self, longest: int) -> str:
        """Return some words at random, or a made-up word where there are none."""
        drawn = (
            [self.rng.choice(self.words) for _ in range(self.rng.randint(1, longest))] if self.words else []
        )
        return " ".join(word for word in drawn if len(word) > 2) or self.invent()

    def link_words(self) -> str:
        """Return two words at random with a little word between them, such as "of the"."""
        link: str = self.rng.choice(load_words()[self.language]["links"])
        return f"{self.join_words(1)} {link} {self.join_words(2)}"

    def area(self) -> str:
        """Draw the name of a room."""
        return self._write(self._odd_name() or self.pick("rooms"))

    def floor(self) -> str:
        """Draw the name of a floor."""
        return self._write(self._odd_name() or self.pick("floors"))

    def _odd_name(self) -> str:
        """Return, now and then, a name that no list has; otherwise nothing."""
        choice = self.rng.random()
        return self.invent() if choice < _INVENTED / 2 else self.join_words(2) if choice < _ODD else ""

    def device(self, domain: str, areas: Sequence[str]) -> str:
        """Draw the name of a device, sometimes with the name of one of the home's rooms."""
        plain = {"person": "people", "todo": "lists", "scene": "scenes", "script": "scripts"}.get(domain)
        if plain:
            name = self._odd_name() or self.pick(plain)
            return name if domain == "person" else self._write(name)
        noun = self.pick(f"nouns.{domain}")
        return self._write(self._compose(noun, areas))

    def _compose(self, noun: str, areas: Sequence[str]) -> str:
        rng = self.rng
        room = rng.choice(areas) if areas and rng.random() < 0.6 else self.pick("rooms")
        forms: list[tuple[float, Callable[[], str]]] = [
            (0.25, lambda: noun),
            (0.28, lambda: self._with_room(noun, room)),
            (0.2, lambda: self._with_quality(noun)),
            (
                0.08,
                lambda: (
                    f"{self.pick('owners')} {noun}"
                    if self.language == "en"
                    else f"{noun} {self.pick('owners')}"
                ),
            ),
            (0.06, lambda: f"{noun} {rng.randint(1, 12)}"),
            (0.2, lambda: self.join_words(2)),
            (_INVENTED / 2, self.invent),
            (
                _INVENTED / 2,
                lambda: f"{self.invent()} {noun}" if self.language == "en" else f"{noun} {self.invent()}",
            ),
        ]
        weights, makers = zip(*forms, strict=True)
        make: Callable[[], str] = rng.choices(makers, weights)[0]
        return make()

    def _with_room(self, noun: str, room: str) -> str:
        if self.language == "en":
            return f"{room} {noun}"
        return f"{noun} {self.rng.choice(['de la', 'del', 'de', '', ''])} {room}"

    def _with_quality(self, noun: str) -> str:
        quality = self.pick("qualities")
        if self.language == "en" and self.rng.random() > 0.2:
            return f"{quality} {noun}"
        return f"{noun} {quality}"

    def _write(self, name: str) -> str:
        """Write a name with capitals as people do: all words, the first, or none."""
        name = " ".join(name.split())
        style = self.rng.random()
        if style < 0.5:
            return " ".join(word[:1].upper() + word[1:] for word in name.split())
        return name[:1].upper() + name[1:] if style < 0.8 else name


def _split(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(","))


def _is_held_out(entry: str) -> bool:
    return zlib.crc32(entry.encode()) % _HELD_OUT == 0
