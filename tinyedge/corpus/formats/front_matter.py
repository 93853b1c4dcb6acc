"""Front matter: the metadata of YAML, TOML or JSON before the text of a Markdown file.

In: the lines of a file. Out: the lines after the front matter. Lines that only look like front matter, such
as a text that begins with a horizontal rule, are kept. Does not interpret the metadata.
"""

import itertools
import json
import re
import tomllib
from collections.abc import Iterator

from tinyedge.corpus.read_notes import ReadNotes

MAX_LINES = 1_000  # of front matter
MAX_CHARS = 100_000
_CLOSERS = {"---": ("---", "..."), "+++": ("+++",), "{": ("}",)}
# A key has no spaces, and a space or the line's end follows its colon.
_YAML_KEY = re.compile(r"(?:[\w.-]+|\"[^\"]*\"|'[^']*')\s*:(?:\s+\S.*|\s*)")
_KEYS = (
    "title author authors date tags tag categories category draft layout description slug lang language"
    " aliases id created updated modified permalink weight publish published type status keywords image cover"
    " summary subtitle uid url version license"
)
KNOWN_KEYS = frozenset(_KEYS.split())
MIN_SPOKEN_WORDS = 5


def skip_front_matter(lines: Iterator[str], notes: ReadNotes) -> Iterator[str]:
    """Yield the lines after the front matter, and count the lines of the front matter."""
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        return
    closers = _CLOSERS.get(first.rstrip())
    if closers is None:
        yield first
        yield from lines
        return
    head = [first]
    size = 0
    for line in itertools.islice(lines, MAX_LINES):
        head.append(line)
        size += len(line)
        if line.rstrip() in closers or size > MAX_CHARS:
            break
    if len(head) > 1 and head[-1].rstrip() in closers and _is_metadata(head):
        notes.count("front_matter_lines", len(head))
    else:
        yield from head
    yield from lines


def _is_metadata(lines: list[str]) -> bool:
    """Whether lines, with the line that opens and the line that closes them, are metadata."""
    opener = lines[0].rstrip()
    if opener == "---":
        return _is_yaml(lines[1:-1])
    try:
        if opener == "{":
            return isinstance(json.loads("\n".join(lines)), dict)
        tomllib.loads("\n".join(lines[1:-1]))
    except (ValueError, RecursionError):
        return False
    return True


def _is_yaml(lines: list[str]) -> bool:
    """Whether lines are a mapping of YAML.

    The first line is a key, because a blank line or text follows a horizontal rule. Keys that occur twice, or
    unusual keys with long values, are the names of speakers.
    """
    if not lines:
        return True
    keys: set[str] = set()
    in_block = False  # a list or a text of several lines may follow a key
    is_long = False
    for number, line in enumerate(lines):
        if _YAML_KEY.fullmatch(line.rstrip()):
            key, _, value = line.partition(":")
            key = key.strip().lower()
            if key in keys:
                return False
            keys.add(key)
            is_long = is_long or len(value.split()) >= MIN_SPOKEN_WORDS
            in_block = True
        elif number == 0 or not (
            not line.strip() or line.startswith("#") or (in_block and line[0] in " \t-]}")
        ):
            return False
    return not is_long or not KNOWN_KEYS.isdisjoint(keys)
