"""Compare answers with what they must be, and count.

A name is right in capitals or small letters. A slot may have several right values. The domain that a sentence
implies counts where the expected slots list it.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyedge.corpus.commands.answer import UNKNOWN, Command
from tinyedge.corpus.commands.home import Home, parse_home

# Domains of the devices that an intent is for, where it is for one kind only.
INTENT_DOMAINS = {
    "HassLightSet": "light",
    "HassFanSetSpeed": "fan",
    "HassGetWeather": "weather",
    **dict.fromkeys(("HassClimateSetTemperature", "HassClimateGetTemperature"), "climate"),
    **dict.fromkeys(("HassListAddItem", "HassListCompleteItem", "HassListRemoveItem"), "todo"),
    **dict.fromkeys(("HassVacuumStart", "HassVacuumReturnToBase", "HassVacuumCleanArea"), "vacuum"),
    **dict.fromkeys(("HassLawnMowerDock", "HassLawnMowerStartMowing"), "lawn_mower"),
    **dict.fromkeys(("HassSetVolume", "HassSetVolumeRelative", "HassMediaSearchAndPlay"), "media_player"),
    **dict.fromkeys(("HassMediaPause", "HassMediaUnpause", "HassMediaNext"), "media_player"),
    **dict.fromkeys(("HassMediaPrevious", "HassMediaPlayerMute", "HassMediaPlayerUnmute"), "media_player"),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A sentence with what it must give."""

    language: str
    sentence: str
    intent: str
    slots: Mapping[str, Any]
    prompt: str = ""
    """What a model is asked; empty where it is made from a home."""


@dataclass(slots=True)
class Score:
    """Counts of one set in one language, and what went wrong."""

    n: int = 0
    intent: int = 0
    exact: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return shares and failures."""
        return {
            "n": self.n,
            "intent": round(self.intent / self.n, 4),
            "exact": round(self.exact / self.n, 4),
            "failures": self.failures,
        }


def read_cases(path: Path) -> list[Case]:
    """Read lines such as Home Assistant's test sentences: language, sentence, intent, slots."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    return [
        Case(row["language"], row["sentence"], row["intent"], row["slots"], row.get("prompt", ""))
        for row in rows
    ]


def read_sentences(path: Path, language: str) -> list[Case]:
    """Read sentences that are no commands, one a line."""
    return [
        Case(language, line, UNKNOWN, {}) for line in path.read_text("utf-8").splitlines() if line.strip()
    ]


def read_homes(path: Path) -> dict[str, Home]:
    """Read a home for each language."""
    value = json.loads(path.read_text("utf-8"))
    return {language: parse_home(home, f"{path}: {language}") for language, home in value.items()}


def complete_homes(homes: Mapping[str, Home], cases: Iterable[Case]) -> dict[str, Home]:
    """Add the names that sentences must give and a home lacks: a test's home has what its sentences name.

    A device's domain is that of an intent which has only one; otherwise it stays unknown.
    """
    completed = dict(homes)
    for case in cases:
        home = completed[case.language]
        names = {slot: _first(case.slots[slot]) for slot in ("name", "area", "floor") if slot in case.slots}
        if "Timer" in case.intent:
            names.pop("name", None)  # a timer's name is free text
        known = {name.casefold() for name in (*dict(home.devices), *home.areas, *home.floors)}
        for slot, name in names.items():
            if name.casefold() in known:
                continue
            devices, areas, floors = home.devices, home.areas, home.floors
            if slot == "name":
                devices = (*devices, (name, INTENT_DOMAINS.get(case.intent, "")))
            elif slot == "area":
                areas = (*areas, name)
            else:
                floors = (*floors, name)
            home = Home(devices, areas, floors)
        completed[case.language] = home
    return completed


def judge(cases: Iterable[Case], ask: Callable[[Case], tuple[Command | None, str]]) -> dict[str, Score]:
    """Ask for an answer to each case.

    Args:
        cases: The cases.
        ask: Returns an answer, None if it is not valid, and its text.

    Returns:
        The scores of each language.
    """
    scores: dict[str, Score] = {}
    for case in cases:
        answer, text = ask(case)
        score = scores.setdefault(case.language, Score())
        score.n += 1
        right_intent = answer is not None and answer.intent == case.intent
        exact = answer is not None and right_intent and has_slots(answer.slots, case.slots)
        score.intent += right_intent
        score.exact += exact
        if not exact:
            expected = Command(case.intent, dict(case.slots)).to_text()
            score.failures.append({"sentence": case.sentence, "expected": expected, "answer": text})
    return scores


def has_slots(found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Whether slots are the expected ones, with no other."""
    return found.keys() == expected.keys() and all(_matches(found[name], expected[name]) for name in expected)


def _first(value: Any) -> str:
    return str(value[0] if isinstance(value, list) else value).strip()


def _matches(found: Any, expected: Any) -> bool:
    options: Sequence[Any] = expected if isinstance(expected, list) else [expected]
    return any(_fold(found) == _fold(option) for option in options)


def _fold(value: Any) -> Any:
    return value.strip().casefold() if isinstance(value, str) else float(value)
