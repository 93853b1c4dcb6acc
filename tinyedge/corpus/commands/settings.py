"""Settings of the source `commands`. Does not know templates: commands read it for their help."""

from dataclasses import dataclass

from tinyedge.core.settings import check_settings, setting

BUILTIN = "builtin"


@dataclass(frozen=True, slots=True)
class CommandSettings:
    """Where pairs of home commands come from, and how many.

    Raises:
        UsageError: A value is outside its range; the message names the parameter.
    """

    templates: str = setting(
        "",
        section="Text",
        help="For --source commands: a folder of templates, or builtin, a small set. [default: download]",
    )
    """A folder laid out like Home Assistant's repository, `builtin`, or empty: Home Assistant's own."""
    pairs: int = setting(
        200_000, low=100, high=10_000_000, section="Text", help="Number of pairs for --source commands."
    )
    """Number of pairs."""

    def __post_init__(self) -> None:
        check_settings(self)


DEFAULT_SETTINGS = CommandSettings()
