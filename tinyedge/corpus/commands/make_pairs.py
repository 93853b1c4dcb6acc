"""Make pairs of a prompt and an answer from templates: each with a random home of its own.

In: templates, and a seed. Out: pairs in any number. Since every pair has other names, a model learns to copy
names from the prompt and not the names. Requests that are no commands, and commands for what the home
does not have, are answered with `unknown`. Does not know files.
"""

import itertools
import random
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import as_file, files

from tinyedge.corpus.commands.answer import UNKNOWN, Command, Value
from tinyedge.corpus.commands.expand import Draw, Expansion, expand
from tinyedge.corpus.commands.home import DOMAINS, Home, format_prompt, split_words
from tinyedge.corpus.commands.names import NameSource
from tinyedge.corpus.commands.noise import add_noise
from tinyedge.corpus.commands.templates import LANGUAGES, Combination, Template, TemplateSet, read_folder

UNKNOWN_SHARE = 0.26  # of pairs that are answered with `unknown`
NOISY_SHARE = 0.5  # of training sentences that are changed
HELD_OUT_SHARE = 10  # one sentence of so many is held out
_ABSENT_SHARE = 0.4  # of the unknown: commands for a device or room that the home does not have
_TEXT_SHARE = 0.25  # of the unknown: sentences of ordinary text
_NO_DOMAIN_SHARE = 0.06  # of homes that do not tell the domains of their devices
_MAX_WORDS = 4000  # ordinary sentences whose words make names
_MAX_AREAS, _MAX_FLOORS, _MAX_DEVICES = 8, 3, 12
_ANY_DOMAIN = ("light", "switch", "fan", "cover", "media_player", "climate", "lock")
# Intents that mean nothing without the device or room that they name. The others have free text, which may be
# anything, also the name of something that the home lacks.
_NEEDS_NAMES = frozenset(
    (
        *("HassTurnOn", "HassTurnOff", "HassLightSet", "HassClimateGetTemperature", "HassSetVolume"),
        *("HassClimateSetTemperature", "HassFanSetSpeed", "HassSetPosition", "HassSetVolumeRelative"),
        *("HassMediaPause", "HassMediaUnpause", "HassMediaNext", "HassVacuumStart", "HassLawnMowerDock"),
        *("HassVacuumReturnToBase", "HassVacuumCleanArea"),
    )
)
_DELAYED = frozenset(  # commands that somebody wants later, "in five minutes"
    (
        *("HassTurnOn", "HassTurnOff", "HassLightSet", "HassSetPosition", "HassMediaPause", "HassSetVolume"),
        "HassVacuumStart",
    )
)
_TEXTS = {
    "message": "messages",
    "search_query": "queries",
    "timer_name": "timers",
    "shopping_list_item": "items",
    "todo_list_item": "items",
    "zone": "zones",
}


@dataclass(frozen=True, slots=True)
class CommandPair:
    """A sentence in a home, and the right answer."""

    language: str
    """`en` or `es`."""
    sentence: str
    """What somebody said."""
    command: Command
    """What it means."""
    prompt: str
    """What a model is asked."""


@cache
def load_unknown() -> TemplateSet:
    """Read the templates of requests that are no commands."""
    with as_file(files("tinyedge.corpus").joinpath("data/commands/unknown")) as folder:
        return read_folder(folder)


def make_pairs(
    templates: TemplateSet,
    count: int,
    seed: int,
    held_out: bool = False,
    texts: Sequence[tuple[str, str]] = (),
) -> Iterator[CommandPair]:
    """Make pairs; those with the same prompt have the same answer.

    Args:
        templates: Templates of the commands.
        count: Number of pairs.
        seed: Random seed.
        held_out: Whether to make pairs for evaluation: sentences that training never has, with names of words
            that training never has, without noise, and none that is unknown. They are of templates with a
            name or free text; the few sentences of the others are all trained.
        texts: Language and text of ordinary sentences; they are examples of what is no command, and lend
            their words to timers and songs.
    """
    return _PairMaker(templates, seed, held_out, texts).make(count)


