"""Markdown is read without markup, and nothing of the rest of a file is lost."""

from pathlib import Path

import pytest

from tests.support.formats import read_file
from tinyedge.corpus.formats import markdown

MARKDOWN = """---
title: not a word of it
tags:
  - sea
---
# A *heading* here #

Some **bold** and _thin_ words, a [link](http://example.org/a_b "title"), ![a picture](p.png) and `code`.
<!-- a comment
over lines --> The rest, **too**.

- First item.
* Second item.
12. Third item.
> Quoted words.

```python
print("not a word")
```

| Cell one | Cell two |
|----------|:--------:|
| three    | four     |

[ref]: http://example.org

2 * 3 * 4 is snake_case_name in C#
***
"""


def test_markup_is_removed(tmp_path: Path) -> None:
    lines, entry = read_file(tmp_path / "a.md", MARKDOWN)
    assert lines == [
        "A heading here",
        "Some bold and thin words, a link, a picture and code.",
        "The rest, too.",
        "First item.",
        "Second item.",
        "Third item.",
        "Quoted words.",
        "Cell one Cell two",
        "three four",
        "2 * 3 * 4 is snake_case_name in C#",
    ]
    assert entry == {
        "front_matter_lines": 5,
        "code_blocks": 1,
        "code_lines": 1,
        "comments": 1,
        "link_definitions": 1,
    }


@pytest.mark.parametrize(
    ("markdown", "lines"),
    [
        ("``` make all ``` is what we typed.\n\nThe rest.", ["make all is what we typed.", "The rest."]),
        ("~~~ this is no code at all\n\nThe rest.", ["this is no code at all", "The rest."]),
        ("Write `<!--` to begin it.\n\nThe rest.", ["Write <!-- to begin it.", "The rest."]),
        ("```html\n<!-- open\n```\n\nThe rest.", ["The rest."]),
        ("<!-- never closed\n\nThe rest.", ["never closed", "The rest."]),
        ("<!-- never closed\n\nThe rest.\n\n<!-- closed -->\n\nEnd.", ["never closed", "The rest.", "End."]),
        ("<script>\nx()\n\nThe rest.", ["x()", "The rest."]),
        ("````markdown\n```python\nx\n```\n````\n\nThe rest.", ["The rest."]),
        ("```\n```python\nx\n```\n```\n\nThe rest.", ["The rest."]),
        ("```python\nx = 1\n\nThe rest.", ["The rest."]),
        ("```python\nx = 1\n\nBetween.\n\n```sh\ny\n```\n\nThe rest.", ["Between.", "The rest."]),
        (
            "```\nx = 1\n\nA whole sentence between two blocks.\n\n```\ny = 1\n```\n\nThe rest.",
            ["A whole sentence between two blocks.", "The rest."],
        ),
        ("```\nx = 1\n\n# A whole sentence of a comment.\n```\n\nThe rest.", ["The rest."]),
        ("> ```\n> x\n\nThe rest.", ["The rest."]),
        ("- ```\n  x\n\n  In the item.\n- Next.", ["In the item.", "Next."]),
        ("$$\nno end\n\nThe rest.", ["$$ no end", "The rest."]),
        ("$$\nE=mc^2\n$$\n\nThe rest.", ["The rest."]),
        ("<pre>\nno end\n\nThe rest.", ["no end", "The rest."]),
    ],
)
def test_the_rest_of_a_file_is_not_lost(tmp_path: Path, markdown: str, lines: list[str]) -> None:
    assert read_file(tmp_path / "a.md", markdown)[0] == lines


@pytest.mark.parametrize(
    ("markdown", "lines"),
    [
        ("---\n\n# One\n\nText here.\n\n---\n\nTwo.", ["One", "Text here.", "Two."]),
        ("---\nWords.\n", ["Words."]),
        ("\n---\ntitle: The sea\n---\nText.", ["Text."]),
        (
            "---\nKeeper: I kept the ledgers all my life.\nGuest: So?\n---\n\nTwo.",
            ["Keeper: I kept the ledgers all my life.", "Guest: So?", "Two."],
        ),
        ("---\ntitle: The sea\ndescription: A text about the sea, and more.\n...\nText.", ["Text."]),
        ('+++\ntitle = "x"\n[extra]\na = [\n1]\n+++\nText.', ["Text."]),
        ("+++\nno toml\n+++\nText.", ["+++ no toml +++ Text."]),
        ('{\n"title": "x"\n}\nText.', ["Text."]),
    ],
)
def test_front_matter_is_told_from_text(tmp_path: Path, markdown: str, lines: list[str]) -> None:
    assert read_file(tmp_path / "a.md", markdown)[0] == lines


