"""The word lists and scenes of a language, as they lie in tinyedge/corpus/data/phrasebook/<language>/.

In:  lexicon files ("class: item, item > second field, ...") and scene files (see read_scenes).
Out: a Lexicon of classes, and Scenes: a cast of roles and steps, each step a tuple of alternative templates.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

# A word of a class: its fields, the first the word itself, the others what goes with it (a job > its place).
Item = tuple[str, ...]
Lexicon = Mapping[str, tuple[Item, ...]]


@dataclass(frozen=True, slots=True)
class SceneStep:
    """One move of a scene. Each alternative is one or more sentence templates that stay together."""

    alternatives: tuple[tuple[str, ...], ...]
    optional: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """A situation: who and what takes part (role name -> what is drawn for it), and its steps in order."""

    name: str
    roles: Mapping[str, str]
    steps: tuple[SceneStep, ...]


def data_folder(language: str) -> Traversable:
    return files("tinyedge.corpus").joinpath("data", "phrasebook", language)


def _lines(language: str, prefix: str) -> Iterator[str]:
    """Lines of every data file whose name starts with prefix, files in name order on every machine."""
    found = [entry for entry in data_folder(language).iterdir() if entry.name.startswith(prefix)]
    for entry in sorted(found, key=lambda entry: entry.name):
        yield from entry.read_text(encoding="utf-8").splitlines()
        yield ""


def read_lexicon(language: str) -> Lexicon:
    """Classes of words. A line that starts with a space goes on with the class above; '#' opens a comment."""
    classes: dict[str, list[Item]] = {}
    name = ""
    for line in _lines(language, "lexicon"):
        if not line.strip() or line.startswith("#"):
            continue
        rest = line
        if not line.startswith(" "):
            name, _, rest = line.partition(":")
            if name in classes:
                raise ValueError(f"{language}: class {name!r} is given twice")
            classes[name] = []
        for item in rest.split(","):
            if item.strip():
                classes[name].append(tuple(field.strip() for field in item.split(">")))
    return {name: tuple(items) for name, items in classes.items()}


def read_scenes(language: str) -> tuple[Scene, ...]:
    """Scenes of all scene files.

    "== name" opens a scene; lines "role = class" follow; then steps, parted by blank lines, one alternative
    a line; "//" parts sentences of one alternative; a step that a line "?" opens may be left out.
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

    for line in _lines(language, "scenes"):
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
