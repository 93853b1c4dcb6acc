"""Home commands: a request of a home automation becomes a model's prompt, and its answer a call of a tool.

A model of home commands is asked with a sentence and the names that it mentions, and answers with an intent
and its slots (`corpus.commands`). Home Assistant sends a long description of the home, the sentence, and one
tool for each intent. In: such a request; text of the model. Out: a prompt; a call, or a sentence to say.
"""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tinyedge.corpus.commands.answer import UNKNOWN, Command, parse_answer
from tinyedge.corpus.commands.home import MAX_NAME, Home, format_prompt, load_home, split_words
from tinyedge.forms.tool import Tool
from tinyedge.serve.errors import ApiError
from tinyedge.serve.messages import SETUP_ROLES, Message, spell_calls

FROM_REQUEST, FROM_FILE = "request", "file"  # where names come from; the first is a value of --home
MAX_NAMES = 2000  # of a request: each is compared with the words of the sentence
NAMESPACE_END = "__"  # before a tool's own name, where Home Assistant offers the tools of several APIs
# An entry of the list of devices in Home Assistant's system message, which is YAML.
_ENTRY = re.compile(r"^- names: (.+)\n((?:  \S.*\n?)*)", re.MULTILINE)
_FOLD = re.compile(r"\n {4,}(?=\S)")  # a long value goes on in the next line


class Sentences(NamedTuple):
    """What is said in place of a call, or after one."""

    done: str
    failed: str
    unknown: str
    impossible: str


SENTENCES = {
    "en": Sentences(
        done="Done.",
        failed="That did not work.",
        unknown="Sorry, I did not understand that.",
        impossible="Sorry, I cannot do that here.",
    ),
    "es": Sentences(
        done="Hecho.",
        failed="No ha funcionado.",
        unknown="Lo siento, no lo he entendido.",
        impossible="Lo siento, aquí no puedo hacer eso.",
    ),
}

# Commands are too short for `corpus.language`. Without accents, as `split_words` returns words.
_WORDS = {
    "en": "the a in on off of to at my is are what turn switch set open close stop please",
    "es": "el la los las un una en de del al mi que enciende apaga pon sube baja abre cierra",
}


@dataclass(frozen=True)
class CommandReply:
    """How the answer to one request is made."""

    tools: tuple[Tool, ...]
    """Tools that may be called."""
    sentences: Sentences
    """What is said in the language of the request."""
    text: str | None = None
    """The answer, if no model is needed for it."""

    def translate(self, answer: str) -> str:
        """Return the call that a model's answer asks for, or else a sentence.

        Args:
            answer: Text of the model.
        """
        command = parse_answer(answer)
        if command is None or command.intent == UNKNOWN:
            return self.sentences.unknown
        for tool in self.tools:
            if tool.name == command.intent or tool.name.endswith(NAMESPACE_END + command.intent):
                arguments = fit_arguments(command, tool.parameters)
                if arguments is not None:
                    return spell_calls([(tool.name, json.dumps(arguments, ensure_ascii=False))])
        return self.sentences.impossible


@dataclass(frozen=True)
class HomeCommands:
    """A home whose commands a server understands."""

    home: Home | None
    """Its names; None if each request lists them."""

    @classmethod
    def load(cls, value: str) -> "HomeCommands":
        """Load the value of `--home`: a file, or `request`.

        Raises:
            UsageError: The file is missing or invalid.
        """
        return cls(None if value == FROM_REQUEST else load_home(Path(value)))

    @property
    def source(self) -> str:
        """Where the names come from: `file` or `request`."""
        return FROM_REQUEST if self.home is None else FROM_FILE

    def format_prompt(self, messages: Sequence[Message]) -> str:
        """Return the model's prompt: the last message of the user, with the names that it mentions.

        Raises:
            ApiError: The request lists too many names.
        """
        home = self.home
        if home is None:
            setup = "\n".join(content for role, content in messages if role in SETUP_ROLES)
            home = parse_static_context(setup)
        return format_prompt(home, _find_sentence(messages))

    def prepare_reply(self, messages: Sequence[Message], tools: Sequence[Tool]) -> CommandReply:
        """Return how the answer to a conversation is made; after the result of a call, it is a sentence."""
        sentences = SENTENCES[_detect_language(_find_sentence(messages))]
        role, content = messages[-1]
        text = None
        if role == "tool":
            failure = _find_failure(content)
            text = sentences.done if failure is None else f"{sentences.failed} {failure}".strip()
        return CommandReply(tuple(tools), sentences, text)


