"""The names of a home, and the prompt that a model of home commands is asked with.

In: a `home.json` and a sentence. Out: the prompt, with only those names that the sentence mentions, so that a
home may have any number of devices. Training, evaluation and the device all write the prompt with this
module. Does not know models or templates; imports nothing but the standard library.

A prompt is `light=Bedroom Lamp; area=Kitchen; turn off the bedroom lamp`: each name with its kind, in the
order in which the sentence mentions them, then the sentence. The model copies names from there.
"""

import functools
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyedge.core.errors import UsageError

MAX_MENTIONS = 8  # names in a prompt; more are never needed, and each costs about 5 tokens
AREA, FLOOR, DEVICE = "area", "floor", "device"  # kinds; a device of a known domain has its domain as kind
MAX_NAME = 100  # characters
MAX_WORDS = 100  # of a sentence: the first ones are searched for names, so that no sentence takes seconds
DOMAINS = (
    *("light", "switch", "fan", "cover", "lock", "climate", "media_player", "sensor", "binary_sensor"),
    *("vacuum", "lawn_mower", "valve", "weather", "input_boolean", "person", "todo", "scene", "script"),
)
HINT = "docs/tasks.md has an example"
_SEPARATORS = re.compile(r"[;=\s]+")  # what separates names in a prompt does not occur in one
_MENTION = re.compile(rf"({'|'.join((AREA, FLOOR, DEVICE, *DOMAINS))})=([^;]*); ")
_WORD = re.compile(r"[^\W_]+")
# Words that a name may have and a sentence may drop: "Lámpara de la mesilla", "lámpara mesilla".
_OPTIONAL = frozenset(
    ("the", "of", "in", "my", "de", "del", "la", "el", "los", "las", "un", "una", "en", "mi")
)
_FUZZY_LENGTH, _VERY_FUZZY_LENGTH = 5, 8  # letters of a word from which one or two wrong letters are forgiven


@dataclass(frozen=True, slots=True)
class Mention:
    """A name of the home that a sentence mentions."""

    kind: str
    """`area`, `floor`, or a device's domain; `device` for one without a domain, or of one not in DOMAINS."""
    name: str
    """The name as the home writes it."""

    def has_word(self, word: str) -> bool:
        """Whether a word of a sentence is one of the name's, as `Home.find_mentions` compares them."""
        parts = split_words(word)
        return any(_is_same(name_word, part) for name_word in _name_words(self.name) for part in parts)