@pytest.mark.parametrize(
    ("markdown", "lines"),
    [
        ("[Guest]: Why?\n\n[Keeper]: Yes.", ["[Guest]: Why?", "[Keeper]: Yes."]),
        ('[Keeper]: Yes. "I did"\n', ['[Keeper]: Yes. "I did"']),
        ("[Keeper]:\nYes.\n", ["[Keeper]:", "Yes."]),
        ("[Kim]: #no\n\n[Kim]: /shrug", ["[Kim]: #no", "[Kim]: /shrug"]),
        ("[a][1] and [b].\n\n[1]: /docs\n[b]: <http://x.org>\n  'title'\n", ["a and b."]),
        ("[//]: # (a comment)\n[note]: <> (another)\n\nText.", ["Text."]),
        (
            "Text[^1] here.\n\n[^1]: The note,\n    wrapped.\n\n    Its end.",
            ["Text here.", "The note, wrapped.", "Its end."],
        ),
    ],
)
def test_definitions_are_told_from_transcripts(tmp_path: Path, markdown: str, lines: list[str]) -> None:
    assert read_file(tmp_path / "a.md", markdown)[0] == lines


@pytest.mark.parametrize(
    ("markdown", "lines"),
    [
        (
            "- The evenings are dark from October on\n  and the path has no light.",
            ["The evenings are dark from October on and the path has no light."],
        ),
        (
            "> The keeper used to say that a man\nwill remember.",
            ["The keeper used to say that a man will remember."],
        ),
        ("Roses are red\nViolets are blue", ["Roses are red", "Violets are blue"]),
        ("Roses are red  \nviolets too\\\nand so on", ["Roses are red", "violets too", "and so on"]),
        ("an exam\u00ad\nple of well-\nknown words", ["an example of well-known words"]),
        ("我们去海边，\n天气很好。", ["我们去海边，天气很好。"]),
        ("- [ ] open\n- [x] done", ["open", "done"]),
        ("1986. A great year.", ["1986. A great year."]),
        ("> [!note] A title\n> and its\n> text", ["A title", "and its text"]),
        ("[[page|shown]], [[other]] ![[p.png]]", ["shown, other"]),
        ("Term\n: Definition", ["Term", "Definition"]),
        ("# Title {#id .class}\n\nText ^a1b2c3", ["Title", "Text"]),
        ("::: note\nText\n:::", ["Text"]),
        ("$a_1 * b_2$ for $5 or $10", ["$a_1 * b_2$ for $5 or $10"]),
        ("List<String>, <b>H</b><sub>2</sub>O<br>A &copy; <x@y.org>", ["List<String>, H2O", "A © x@y.org"]),
        ("<div><p>One</p><p>Two &amp;\nthree</p></div>", ["One", "Two & three"]),
        ("==marked== and ~~gone~~", ["marked and gone"]),
        (
            "    The author indents each paragraph by four spaces,\n    as others do.\n\n    x = y;",
            ["The author indents each paragraph by four spaces, as others do."],
        ),
    ],
)
def test_lines_and_flavours(tmp_path: Path, markdown: str, lines: list[str]) -> None:
    assert read_file(tmp_path / "a.md", markdown)[0] == lines


def test_text_of_any_depth_is_read(tmp_path: Path) -> None:
    for mark in ("> ", "- "):
        lines, _ = read_file(tmp_path / "a.md", mark * 200 + "deep\n\nThe rest.")
        assert lines[0].endswith("deep")
        assert lines[-1] == "The rest."


def test_links_are_found_in_another_part_of_a_long_file(tmp_path: Path) -> None:
    text = (
        "See [the text][ref] of it.\n\n"
        + "A line of prose that fills the file.\n\n" * 1_000
        + "[ref]: http://x.org\n"
    )
    lines, entry = read_file(tmp_path / "a.md", text)
    assert lines == ["See the text of it."] + ["A line of prose that fills the file."] * 1_000
    assert entry == {"link_definitions": 1}


@pytest.mark.parametrize(
    "unit",
    [
        "[",
        "![",
        "[[",
        "```a\n\n",
        "<!--\n\n",
        "[a]: x://b\n",
        "- ",
        "> ",
        "*a **b ",
        "$$\na\n\n",
        "`" * 7 + "a",
    ],
)
def test_a_hostile_file_is_parsed_in_bounded_parts(unit: str) -> None:
    parts = list(markdown.split_parts(iter((unit * (200_000 // len(unit))).split("\n"))))
    assert max(map(len, parts)) <= markdown.MAX_CODE_CHARS + markdown.MAX_PART_CHARS
    assert sum(map(len, parts)) >= 190_000


def test_a_code_block_is_not_cut(tmp_path: Path) -> None:
    code = "x = 1\n\n" * 5_000
    lines, entry = read_file(tmp_path / "a.md", f"Before.\n\n```\n{code}```\n\nAfter.")
    assert lines == ["Before.", "After."]
    assert entry == {"code_blocks": 1, "code_lines": 5_000}


def test_line_breaks_can_be_kept_or_joined(tmp_path: Path) -> None:
    verse = "Roses are red\nViolets are blue"
    wrapped = "The evenings are dark from October on\nand the path has no light."
    assert read_file(tmp_path / "a.md", verse, lines="join")[0] == ["Roses are red Violets are blue"]
    assert read_file(tmp_path / "a.md", wrapped, lines="keep")[0] == wrapped.splitlines()
