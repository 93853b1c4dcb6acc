"""The answer to a home command: an intent and its slots, as one line of JSON.

In: an intent with its slots, or the text that a model wrote. Out: that text, or the intent with its slots.
The text is a model's completion; its keys always stand in the same order. Does not know models.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

UNKNOWN = "unknown"  # the intent of a sentence that is no command, or names what the home does not have
# Where a slot stands in an answer: first what the home has, then what a command does with it.
SLOT_ORDER = (
    *("name", "area", "floor", "domain", "device_class", "state", "color", "brightness", "temperature"),
    *("percentage", "position", "volume_level", "volume_step", "hours", "minutes", "seconds"),
    *("start_hours", "start_minutes", "start_seconds", "media_class", "search_query", "item", "message"),
    "conversation_command",
)

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Command:
    """What a sentence asks for."""

    intent: str
    """Name of the intent in Home Assistant, such as `HassTurnOn`, or `unknown`."""
    slots: Mapping[str, Value] = field(default_factory=dict)
    """Values of the slots, as Home Assistant's test sentences list them."""
    domain: str = ""
    """Domain that the sentence implies, such as `light` for "the lights"; empty if it implies none. The text
    has it where the slots do not list it."""

    def to_text(self) -> str:
        """Return the answer as a model writes it."""
        value: dict[str, object] = {"intent": self.intent}
        if self.domain and "domain" not in self.slots:
            value["domain"] = self.domain
        known = {name: self.slots[name] for name in SLOT_ORDER if name in self.slots}
        value["slots"] = known | {name: self.slots[name] for name in sorted(self.slots) if name not in known}
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def to_call(self) -> tuple[str, dict[str, Value]]:
        """Return the intent and all that executes it: the slots, and the implied domain."""
        domain = {"domain": self.domain} if self.domain else {}
        return self.intent, domain | dict(self.slots)


def parse_answer(text: str) -> Command | None:
    """Return what a model answered; None if the text is no answer."""
    try:
        value = json.loads(text)
        intent, slots, domain = value["intent"], value["slots"], value.get("domain", "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if not (isinstance(intent, str) and isinstance(slots, dict) and isinstance(domain, str)):
        return None
    if not all(isinstance(entry, str | int | float) for entry in slots.values()):
        return None
    return Command(intent, slots, domain)