@dataclass(frozen=True)
class Home:
    """The names of a home."""

    devices: tuple[tuple[str, str], ...] = ()
    """Name and domain of each device, such as ("Bedroom Lamp", "light"); the domain may be empty."""
    areas: tuple[str, ...] = ()
    """Names of rooms and other areas."""
    floors: tuple[str, ...] = ()
    """Names of floors."""
    _index: tuple[tuple[Mention, tuple[str, ...]], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        mentions = [Mention(FLOOR, name) for name in self.floors]
        mentions += [Mention(AREA, name) for name in self.areas]
        mentions += [Mention(domain if domain in DOMAINS else DEVICE, name) for name, domain in self.devices]
        index = ((mention, _name_words(mention.name)) for mention in dict.fromkeys(mentions))
        object.__setattr__(self, "_index", tuple((mention, words) for mention, words in index if words))

    def find_mentions(self, sentence: str) -> list[Mention]:
        """Return the names that a sentence mentions, in the order in which it does.

        A name is mentioned if each of its words occurs; a wrong letter after the first, a missing accent and
        other capitals do not matter. Where names overlap, the longest counts: "the kitchen lamp" is the
        device "Kitchen Lamp", and not the room. Words of a name that stand apart count if other names do not
        have them all. Of a sentence with more than MAX_WORDS words, the first ones are searched.
        """
        words = split_words(sentence)[:MAX_WORDS]
        by_letter: dict[str, list[int]] = {}  # a name's word, wrong letters or not, has the first one
        for place, word in enumerate(words):
            by_letter.setdefault(word[0], []).append(place)
        whole: list[tuple[int, int, range, Mention]] = []
        apart: list[tuple[int, set[int], Mention]] = []
        for number, (mention, name_words) in enumerate(self._index):
            letters = sum(map(len, name_words))
            starts = by_letter.get(name_words[0][0], ())
            spans = [span for start in starts if (span := _find_span(name_words, words, start))]
            whole += [(-letters, number, span, mention) for span in spans]
            if not spans and len(name_words) > 1:
                places: set[int] = set()
                for word in name_words:
                    found_at = _find_word(word, words, by_letter.get(word[0], ()))
                    if found_at is None or found_at in places:
                        break
                    places.add(found_at)
                else:
                    apart.append((-letters, places, mention))
        taken: dict[int, range] = {}
        found: dict[Mention, int] = {}
        for _, _, span, mention in sorted(whole, key=lambda entry: entry[:2]):
            if all(taken.get(place, span) == span for place in span):
                taken |= dict.fromkeys(span, span)
                found[mention] = min(span.start, found.get(mention, span.start))
        for _, places, mention in sorted(apart, key=lambda entry: entry[0]):
            if not places <= taken.keys():
                found.setdefault(mention, min(places))
        return sorted([*found][:MAX_MENTIONS], key=lambda mention: found[mention])


def format_prompt(home: Home, sentence: str) -> str:
    """Return the prompt for a sentence: the names of the home that it mentions, then the sentence.

    All is in NFC, as tokenizers see it. In a name, semicolons, equals signs and white space become one space.
    """
    mentions = [
        f"{mention.kind}={_SEPARATORS.sub(' ', unicodedata.normalize('NFC', mention.name)).strip()}; "
        for mention in home.find_mentions(sentence)
    ]
    words = unicodedata.normalize("NFC", sentence).replace(";", ",").split()  # NFC makes more semicolons
    return "".join(mentions) + " ".join(words)


def split_prompt(prompt: str) -> tuple[list[Mention], str]:
    """Return the names and the sentence of a prompt: the inverse of `format_prompt`."""
    mentions: list[Mention] = []
    while found := _MENTION.match(prompt):
        mentions.append(Mention(found[1], found[2]))
        prompt = prompt[found.end() :]
    return mentions, prompt


def load_home(path: Path) -> Home:
    """Read a `home.json`: `{"devices": [{"name": ..., "domain": ...}], "areas": [...], "floors": [...]}`.

    Raises:
        UsageError: The file is missing or is not such a file; the message names the field.
    """
    try:
        value = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=_refuse_duplicates)
    except OSError as failure:
        hint = "pass the file with the names of your devices"
        raise UsageError(f"home {path} cannot be read: {failure.strerror}", hint, ("home",)) from None
    except UnicodeDecodeError:
        raise UsageError(f"home {path} is not UTF-8", "save it as UTF-8", ("home",)) from None
    except ValueError as failure:
        raise UsageError(f"home {path} is not JSON: {failure}", HINT, ("home",)) from None
    except RecursionError:
        raise UsageError(f"home {path} is nested too deeply", HINT, ("home",)) from None
    return parse_home(value, f"home {path}")


def parse_home(value: Any, name: str) -> Home:
    """Read the content of a `home.json`.

    Raises:
        UsageError: A field is wrong; the message names it.
    """
    _require_fields(value, ("devices", "areas", "floors"), name)
    devices = _read_list(value, "devices", name)
    for number, device in enumerate(devices):
        where = f"{name}: devices[{number}]"
        _require_fields(device, ("name", "domain"), where)
        _require_name(device.get("name"), f"{where}.name")
        domain = device.get("domain") or ""  # null: not known
        if domain and domain not in DOMAINS:
            known = f"leave it out, or choose one of: {', '.join(DOMAINS)}"
            raise UsageError(f"{where}.domain is {domain!r}, which no model knows", known, ("home",))
    areas, floors = (_read_list(value, key, name) for key in ("areas", "floors"))
    for key, names in (("areas", areas), ("floors", floors)):
        for number, one in enumerate(names):
            _require_name(one, f"{name}: {key}[{number}]")
    return Home(
        tuple((device["name"], device.get("domain") or "") for device in devices), tuple(areas), tuple(floors)
    )


