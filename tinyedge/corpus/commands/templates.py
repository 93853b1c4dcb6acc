"""Sentence templates of home commands, in the layout of Home Assistant's `intents` repository.

In: a folder, or the files of an archive: `sentences/LANGUAGE/INTENT/COMBINATION.yaml`,
`rules/LANGUAGE/*.yaml`, `lists/*.yaml`, `lists/LANGUAGE/*.yaml` and `intents.yaml`. Out: templates that
`expand` draws sentences from. Does not know homes. Needs the extra `commands`: hassil parses the templates,
PyYAML reads the files.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tinyedge.core.errors import CorpusError

LANGUAGES = ("en", "es")
MISSING_EXTRA_HINT = "pip install 'tinyedge-lm[commands]'"
# Lists that all languages share. A folder with the languages alone lacks them.
COMMON_LISTS: dict[str, dict[str, Any]] = {
    "temperature": {"range": {"from": 0, "to": 100, "fractions": "halves"}},
    "position": {"range": {"from": 0, "to": 100}},
    "fan_speed": {"range": {"from": 0, "to": 100}},
    "brightness": {"range": {"from": 0, "to": 100}},
    "color_temperature": {"range": {"from": 1000, "to": 10000, "step": 100}},
    "volume": {"range": {"from": 0, "to": 100}},
    "volume_step_up": {"range": {"from": 0, "to": 100}},
    "volume_step_down": {"range": {"from": 0, "to": 100, "multiplier": -1}},
    "timer_seconds": {"range": {"from": 1, "to": 100}},
    "timer_minutes": {"range": {"from": 1, "to": 100}},
    "timer_hours": {"range": {"from": 1, "to": 100}},
    **{
        name: {"wildcard": True}
        for name in (
            *("message", "zone", "search_query", "timer_name", "timer_command"),
            *("shopping_list_item", "todo_list_item"),
        )
    },
}
# Where test sentences of Home Assistant list the domain that a sentence implies among its slots; elsewhere
# only the template has it. `answer.Command.domain` has it everywhere.
_LISTED_DOMAIN = {
    ("en", "HassTurnOn"),
    ("en", "HassTurnOff"),
    ("en", "HassSetPosition"),
    ("es", "HassSetPosition"),
}

ReadFile = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Template:
    """One sentence template with what its sentences mean."""

    source: str
    """The template as it is written."""
    slots: Mapping[str, Any]
    """Slots that every sentence has."""
    domain: str
    """Domain that the sentences imply; empty if none."""
    name_domains: tuple[str, ...]
    """Domains of devices that `{name}` may stand for; empty if any."""


@dataclass(frozen=True, slots=True)
class Combination:
    """The templates of one intent with one set of slots."""

    language: str
    """`en` or `es`."""
    intent: str
    """Name of the intent."""
    name: str
    """Name of the set of slots, such as `area_domain`."""
    templates: tuple[Template, ...]
    """The templates, at least one."""


@dataclass(frozen=True)
class TemplateSet:
    """All templates, with the rules and lists that they refer to."""

    combinations: tuple[Combination, ...]
    """Sorted by language, intent and name."""
    rules: Mapping[str, Mapping[str, str]]
    """Expansion rules of each language, as YAML has them; `parse_template` parses them."""
    lists: Mapping[str, Mapping[str, Any]]
    """Lists of each language, as YAML has them."""
    skip_words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Words of each language that mean nothing in a command, such as "please"."""


def read_folder(folder: Path) -> TemplateSet:
    """Read the templates of a folder.

    Raises:
        CorpusError: The folder has no templates, a file is not valid, or the extra is missing.
    """
    if not (folder / "sentences").is_dir():
        raise CorpusError(
            f"{folder} has no folder `sentences`",
            "give a copy of github.com/OHF-Voice/intents, or one laid out like it",
        )
    names = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.yaml")))
    return parse_templates(
        {name: (folder / name).read_text("utf-8") for name in names if is_template_file(name)}, str(folder)
    )


