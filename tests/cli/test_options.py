"""Options of a command from the fields of a dataclass: flags, help, defaults; and how errors name them."""

import dataclasses
import inspect
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tinyedge.cli._options import Values, describe, options_from
from tinyedge.cli.main import COMMANDS, app_for, name_flags
from tinyedge.core.errors import UsageError
from tinyedge.core.settings import setting


@dataclasses.dataclass(frozen=True)
class Oven:
    degrees: int = setting(180, low=30, high=300, section="Heat", help="Temperature.")
    hours: float | None = setting(None, low=0.0, high=9.5, none="until done", flag="--time", help="Time.")
    mode: str = setting("fan", choices=("fan", "grill"), help="Heat.")
    light: bool = setting(False, help="Light.")
    watts: int = setting(9, low=1, high=2**40, flag=None, help="Power.")
    name: str = "no option"


PRESETS = {"pizza": Oven(300, mode="grill"), "cake": Oven(160, mode="grill")}


def run(*words: str, **arguments: Any) -> dict[str, Any]:
    """Return what a command with the options of Oven receives."""
    received: dict[str, Any] = {}

    @options_from("oven", Oven, **arguments)
    def bake(*, dish: str = "bread", oven: Values) -> None:
        received.update(dish=dish, **oven)

    app = typer.Typer(rich_markup_mode=None)
    app.command()(bake)
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return received or {"help": " ".join(result.output.split())}


def test_a_command_receives_the_values_of_the_fields() -> None:
    defaults = {"dish": "bread", "degrees": 180, "hours": None, "mode": "fan", "light": False}
    assert run() == defaults
    assert run("--time", "2", "--light", "--dish", "tart") == {
        **defaults, "hours": 2.0, "light": True, "dish": "tart"
    }  # fmt: skip
    assert "light" not in run(omit=("light",))


def test_with_presets_every_option_may_be_left_out() -> None:
    assert run(presets=PRESETS)["degrees"] is None
    assert run("--degrees", "99", presets=PRESETS)["degrees"] == 99


def test_the_help_has_range_and_default_or_the_values_of_the_presets() -> None:
    words = run("--help")["help"]
    assert "--degrees <int> Temperature. [30-300; default: 180]" in words
    assert "--time <float> Time. [0-9.5; default: until done]" in words
    assert "--mode fan|grill Heat. [default: fan]" in words
    assert "--watts" not in words
    fields = {field.name: field for field in dataclasses.fields(Oven)}
    assert describe(fields["degrees"], PRESETS) == "Temperature. [30-300; pizza: 300, cake: 160]"
    assert describe(fields["mode"], PRESETS) == "Heat. [default: grill]"
    assert describe(fields["light"]) == "Light."
    assert describe(fields["watts"]) == "Power. [1 or more; default: 9]"


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["train"], UsageError("d_model 7 is odd", "", ["d_model"]), "--d-model 7 is odd"),
        (["bench", "b"], UsageError("duration_s 0", "", ["duration_s"]), "--duration 0"),
        (["generate", "seed/"], UsageError("seed 1 seed/ seed=1", "", ["seed"]), "--seed 1 seed/ seed=1"),
        (["generate", "b"], UsageError("not_a_flag 1", "", ["not_a_flag"]), "--not-a-flag 1"),
        (["generate", "b"], UsageError("seed 1 is odd"), "seed 1 is odd"),
        # What the user typed stays, also where it is the name of the parameter.
        (["serve", "--host", "host"], UsageError("host host is odd", "", ["host"]), "--host host is odd"),
        (["train", "--preset", "preset"], UsageError("preset preset", "", ["preset"]), "--preset preset"),
    ],
)  # fmt: skip
def test_the_shell_reads_flags_where_a_library_names_parameters(
    words: list[str], error: UsageError, message: str
) -> None:
    assert name_flags(error, words).message == message


def test_the_hint_names_flags_too_but_keeps_what_the_user_typed() -> None:
    error = UsageError("d_model 7", "with d_model 7, nhead can be 2", ["d_model", "nhead"])
    assert name_flags(error, ["train"]).hint == "with --d-model 7, --nhead can be 2"
    error = UsageError("api_key_file x", "chmod 600 api_key_file", ["api_key_file"])
    assert name_flags(error, ["serve", "--api-key-file", "api_key_file"]).hint == "chmod 600 api_key_file"


def test_every_command_has_a_function_whose_options_can_be_built() -> None:
    for name in COMMANDS:
        (command,) = app_for([name]).registered_commands
        assert command.callback is not None
        assert inspect.signature(command.callback).parameters
