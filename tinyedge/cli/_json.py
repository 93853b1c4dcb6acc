"""`--json [FILE]`, with one meaning for all commands that have it.

Without FILE, or with `-`, the result is printed as one line of JSON in place of the text; with FILE it is
written there besides the text. Notes and warnings go to stderr in both cases.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from tinyedge.core.errors import UsageError

FLAG = "--json"
STDOUT = "-"
OPTIONAL_FILES = {FLAG: STDOUT, "--calibrate": "calibration.json"}
"""Options whose file may be left out, with what they mean then."""


def json_option(section: str | None = None) -> Any:
    """Return the declaration of the option, in a section of the command's help."""
    return typer.Option(
        FLAG,
        metavar="[FILE]",
        help="Print the result as JSON instead of text; with FILE, write it there as well.",
        show_default=False,
        rich_help_panel=section,
    )


JsonTarget = Annotated[str | None, json_option()]
"""Annotation of the option in commands whose help has no sections."""


def name_optional_files(arguments: Sequence[str]) -> list[str]:
    """Insert the default after each of OPTIONAL_FILES that no file follows: the parser needs a value.

    Not a file are the end, another option, and an existing folder, such as the bundle in
    `verify --json BUNDLE`.
    """
    result: list[str] = []
    for index, word in enumerate(arguments):
        if word == "--":
            return [*result, *arguments[index:]]
        result.append(word)
        if word in OPTIONAL_FILES:
            following = arguments[index + 1] if index + 1 < len(arguments) else ""
            is_option = following.startswith("-") and following != STDOUT
            if not following or is_option or Path(following).is_dir():
                result.append(OPTIONAL_FILES[word])
    return result


class JsonOutput(NamedTuple):
    """Where the JSON of a result goes."""

    path: Path | None = None
    """File to write."""
    is_printed: bool = False
    """Whether it is printed in place of the text."""

    @classmethod
    def from_option(cls, target: str | None, *kinds: str, inputs: Iterable[Path] = ()) -> "JsonOutput":
        """Check the option's value before the command's work.

        Args:
            target: Value of the option; None if it was not given.
            kinds: Schemas of the command's results, without the version.
            inputs: Files and bundles that the command reads or writes otherwise.

        Raises:
            UsageError: The file cannot be written, is an input, or exists and is not an earlier result.
        """
        if target is None or target == STDOUT:
            return cls(is_printed=target == STDOUT)
        if not target:
            raise UsageError(f"{FLAG} is empty", f"pass a file, or print the result with {FLAG} -")
        from tinyedge.core import output_files

        path = Path(target)
        output_files.require_writable({FLAG: path}, inputs)
        output_files.require_replaceable_json(FLAG, path, kinds)
        return cls(path)

    def emit(self, result: Mapping[str, Any], text: str = "") -> None:
        """Write the file, then print the text or the JSON; arguments as for `show`."""
        if self.path is not None:  # before the text is printed, which fails if the pipe is closed
            from tinyedge.core import files

            files.write_json(self.path, result)
        self.show(result, text)

    def show(self, result: Mapping[str, Any], text: str = "") -> None:
        """Print the text or the JSON; write no file.

        Args:
            result: The JSON object.
            text: What is printed unless the JSON is; an empty text is not printed.
        """
        if self.is_printed:
            escaped = sys.stdout.encoding.lower() != "utf-8"  # JSON escapes what such a terminal cannot show
            # Flushed here, so that a closed pipe, as after `head`, is noticed here and not at exit.
            print(json.dumps(result, ensure_ascii=escaped, allow_nan=False), flush=True)
        elif text:
            typer.echo(text)
