"""Read the word lists and scenes of a language in tinyedge/corpus/data/phrasebook/<language>/.

In: lexicon files ("class: item, item > second field, ...") and scene files (see `read_scenes`). Out: a
Lexicon of word classes, and Scenes of roles and steps. Does not know grammar.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

# A word and its other fields, such as a job and its place ("job > place").
Item = tuple[str, ...]
Lexicon = Mapping[str, tuple[Item, ...]]


@dataclass(frozen=True, slots=True)
class SceneStep:
    """One step of a scene."""

    alternatives: tuple[tuple[str, ...], ...]
    """Choices; each consists of one or more sentence templates that stay together."""

    optional: bool
    """Whether the step may be left out."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A situation that documents describe."""

    name: str
    """Name of the scene."""

    roles: Mapping[str, str]
    """For each role the kind of person, the word class or the template that it is drawn from."""

    steps: tuple[SceneStep, ...]
    """The steps in order."""


def find_data_folder(language: str) -> Traversable:
    """Return the folder of a language's data files."""
    return files("tinyedge.corpus").joinpath("data", "phrasebook", language)


def _read_lines(language: str, prefix: str) -> Iterator[str]:
    """Read the lines of all data files whose name starts with `prefix`, sorted by name."""
    found = [entry for entry in find_data_folder(language).iterdir() if entry.name.startswith(prefix)]
    for entry in sorted(found, key=lambda entry: entry.name):
        yield from entry.read_text(encoding="utf-8").splitlines()
        yield ""


def read_lexicon(language: str) -> Lexicon:
    """Read the word classes of a language.

    A line that starts with a space continues the class above; "#" begins a comment.

    Raises:
        ValueError: A class is defined twice.
    """
    classes: dict[str, list[Item]] = {}
    name = ""
    for line in _read_lines(language, "lexicon"):
        if not line.strip() or line.startswith("#"):
            continue
        rest = line
        if not line.startswith(" "):
            name, _, rest = line.partition(":")
            if name in classes:
                raise ValueError(f"{language}: class {name!r} is defined twice")
            classes[name] = []
        for item in rest.split(","):
            if item.strip():
                classes[name].append(tuple(field.strip() for field in item.split(">")))
    return {name: tuple(items) for name, items in classes.items()}


def read_scenes(language: str) -> tuple[Scene, ...]:
    """Read the scenes of a language.

    "== name" begins a scene. Lines "role = class" follow, then steps, separated by blank lines, with one
    alternative per line. "//" separates the sentences of an alternative. A line "?" marks a step as optional.
    """
    scenes: list[Scene] = []
    name, roles, steps, block = "", dict[str, str](), list[SceneStep](), list[str]()

    def close_step() -> None:
        optional = block[:1] == ["?"]
        lines = block[1:] if optional else block
        if lines:
            alternatives = tuple(tuple(part.strip() for part in line.split("//")) for line in lines)
            steps.append(SceneStep(alternatives, optional))
        block.clear()

    def close_scene() -> None:
        close_step()
        if steps:
            scenes.append(Scene(name, dict(roles), tuple(steps)))
        roles.clear()
        steps.clear()

    for line in _read_lines(language, "scenes"):
        text = line.strip()
        if text.startswith("=="):
            close_scene()
            name = text[2:].strip()
        elif not text:
            close_step()
        elif text == "?":
            close_step()
            block.append(text)
        elif not steps and not block and " = " in text:
            role, _, drawn = text.partition(" = ")
            roles[role] = drawn
        elif not text.startswith("#"):
            block.append(text)
    close_scene()
    return tuple(scenes)
