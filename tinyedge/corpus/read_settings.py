"""How the user's files are read.

In: values. Out: checked settings. Does not read files.
"""

from dataclasses import dataclass

from tinyedge.core.settings import check_settings, setting

AUTO_LINES = "auto"
KEEP_LINES = "keep"
JOIN_LINES = "join"


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """Settings for reading the user's files.

    Raises:
        UsageError: A value is not allowed.
    """

    lines: str = setting(
        AUTO_LINES,
        help="Line breaks of text: join wrapped lines, keep every line, or decide for each passage.",
        choices=(AUTO_LINES, KEEP_LINES, JOIN_LINES),
        section="Text",
    )
    """What is done with line breaks in formats that have lines; a blank line always ends a paragraph."""

    field: str = setting(
        "",
        help="Field or column with the text, in .jsonl, .csv, .tsv and .parquet (default: found).",
        section="Text",
    )
    """Field or column with the text, in formats that have fields; empty: `text`, or all columns with text."""

    strict: bool = setting(
        False, help="Stop at a file that cannot be read, instead of skipping it.", section="Text"
    )
    """Whether a file that cannot be read is an error."""

    def __post_init__(self) -> None:
        check_settings(self)
