"""Options of a command from the fields of a dataclass, so that each setting is declared once.

In: dataclasses whose fields come from `tinyedge.core.settings.setting`. Out: a command with one typer option
for each of them. Does not check values: the dataclass does.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tinyedge.core.settings import flag, format_range

MANY = 1_000_000  # a larger upper bound is only a technical limit, and the help omits it

Command = Callable[..., None]
FilterFile = Annotated[
    Path | None,
    typer.Option(
        "--filter",
        help="Stop before the words in this file instead of the built-in list.",
        show_default=False,
        rich_help_panel="Filter",
    ),
]
"""The option of all commands that filter text."""
AttentionHeads = Annotated[
    int | None,
    typer.Option(help="Attention heads of a plain torch.save checkpoint that does not record them."),
]
"""The option of all commands that read a checkpoint."""
Values = dict[str, Any]
"""What a command receives: the value of each field, None where an optional one was not given."""


def options_from(
    parameter: str,
    settings: type,
    *,
    omit: Collection[str] = (),
    presets: Mapping[str, Any] | None = None,
    optional: bool = False,
) -> Callable[[Command], Command]:
    """Replace a keyword parameter of a command by one option for each field that `setting` declared.

    Args:
        parameter: Parameter of the command; it receives the fields' values by name.
        settings: The dataclass.
        omit: Fields that the command has no option for.
        presets: Instances of the dataclass by name: options are then optional, and the help shows the value
            of each preset in place of a default.
        optional: Whether options have the default None, for settings that also come from elsewhere.
    """
    fields = [
        field
        for field in dataclasses.fields(settings)
        if field.metadata and field.metadata["flag"] is not None and field.name not in omit
    ]
    names = [field.name for field in fields]

    def expand(command: Command) -> Command:
        options = [_make_option(field, presets, optional) for field in fields]
        parameters: list[inspect.Parameter] = []
        signature = inspect.signature(command)
        for known in signature.parameters.values():
            parameters += options if known.name == parameter else [known]

        @functools.wraps(command)
        def call(**values: Any) -> None:
            values[parameter] = {name: values.pop(name) for name in names}
            command(**values)

        call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {known.name: known.annotation for known in parameters}
        return call

    return expand


def select_given(values: Values) -> Values:
    """Return the values of the options that the user gave: neither None nor a flag that is off."""
    return {name: value for name, value in values.items() if value is not None and value is not False}


def describe(field: Any, presets: Mapping[str, Any] | None = None) -> str:
    """Return a field's sentence for `--help`, with its range, and its default or each preset's value."""
    declared, parts = field.metadata, []
    if declared["low"] is not None:
        low, high = declared["low"], declared["high"]
        parts.append(format_range(low, high) if high < MANY else f"{low:g} or more")
    if presets:
        values = {name: getattr(preset, field.name) for name, preset in presets.items()}
        if len(set(values.values())) == 1:
            parts.append(f"default: {next(iter(values.values()))}")
        else:
            parts.append(", ".join(f"{name}: {value}" for name, value in values.items()))
    elif default := ", ".join(filter(None, (declared["none"], _format_default(field)))):
        parts.append(f"default: {default}")
    return f"{declared['help']} [{'; '.join(parts)}]" if parts else str(declared["help"])


def _format_default(field: Any) -> str:
    """A field's default in words; empty where it has none, or is a flag that is off."""
    has_factory = field.default_factory is not dataclasses.MISSING
    default = field.default_factory() if has_factory else field.default
    if default in (None, dataclasses.MISSING) or isinstance(default, bool):
        return ""
    return f"{default:g}" if isinstance(default, float) else str(default)


def _make_option(field: Any, presets: Mapping[str, Any] | None, optional: bool) -> inspect.Parameter:
    declared, kind, default = field.metadata, field.type, field.default
    if (presets or optional) and kind is not bool:
        kind, default = kind | None, None
    option = typer.Option(
        declared["flag"] or flag(field.name),
        help=describe(field, presets),
        metavar="|".join(declared["choices"]) or None,
        show_default=False,
        rich_help_panel=declared["section"] or None,
    )
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )
