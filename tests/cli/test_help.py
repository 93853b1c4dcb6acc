"""The help: one line per command in its group, options in sections, and examples that the parser accepts."""

import shlex
from typing import Any

import pytest
import typer

from tests.support.program import tinyedge
from tinyedge.cli._help import EXAMPLES, GROUPS, UNTITLED
from tinyedge.cli._json import name_optional_files
from tinyedge.cli.main import COMMANDS, app_for, repeat_list_flags


def command_of(name: str, *words: str) -> Any:
    """Return the parser's command, as `tinyedge NAME WORDS...` builds it."""
    group: Any = typer.main.get_command(app_for([name, *words]))
    return group.commands[name]


def sections_of(text: str) -> dict[str, str]:
    """Return the text of each section of a help, by its title."""
    sections: dict[str, str] = {}
    title = ""
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            title = line.removesuffix(":")
        else:
            sections[title] = sections.get(title, "") + line + "\n"
    return sections


def test_the_groups_contain_every_command_once() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(COMMANDS)
    assert set(EXAMPLES) == set(COMMANDS)


def test_every_summary_is_complete_in_a_line_of_80_columns() -> None:
    text = tinyedge("--help", env={"COLUMNS": "80"}).stdout
    sections = sections_of(text)
    for title, names in GROUPS.items():
        lines = sections[f"{title} commands"].split("\n")
        assert [line.split()[0] for line in lines if line] == list(names)
        for line in filter(None, lines):
            assert line.endswith(".")
            assert not line.endswith("...")
            assert len(line) <= 80
    assert text == tinyedge(env={"COLUMNS": "80"}).stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_ends_with_an_example_that_the_parser_accepts(name: str) -> None:
    text = tinyedge(name, "--help", env={"COLUMNS": "80"}).stdout
    assert text.endswith(f"\nExample:\n  {EXAMPLES[name]}\n")
    program, command, *words = shlex.split(EXAMPLES[name])
    assert (program, command) == ("tinyedge", name)
    command_of(name).make_context(name, name_optional_files(repeat_list_flags(words)))  # parses; does not run


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_the_help_once(name: str) -> None:
    text = tinyedge(name, "--help").stdout
    for option in command_of(name, "--help").params:
        if option.param_type_name == "option":
            listed = [line for line in text.splitlines() if option.opts[0] in line.split()[:2]]
            assert len(listed) == 1, option.opts


@pytest.mark.parametrize(
    ("name", "titles"),
    [
        ("train", ["Text", "Tokenizer", "Model", "Training", "Run", "Hardware"]),
        ("bench", ["Measurement", "Limits", "Reports"]),
        ("sweep", ["Text", "Tokenizer", "Search", "Run", "Hardware"]),
        ("serve", ["Network", "Limits", "Filter"]),
        ("generate", ["Sampling", "Filter"]),
    ],
)
def test_long_lists_of_options_have_sections(name: str, titles: list[str]) -> None:
    sections = sections_of(tinyedge(name, "--help").stdout)
    assert [title for title in sections if title in titles] == titles
    for option in command_of(name, "--help").params:
        if option.param_type_name == "option" and name in ("train", "bench", "sweep"):
            assert f"  {option.opts[0]}" in sections[option.rich_help_panel]
    if name in ("train", "bench", "sweep"):
        assert sections[UNTITLED].split()[0] == "--help"