@dataclass(slots=True)
class _PairMaker:
    templates: TemplateSet
    seed: int
    held_out: bool
    texts: Sequence[tuple[str, str]]
    rng: random.Random = field(init=False)
    spans: dict[str, list[list[str]]] = field(init=False)
    """Words of the ordinary sentences of each language."""
    words: dict[str, list[str]] = field(init=False)
    """Different words of ordinary sentences, and of the commands so far."""
    _known: set[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed} {self.held_out}")
        self.spans = {language: [] for language in LANGUAGES}
        for language, text in self.texts:
            self.spans[language].append("".join(c for c in text if c.isalnum() or c in " '").split())
        self.words = {language: [] for language in LANGUAGES}
        self._known: set[tuple[str, str]] = set()
        for language, spans in self.spans.items():
            self._learn_words(language, (word for words in spans[:_MAX_WORDS] for word in words))

    def _learn_words(self, language: str, words: Iterable[str]) -> None:
        """Add words to those that names are made of, each once, so that rare words are drawn as often."""
        for word in words:
            if (language, word) not in self._known:
                self._known.add((language, word))
                self.words[language].append(word)

    def make(self, count: int) -> Iterator[CommandPair]:
        combinations = self.templates.combinations
        weights = list(itertools.accumulate(_weigh(combinations)))
        seen: dict[str, str] = {}
        made = 0
        while made < count:
            unknown = not self.held_out and self.rng.random() < UNKNOWN_SHARE
            pair = self._make_unknown() if unknown else None
            if not unknown:
                (combination,) = self.rng.choices(combinations, cum_weights=weights)
                pair = self._make_known(combination)
            if pair is None:
                continue
            answer = pair.command.to_text()
            if seen.setdefault(pair.prompt.lower(), answer) != answer:
                continue  # a sentence that two templates cover has one answer
            made += 1
            yield pair

    def _make_known(self, combination: Combination) -> CommandPair | None:
        scene = _Scene(self, combination.language)
        template = self.rng.choice(combination.templates)
        drawn = scene.expand(template, self.templates)
        if (bool(scene.named or scene.copied) and _is_held_out(drawn.text)) != self.held_out:
            return None
        if not self.held_out:
            self._learn_words(combination.language, drawn.text.split())
        command = Command(combination.intent, drawn.slots, template.domain)
        sentence = scene.vary(drawn)
        may_lack = combination.intent in _NEEDS_NAMES and scene.named and not self.held_out
        if may_lack and self.rng.random() < UNKNOWN_SHARE * _ABSENT_SHARE:
            home = scene.home(without_named=True)
            is_absent = not home.find_mentions(sentence)
            return self._pair(scene, home, sentence, Command(UNKNOWN)) if is_absent else None
        home = scene.home()
        if not scene.is_clear(home, sentence):
            return None
        return self._pair(scene, home, sentence, command)

    def _make_unknown(self) -> CommandPair | None:
        language = self.rng.choice(("en", "es"))
        scene = _Scene(self, language)
        if self.texts and self.rng.random() < _TEXT_SHARE:
            language, sentence = self.rng.choice(self.texts)
            scene = _Scene(self, language)
            if self.rng.random() < 0.5:
                sentence = sentence.rstrip(".!?").lower()
        else:
            unknown = load_unknown()
            combination = self.rng.choice(
                [entry for entry in unknown.combinations if entry.language == language]
            )
            sentence = scene.vary(scene.expand(self.rng.choice(combination.templates), unknown))
        return self._pair(scene, scene.home(), sentence, Command(UNKNOWN))

    def _pair(self, scene: "_Scene", home: Home, sentence: str, command: Command) -> CommandPair:
        return CommandPair(scene.language, sentence, command, format_prompt(home, sentence))