def fit_arguments(command: Command, parameters: Any) -> dict[str, Any] | None:
    """Return the arguments of a call; None if the tool does not accept all that the command asks for.

    A slot is never left out: without its name or room, a command would reach other devices.

    Args:
        command: What the sentence asks for.
        parameters: JSON Schema of the tool's arguments.
    """
    schema = parameters if isinstance(parameters, Mapping) else {"properties": {}}
    properties = schema.get("properties")
    slots = command.to_call()[1]
    if not isinstance(properties, Mapping):
        return slots
    if "domain" not in properties and "domain" not in command.slots:
        slots.pop("domain", None)  # the sentence implies it, and the tool knows no other domain
    arguments: dict[str, Any] = {}
    for name, value in slots.items():
        kind = properties[name].get("type") if isinstance(properties.get(name), Mapping) else None
        is_number = isinstance(value, int | float)
        if name not in properties or (kind in ("integer", "number") and not is_number):
            return None
        if kind == "array":
            arguments[name] = [value]
        else:
            arguments[name] = str(value) if kind == "string" else value
    return arguments


def parse_static_context(text: str) -> Home:
    """Read the names of a home in Home Assistant's system message: a list of devices in YAML.

    Args:
        text: The message. Entries have `names`, separated by commas, `domain` and `areas`.

    Raises:
        ApiError: There are more than MAX_NAMES.
    """
    devices: list[tuple[str, str]] = []
    areas: dict[str, None] = {}
    for entry in _ENTRY.finditer(_FOLD.sub(" ", text)):
        fields = {
            key: value for key, _, value in (line.strip().partition(": ") for line in entry[2].splitlines())
        }
        domain = _unquote(fields.get("domain", ""))
        devices += [(name, domain) for name in _split_names(entry[1])]
        areas |= dict.fromkeys(_split_names(fields.get("areas", "")))
    if (count := len(devices) + len(areas)) > MAX_NAMES:
        raise ApiError(
            400,
            f"the request lists {count} names, at most {MAX_NAMES} are allowed: expose fewer devices,"
            " or start the server with a file of names: --home home.json",
            code="invalid_value",
        )
    return Home(tuple(devices), tuple(areas))


def _split_names(value: str) -> list[str]:
    """Return the names in a list, without those that are too long for a name of a home."""
    names = [name.strip() for name in _unquote(value).split(",")]
    return [name for name in names if 0 < len(name) <= MAX_NAME]


def _unquote(value: str) -> str:
    """Return a scalar of YAML as text."""
    value = value.strip()
    if value[:1] == "'" and value[-1:] == "'":
        return value[1:-1].replace("''", "'")
    if value[:1] == '"':
        with contextlib.suppress(ValueError, RecursionError):
            return str(json.loads(value))
    return value


def _find_sentence(messages: Sequence[Message]) -> str:
    return next((content for role, content in reversed(messages) if role == "user"), "")


def _detect_language(sentence: str) -> str:
    words = split_words(sentence)
    return max(_WORDS, key=lambda language: sum(word in _WORDS[language].split() for word in words))


def _find_failure(content: str) -> str | None:
    """Return what the result of a call says about its failure; None if it did not fail."""
    with contextlib.suppress(ValueError, RecursionError):
        result = json.loads(content)
        if isinstance(result, dict) and ("error" in result or result.get("response_type") == "error"):
            return str(result.get("error_text", ""))
    return None
