"""The check for control characters."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from tinyedge.bundle.manifest import CONTROL_CHARACTERS, has_control_chars


@given(st.text(st.characters(codec=None)))  # lone surrogates included
@example("año, niño\u00a0\u200d\U0001f600")  # not printable according to Python, but harmless on a terminal
@example("a\u2028b")
@example("a\x1b[2J")
@example("\udc80")
def test_control_characters_are_found(text: str) -> None:
    assert has_control_chars(text) == bool(re.search(CONTROL_CHARACTERS, text))