class _Scene:
    """A random home, and a sentence that is said in it."""

    def __init__(self, maker: _PairMaker, language: str) -> None:
        self.language = language
        self.named: list[tuple[str, str]] = []  # kind and name of what the sentence names
        self.copied: list[str] = []  # texts of the sentence that an answer copies
        self._templates, self._rng, self._held_out = maker.templates, maker.rng, maker.held_out
        self._spans = maker.spans[language]
        self._names = NameSource(language, maker.rng, maker.held_out, maker.words[language])
        self._areas = [self._names.area() for _ in range(maker.rng.randint(1, _MAX_AREAS))]
        self._domains: Sequence[str] = ()
        self._place = ""

    def expand(self, template: Template, templates: TemplateSet) -> Expansion:
        """Draw a sentence of a template, with names for this home."""
        self._domains = template.name_domains or _ANY_DOMAIN
        draws: dict[str, Draw] = {"name": self._draw_name, "area": self._draw_area, "floor": self._draw_floor}
        draws |= dict.fromkeys(_TEXTS, self._draw_text)
        draws["timer_command"] = self._draw_command
        return expand(template, templates, self.language, self._rng, draws)

    def vary(self, drawn: Expansion) -> str:
        """Return the sentence, sometimes changed."""
        if self._held_out or self._rng.random() > NOISY_SHARE:
            return drawn.text
        return add_noise(drawn.text, self.language, self.copied, self._place, self._rng)

    def home(self, without_named: bool = False) -> Home:
        """Return the home: what the sentence names, and more."""
        rng, names = self._rng, self._names
        devices = [(name, kind) for kind, name in self.named if kind not in ("area", "floor")]
        areas = [name for kind, name in self.named if kind == "area"] + self._areas
        floors = [name for kind, name in self.named if kind == "floor"]
        floors += [names.floor() for _ in range(rng.randint(0, _MAX_FLOORS))]
        domains = rng.choices(DOMAINS, k=rng.randint(0, _MAX_DEVICES))
        domains = [domain for domain in domains if self.language == "en" or domain != "lawn_mower"]
        devices += [(names.device(domain, areas), domain) for domain in domains]
        if without_named:
            gone = {name for _, name in self.named}
            devices = [device for device in devices if device[0] not in gone]
            areas, floors = [[name for name in group if name not in gone] for group in (areas, floors)]
        if rng.random() < _NO_DOMAIN_SHARE:
            devices = [(name, "") for name, _ in devices]
        by_name = dict(reversed(devices))
        return Home(
            tuple((name, by_name[name]) for name in _unique(by_name)), _unique(areas), _unique(floors)
        )

    def is_clear(self, home: Home, sentence: str) -> bool:
        """Whether the sentence mentions what it should, and no longer name in its place."""
        return {name for _, name in self.named} <= {entry.name for entry in home.find_mentions(sentence)}

    def _say(self, name: str) -> str:
        return name if self._rng.random() < 0.35 else name.lower()

    def _draw_name(self, _: str) -> tuple[str, Value]:
        domain = self._rng.choice(self._domains)
        name = self._names.device(domain, self._areas)
        self.named.append((domain, name))
        return self._say(name), name

    def _draw_area(self, _: str) -> tuple[str, Value]:
        name = self._rng.choice(self._areas)
        self.named.append(("area", name))
        self._place = name
        return self._say(name), name

    def _draw_floor(self, _: str) -> tuple[str, Value]:
        name = self._names.floor()
        self.named.append(("floor", name))
        return self._say(name), name

    def _draw_text(self, kind: str) -> tuple[str, Value]:
        rng = self._rng
        choice = rng.random()
        if choice < 0.4:
            text = self._names.pick(_TEXTS[kind])
        elif choice < 0.46 or not self._spans:
            text = " ".join(self._names.invent() for _ in range(rng.randint(1, 2)))
        elif choice < 0.66:
            text = self._names.join_words(3)
        elif choice < 0.82:
            text = self._names.link_words()
        else:
            text = self._draw_span(4 if kind != "message" else 10)
        if kind == "search_query" and rng.random() < 0.4:
            text = text.title()
        elif rng.random() < 0.3:
            text = text.lower()
        self.copied.append(text)
        return text, text

    def _draw_span(self, longest: int) -> str:
        """Return some words of an ordinary sentence in this language."""
        for _ in range(20 if self._spans else 0):
            words = self._rng.choice(self._spans)
            start = self._rng.randrange(len(words))
            span = words[start : start + self._rng.randint(1, longest)]
            if len(span[0]) > 3 and len(span[-1]) > 3:  # it begins and ends with a word of some meaning
                return " ".join(span).lower()
        return self._names.invent()

    def _draw_command(self, _: str) -> tuple[str, Value]:
        options = [
            entry
            for entry in self._templates.combinations
            if entry.language == self.language and entry.intent in _DELAYED
        ]
        if options and self._rng.random() < 0.7:
            template = self._rng.choice(self._rng.choice(options).templates)
            text = self.expand(template, self._templates).text
            self.named.clear()  # they are part of the text, and need not be in the home
        else:
            text = self._draw_span(5)
        self.copied.append(text)
        return text, text


def _weigh(combinations: Sequence[Combination]) -> list[float]:
    """Return how often each is drawn: many templates count more, but no intent takes nearly everything."""
    sizes = [len(entry.templates) ** 0.5 for entry in combinations]
    totals: defaultdict[tuple[str, str], float] = defaultdict(float)
    for entry, size in zip(combinations, sizes, strict=True):
        totals[entry.language, entry.intent] += size
    return [
        size * totals[entry.language, entry.intent] ** -0.4
        for entry, size in zip(combinations, sizes, strict=True)
    ]


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    """Drop names that another has already, in other capitals or not."""
    return tuple({name.lower(): name for name in reversed([*names])}.values())[::-1]


def _is_held_out(sentence: str) -> bool:
    return zlib.crc32(" ".join(split_words(sentence)).encode()) % HELD_OUT_SHARE == 0