def is_template_file(name: str) -> bool:
    """Whether a file, by its path in the repository, is one that `parse_templates` reads."""
    parts = name.split("/")
    if not name.endswith(".yaml") or parts[0] not in ("sentences", "rules", "lists", "intents.yaml"):
        return False
    return len(parts) <= 2 or parts[1] in LANGUAGES


def parse_templates(texts: Mapping[str, str], origin: str) -> TemplateSet:
    """Parse the files of a set of templates.

    Args:
        texts: Content of each file by its path.
        origin: Where they come from, for error messages.

    Raises:
        CorpusError: A file is not valid, there is no template, or the extra is missing.
    """
    try:
        import hassil  # noqa: F401
        import yaml
    except ImportError:
        raise CorpusError(
            "--source commands needs hassil, which is not installed", MISSING_EXTRA_HINT
        ) from None

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # C's is ten times as fast; wheels have it

    def load(name: str) -> Any:
        try:
            return yaml.load(texts[name], Loader=loader) or {}
        except yaml.YAMLError as failure:
            raise CorpusError(f"{origin}: {name} is not YAML: {failure}") from None

    schemas = load("intents.yaml") if "intents.yaml" in texts else {}
    rules: dict[str, dict[str, str]] = {language: {} for language in LANGUAGES}
    lists: dict[str, dict[str, Any]] = {language: dict(COMMON_LISTS) for language in LANGUAGES}
    skip_words: dict[str, tuple[str, ...]] = {}
    combinations = []
    for name in sorted(texts, key=lambda name: (name.count("/"), name)):  # shared lists first
        parts = name.removesuffix(".yaml").split("/")
        match parts:
            case ["lists", _]:
                for language in LANGUAGES:
                    lists[language].update(load(name).get("lists", {}))
            case ["lists", language, _]:
                lists[language].update(load(name).get("lists", {}))
            case ["rules", language, _]:
                for rule, text in load(name).get("expansion_rules", {}).items():
                    _require_template(text, f"{origin}: {name}")
                    rules[language][rule] = text
            case ["sentences", language, "_common"]:
                skip_words[language] = tuple(load(name).get("skip_words", ()))
            case ["sentences", language, intent, combination]:
                schema = (schemas.get(intent) or {}).get("slot_combinations", {}).get(combination) or {}
                found = tuple(_read_blocks(load(name), schema, language, intent, f"{origin}: {name}"))
                if found:
                    combinations.append(Combination(language, intent, combination, found))
    if not combinations:
        raise CorpusError(
            f"{origin} has no templates", "its `sentences` has a folder for each language: en, es"
        )
    return TemplateSet(tuple(combinations), rules, lists, skip_words)


def _read_blocks(
    value: Any, schema: Mapping[str, Any], language: str, intent: str, name: str
) -> Iterator[Template]:
    """Yield the templates of a file; blocks for another program, a subset of the others, are left out."""
    for block in value.get("data", ()):
        if block.get("speech_to_phrase") and len(value["data"]) > 1:
            continue
        domains = block.get("name_domains", ())
        if isinstance(domains, str):
            domains = schema.get("name_domain_groups", {}).get(domains, ())
        slots, domain = dict(block.get("slots", {})), block.get("inferred_domain", "")
        if domain and (language, intent) in _LISTED_DOMAIN:
            slots["domain"] = domain
        for source in block["sentences"]:
            _require_template(source, name)
            yield Template(source, slots, domain, tuple(domains))


@cache
def parse_template(text: str) -> Any:
    """Parse a template; the result is hassil's expression."""
    from hassil.parse_expression import parse_sentence

    return parse_sentence(text).expression


def _require_template(text: str, name: str) -> None:
    try:
        parse_template(text)
    except Exception as failure:  # hassil raises several unrelated classes
        raise CorpusError(f"{name}: {text!r} is not a template: {failure}") from None
