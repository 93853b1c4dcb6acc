"""Foreign text in Markdown: shown as it is, without effect."""

import pytest

from tinyedge.core.markdown import escape_markdown, unescape_markdown


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("fast, 8 epochs (seed 1)", "fast, 8 epochs (seed 1)"),
        ("a|b", "a\\|b"),
        ("<img src=x onerror=alert(1)>", "\\<img src=x onerror=alert(1)\\>"),
        ("[click](https://evil.example)", "\\[click\\](https:\\//evil.example)"),
        ("see www.evil.example", "see www\\.evil.example"),
        ("`code` **bold** ~~x~~ &lt; $1$", "\\`code\\` \\*\\*bold\\*\\* \\~\\~x\\~\\~ \\&lt; \\$1\\$"),
        ("two\n# lines\x1b[31m\u202e", "two \\# lines \\[31m"),
        ("back\\slash", "back\\\\slash"),
    ],
)
def test_markup_is_escaped(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped
    assert unescape_markdown(escaped) == " ".join(
        "".join(c if c.isprintable() else " " for c in text).split()
    )


def test_long_text_is_cut() -> None:
    assert escape_markdown("a" * 50, limit=10) == "aaaaaaa..."
    assert escape_markdown("a" * 10, limit=10) == "a" * 10
