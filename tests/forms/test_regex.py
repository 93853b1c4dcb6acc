"""Regular expressions mean what they mean to Python."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.forms.conftest import Draw
from tinyedge.core.errors import UsageError
from tinyedge.forms.form import Form

PATTERNS = [
    r"yes|no|maybe", r"^yes$", r"^yes$|^no$", r"[a-c]{2,5}-\d+", r"(?:ba|bo|b)+?", r"[^a]{3}", r"\w+\.",
    r"x?", r"(a|b)*c", r"\d{4}-\d\d", r"[\w.]{1,4}@\S{2}", r"\x41\u0042[\]\-]", r"(?P<word>na){2,3} batman",
    r".{2}\s?\D", r"a{0}b",
]  # fmt: skip
ATOMS = st.sampled_from(["a", "b", "ñ", r"\d", r"\w", r"\s", "[a-e]", r"[^\w]", ".", r"\.", "[0-3x]", "é"])
REGEXES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["?", "*", "+", "{2}", "{1,3}", "*?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_texts_match_their_pattern(pattern: str, draw_text: Draw) -> None:
    texts = [text for seed in range(12) if (text := draw_text(Form.regex(pattern), seed)) is not None]
    assert texts
    for text in texts:
        assert re.fullmatch(pattern, text), text


@given(pattern=REGEXES, seed=st.integers(0, 1000))
# The same patterns each time: of nested repetitions, `re` needs exponential time for some.
@settings(derandomize=True, max_examples=60)
def test_texts_of_random_patterns_match_them(pattern: str, seed: int, draw_text: Draw) -> None:
    text = draw_text(Form.regex(pattern), seed)
    assert text is None or re.fullmatch(pattern, text), (pattern, text)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "is not a regular expression: missing"),
        (r"(a)\1", "back references are not supported"),
        ("a(?=b)", "look-ahead and look-behind are not supported"),
        (r"\bword", r"\\b and \\B are not supported"),
        ("a^b", "inside a pattern"),
        ("(?i)yes", "inline flags"),
        ("(?i:yes)", "inline flags"),
        ("(?>ab)", "atomic groups are not supported"),
        ("a++", "possessive repetitions are not supported"),
        ("a" * 4097, "has more than 4096 characters"),
        ("(a" * 300 + ")?" * 300, "groups and repetitions nested more than 64 levels deep"),
        ("(" * 65 + "a" + ")" * 65, "groups and repetitions nested more than 64 levels deep"),
        ("(a" * 480 + ")?" * 480, "groups and repetitions nested more than 64 levels deep"),
        ("a{1001}", "repeats a part more than 1000 times"),
    ],
)
def test_what_is_not_supported_is_an_error(pattern: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as failure:
        Form.regex(pattern)
    assert failure.value.message.startswith("regex ")
    assert failure.value.parameters == ("regex",)


@pytest.mark.parametrize("pattern", ["a" * 4096, "(" * 64 + "a" + ")" * 64, "(a" * 31 + ")?" * 31, "a{1000}"])
def test_patterns_are_read_up_to_the_limits(pattern: str) -> None:
    Form.regex(pattern).build()