def split_words(text: str) -> list[str]:
    """Return the words of a text in small letters, without accents and punctuation."""
    return _WORD.findall(_fold(text))


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the field {key!r} appears twice")
        found[key] = value
    return found


def _require_fields(value: object, known: Sequence[str], where: str) -> None:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where} is not an object", HINT, ("home",))
    if unknown := sorted(set(value) - {*known}):
        raise UsageError(
            f"{where} has the unknown field {unknown[0]!r}", f"known: {', '.join(known)}", ("home",)
        )


def _read_list(value: Mapping[str, Any], key: str, name: str) -> list[Any]:
    found = value.get(key, [])
    if not isinstance(found, list):
        raise UsageError(f"{name}: {key} is not a list", HINT, ("home",))
    return found


def _require_name(value: object, where: str) -> None:
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > MAX_NAME:
        expected = f"a name is a text of 1 to {MAX_NAME} printable characters"
        raise UsageError(f"{where} is no name", expected, ("home",))


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _name_words(name: str) -> tuple[str, ...]:
    """Return the words of a name that a sentence must have to mention it."""
    words = tuple(split_words(name))
    return tuple(word for word in words if word not in _OPTIONAL) or words


def _find_span(name_words: Sequence[str], words: Sequence[str], start: int) -> range | None:
    """Return the places of a name whose words follow each other from `start` on, little words aside."""
    place = start
    for number, word in enumerate(name_words):
        while number and place < len(words) and words[place] in _OPTIONAL and words[place] != word:
            place += 1
        if place == len(words) or not _is_same(word, words[place]):
            return None
        place += 1
    return range(start, place)


def _find_word(word: str, words: Sequence[str], places: Sequence[int]) -> int | None:
    """Return the one of some places that has a word, or else one that is spelled almost like it."""
    for place in places:
        if words[place] == word:
            return place
    return next((place for place in places if _is_same(word, words[place])), None)


def _is_same(word: str, other: str) -> bool:
    """Whether a word of a sentence is a name's word, perhaps with a wrong letter after the first."""
    if word == other:
        return True
    if len(word) < _FUZZY_LENGTH or word[0] != other[0]:
        return False
    if other in (f"{word}s", f"{word}es") or word in (f"{other}s", f"{other}es"):
        return False  # "the kitchen lights" are all of them, and not the device "Kitchen Light"
    allowed = 2 if len(word) >= _VERY_FUZZY_LENGTH else 1
    if abs(len(other) - len(word)) > allowed or len({*word} ^ {*other}) > 2 * allowed:
        return False  # most words: one wrong letter changes two of the letters that a word has
    return _is_close(word, other, allowed)


@functools.lru_cache(maxsize=4096)
def _is_close(left: str, right: str, allowed: int) -> bool:
    """Whether two words differ by at most `allowed` letters: wrong, missing, extra, or two swapped."""
    too_many = allowed + 1
    before: list[int] = []
    row = [min(j, too_many) for j in range(len(right) + 1)]
    for i, a in enumerate(left, 1):
        new = [too_many] * len(row)
        new[0] = min(i, too_many)
        first, last = max(1, i - allowed), min(len(right), i + allowed)  # elsewhere, too many are missing
        for j in range(first, last + 1):
            b = right[j - 1]
            cost = min(row[j] + 1, new[j - 1] + 1, row[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            new[j] = cost
        if min(new[first - 1 : last + 1]) > allowed:
            return False
        before, row = row, new
    return row[-1] <= allowed
