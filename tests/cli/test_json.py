"""`--json [FILE]` means the same for every command that has it."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.core.test_runs import metrics
from tests.support.program import assert_refused, tinyedge
from tinyedge.cli._json import JsonOutput, name_optional_files
from tinyedge.cli.main import COMMANDS, app_for
from tinyedge.core.errors import UsageError

WITH_JSON = {
    "corpus", "fit", "runs", "eval", "export", "verify", "activate", "generate", "bench", "check", "doctor",
    "learn",
}  # fmt: skip


def json_option_of(name: str) -> Any:
    """Return the parser's --json of a command; None if it has none."""
    group: Any = typer.main.get_command(app_for([name]))
    options = [option for option in group.commands[name].params if "--json" in option.opts]
    return options[0] if options else None


def test_the_option_is_declared_once_for_all_commands() -> None:
    options = {name: option for name in COMMANDS if (option := json_option_of(name))}
    assert options.keys() == WITH_JSON
    assert len({(option.help, option.metavar, option.default) for option in options.values()}) == 1


@pytest.mark.parametrize(
    ("words", "parsed"),
    [
        (["doctor", "--json"], ["doctor", "--json", "-"]),
        (["fit", "--json", "--max-tokens", "2"], ["fit", "--json", "-", "--max-tokens", "2"]),
        (["verify", "--json", "BUNDLE"], ["verify", "--json", "-", "BUNDLE"]),
        (["verify", "BUNDLE", "--json"], ["verify", "BUNDLE", "--json", "-"]),
        (["verify", "BUNDLE", "--json", "-"], ["verify", "BUNDLE", "--json", "-"]),
        (["bench", "BUNDLE", "--json", "a.json"], ["bench", "BUNDLE", "--json", "a.json"]),
        (["bench", "BUNDLE", "--json=a.json"], ["bench", "BUNDLE", "--json=a.json"]),
        (["generate", "--json", "--", "BUNDLE"], ["generate", "--json", "-", "--", "BUNDLE"]),
        (["verify", "--", "--json"], ["verify", "--", "--json"]),
        (["bench", "--calibrate"], ["bench", "--calibrate", "calibration.json"]),
        (["bench", "--calibrate", "a.json", "--json"], ["bench", "--calibrate", "a.json", "--json", "-"]),
        (["bench", "--calibrate", "BUNDLE"], ["bench", "--calibrate", "calibration.json", "BUNDLE"]),
    ],
)
def test_without_a_file_the_result_is_printed(
    words: list[str], parsed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("BUNDLE").mkdir()
    assert name_optional_files(words) == parsed


def test_json_is_one_line_without_the_text_and_a_file_comes_with_the_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, path = {"schema": "tinyedge.some/1", "text": "ñ"}, tmp_path / "a.json"
    JsonOutput.from_option(None).emit(result, "shown")
    assert capsys.readouterr().out == "shown\n"
    JsonOutput.from_option("-").emit(result, "shown")
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert json.loads(printed) == result
    JsonOutput.from_option(str(path), "tinyedge.some").emit(result, "shown")
    assert capsys.readouterr().out == "shown\n"
    assert json.loads(path.read_text("utf-8")) == result
    JsonOutput.from_option(str(path), "tinyedge.some").emit({**result, "text": "second"})  # replaces its own
    assert json.loads(path.read_text("utf-8"))["text"] == "second"


@pytest.mark.parametrize("target", ["", ".", "no/such/folder/a.json"])
def test_a_target_that_cannot_be_written_is_refused_before_the_work(target: str) -> None:
    with pytest.raises(UsageError, match="--json"):
        JsonOutput.from_option(target, "tinyedge.some")


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "{bundle}"],
        ["generate", "{bundle}", "--prompt", "", "--max-tokens", "2", "--seed", "1"],
        ["bench", "{bundle}", "--samples", "2", "--max-tokens", "2"],
        ["eval", "{bundle}", "--text", "en={text}"],
        ["check", "{bundle}"],
        ["fit"],
        ["doctor"],
        ["corpus", "--input", "{text}", "--output-dir", "{folder}/out"],
        ["activate", "--status", "--store", "{folder}/store"],
        ["runs", "{run}"],
    ],
)
def test_each_command_prints_one_object_or_writes_it_besides_its_text(
    words: list[str], micro_bundle: Path, tmp_path: Path
) -> None:
    text = tmp_path / "a.txt"
    text.write_text("The men said that they would go to the house.\n\nLa casa es blanca.\n" * 20)
    run = tmp_path / "run"
    run.mkdir()
    (run / "training_metrics.json").write_text(json.dumps(metrics(2.0)))
    command, *rest = (word.format(bundle=micro_bundle, text=text, folder=tmp_path, run=run) for word in words)
    printed = tinyedge(command, "--json", *rest)
    assert printed.returncode in (0, 1, 3, 4), printed.stderr
    value = json.loads(printed.stdout)
    assert value["schema"].startswith("tinyedge.")
    file = tmp_path / "result.json"
    besides = tinyedge(command, *rest, "--json", file)
    assert json.loads(file.read_text())["schema"] == value["schema"]
    assert besides.stdout
    assert not besides.stdout.startswith("{")


def test_a_checkpoint_is_never_taken_for_the_file(tmp_path: Path) -> None:
    checkpoint = tmp_path / "best_model.pt"
    checkpoint.write_bytes(b"PK\x03\x04 weights")
    error = assert_refused(tinyedge("export", "--json", checkpoint), 2)
    assert f"--json {checkpoint} exists" in error
    assert checkpoint.read_bytes() == b"PK\x03\x04 weights"
