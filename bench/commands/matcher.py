"""hassil's own matcher, as Home Assistant uses it.

In: templates, a home's names and a sentence. Out: an intent and its slots.
"""

from typing import TYPE_CHECKING, Any

from tinyedge.corpus.commands.answer import UNKNOWN, Command
from tinyedge.corpus.commands.home import Home
from tinyedge.corpus.commands.templates import TemplateSet

if TYPE_CHECKING:
    from hassil.intents import SlotList


class Matcher:
    """The matcher for one language and one home."""

    def __init__(self, templates: TemplateSet, language: str, home: Home) -> None:
        from hassil.intents import Intents, TextSlotList

        intents: dict[str, Any] = {}
        for combination in templates.combinations:
            if combination.language == language:
                data = intents.setdefault(combination.intent, {"data": []})["data"]
                for template in combination.templates:
                    block: dict[str, Any] = {"sentences": [template.source], "slots": dict(template.slots)}
                    block["metadata"] = {"domain": template.domain}
                    if template.name_domains:
                        block["requires_context"] = {"domain": list(template.name_domains)}
                    data.append(block)
        self._intents = Intents.from_dict(
            {
                "language": language,
                "intents": intents,
                "lists": dict(templates.lists[language]),
                "expansion_rules": dict(templates.rules[language]),
                "skip_words": list(templates.skip_words.get(language, ())),
            }
        )
        self._lists: dict[str, SlotList] = {
            "name": TextSlotList.from_tuples(
                [(name, name, {"domain": domain}) for name, domain in home.devices], name="name"
            ),
            "area": TextSlotList.from_strings(list(home.areas), name="area"),
            "floor": TextSlotList.from_strings(list(home.floors), name="floor"),
        }

    def answer(self, sentence: str) -> Command:
        """Return the best match, or unknown."""
        from hassil.recognize import recognize_best

        found = recognize_best(sentence, self._intents, slot_lists=self._lists, best_slot_name="name")
        if found is None:
            return Command(UNKNOWN)
        slots = {name: _clean(entity.value) for name, entity in found.entities.items()}
        return Command(found.intent.name, slots, (found.intent_metadata or {}).get("domain", ""))


def _clean(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value.strip() if isinstance(value, str) else value
