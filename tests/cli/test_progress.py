"""Progress of training: one line that fits the terminal, a log elsewhere, and nothing that ends a run."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rich", reason="progress needs the extra `train`")
pytest.importorskip("pyte", reason="the terminal is emulated by pyte, of the extra `dev`")

from bench.recording import Recording, record, resize
from tinyedge.cli._progress_line import ProgressLine, format_clock, format_seconds
from tinyedge.core.columns import cell_width
from tinyedge.train.report.reporter import Progress

ROOT = Path(__file__).parents[2]
FAKE_RUN = [sys.executable, str(ROOT / "tests/support/fake_run.py")]


def make_line(**changes: object) -> ProgressLine:
    progress = Progress(2, 12, 1500, 9000, 5.4321, 5.6012, 10**6, 1e-3, 100.0, 12345.0, 500.0)
    line = ProgressLine()
    line.set_progress(progress)
    for name, value in changes.items():
        setattr(line, name, value)
    return line


def compose(line: ProgressLine, width: int) -> str:
    return "".join(piece.text for piece in line.compose(width))


def environment(**changes: str) -> dict[str, str]:
    names = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "PYTHONPATH": str(ROOT), **changes}


def run_in_terminal(columns: int, **changes: str) -> Recording:
    recording = record(FAKE_RUN, columns, environment=environment(**changes))
    assert recording.code == 0, recording.text
    return recording


@pytest.mark.parametrize("phase", ["", "evaluating held-out text"])
def test_the_line_fits_every_width_and_shows_complete_fields(phase: str) -> None:
    line = make_line()
    if phase:
        line.set_phase(phase)
    everything = compose(line, 200).split("  ")
    for width in range(1, 120):
        text = compose(line, width)
        assert cell_width(text) <= width
        fields = [field for field in text.split("  ") if field and field[0] not in "#."]
        assert set(fields) <= set(everything), width


def test_what_matters_most_stays_in_a_narrow_terminal() -> None:
    line = make_line()
    assert compose(line, 120).endswith("epoch 2/12  17%  loss 5.432  held out 5.601  12,345 tok/s  ETA 8:20")
    assert (
        compose(line, 79) == "#.........  epoch 2/12  17%  loss 5.432  held out 5.601  12,345 tok/s  ETA 8:20"
    )
    assert compose(line, 59) == "epoch 2/12  17%  loss 5.432  held out 5.601  ETA 8:20"
    assert compose(line, 40) == "epoch 2/12  17%  loss 5.432  ETA 8:20"
    assert compose(line, 20) == "epoch 2/12  ETA 8:20"
    line.set_phase("saving")
    assert compose(line, 47) == "#.......  epoch 2/12  17%  saving 0 s  ETA 8:20"


def test_durations() -> None:
    assert [format_clock(s) for s in (7, 750, 3723)] == ["0:07", "12:30", "1:02:03"]
    assert [format_seconds(s) for s in (7, 119, 750)] == ["7 s", "119 s", "12:30"]


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_terminal_sees_one_line_redrawn_in_place(columns: int) -> None:
    recording = run_in_terminal(columns)
    assert recording.broken_lines == 0
    lines = recording.text.splitlines()
    assert all(cell_width(line) <= columns for line in lines)
    assert lines[-1] == "done"
    assert not [line for line in lines if "ETA" in line or "saving" in line]  # erased at the end
    assert sum(line.startswith("epoch ") for line in lines) == 2
    assert sum(line.startswith("  La niña") for line in lines) == 2
    assert len(lines) <= 3 + 4 * 2 + 160 // columns + 2
    # In place, several times a second at most: 40 steps in 0.8 s are no 40 lines.
    assert b"ETA" in recording.output
    assert recording.output.count(b"tok/s") + recording.output.count(b"loss") < 40


def test_text_of_others_is_escaped_and_no_markup() -> None:
    recording = run_in_terminal(80)
    assert "[bold]not markup[/bold], \\u001b[2Jescaped" in recording.text
    assert "La niña [red] \\u001b[31mcorre" in recording.text
    assert b"\x1b[2J" not in recording.output
    assert b"\x1b[?25l" not in recording.output  # a killed run must not leave a terminal without its cursor


def test_a_resized_terminal_is_used_at_its_new_width() -> None:
    seen: list[int] = []

    def shrink(output: bytes, terminal: int) -> None:
        if b"ETA" in output and not seen:
            seen.append(len(output))
            resize(terminal, 40)

    recording = record(FAKE_RUN, 100, environment=environment(), on_output=shrink)
    assert recording.code == 0
    lines = recording.text.splitlines()
    last_epoch = max(number for number, line in enumerate(lines) if line.startswith("epoch 2"))
    assert all(cell_width(line) <= 40 for line in lines[last_epoch:])


def test_no_color_and_dumb_terminals_are_respected() -> None:
    assert b"\x1b[36m" in run_in_terminal(80).output
    colours = [f"\x1b[{code}".encode() for code in (31, 32, 33, 36, 90)]
    plain = run_in_terminal(80, NO_COLOR="1").output
    assert not any(colour in plain for colour in colours)
    dumb = run_in_terminal(80, TERM="dumb")
    assert b"\x1b" not in dumb.output
    assert "preparing the corpus ..." in dumb.text


def run_piped(**changes: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(FAKE_RUN, capture_output=True, text=True, check=True, env=environment(**changes))


def test_a_log_gets_plain_lines_and_names_each_phase_once() -> None:
    lines = run_piped().stderr.splitlines()
    assert "\x1b" not in "".join(lines)
    assert lines[0] == "preparing the corpus ..."
    assert lines[1].startswith("corpus: 3 files, [bold]not markup[/bold], \\u001b[2Jescaped, and more")
    assert lines[2] == "epoch 1/2, step 1/40: loss 8.900 123,456 tok/s ETA 4:59"  # the next is due in 30 s
    assert lines[3] == "evaluating held-out text ..."
    assert lines[4].startswith(
        "epoch 1: loss 5.000, held out 4.500, bits per byte 2.000 (en 1.900, es 2.100)"
    )
    assert lines[5].count("corre por el parque") == 2
    assert lines[6] == "saving ..."
    assert len(lines) == 9


def test_force_color_colours_a_log_without_redrawing_it() -> None:
    output = run_piped(FORCE_COLOR="1").stderr
    assert "\x1b[32m" in output
    assert "\r" not in output
    assert "\x1b[2K" not in output


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2> >(exec true)"])
def test_a_closed_or_failing_stderr_does_not_end_a_run(redirection: str) -> None:
    command = ["bash", "-c", f'exec "$0" "$1" {redirection}', *FAKE_RUN]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment())
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_other_processes_of_a_run_are_silent() -> None:
    done = subprocess.run(
        [*FAKE_RUN, "silent"], capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stderr == ""
    assert record([*FAKE_RUN, "silent"], 80, environment=environment()).text == "done"


def test_only_the_progress_of_training_uses_rich() -> None:
    """The board's commands must not load it."""
    importers = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tinyedge").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any(
            name.partition(".")[0] == "rich"
            for name in (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            )
        )
    }
    assert importers == {"tinyedge/cli/_progress.py"}
    users = {
        path.name
        for path in (ROOT / "tinyedge").rglob("*.py")
        if "tinyedge.cli._progress import" in path.read_text()
    }
    assert users <= {"train.py", "sweep.py", "export.py"}


CONFIRM = "from tinyedge.cli._progress import TerminalReporter; print(TerminalReporter().confirm('Move it?'))"


@pytest.mark.parametrize(("typed", "answer"), [("y", True), ("YES", True), ("", False), ("n", False)])
def test_a_question_is_answered_on_a_terminal_and_enter_means_no(typed: str, answer: bool) -> None:
    def reply(output: bytes, terminal: int) -> None:
        if b"Move it? [y/N]" in output:
            os.write(terminal, f"{typed}\n".encode())

    recording = record([sys.executable, "-c", CONFIRM], 80, environment=environment(), on_output=reply)
    assert recording.text.splitlines()[-1] == str(answer)


def test_without_a_terminal_nobody_is_asked_and_nothing_waits() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CONFIRM],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
        input="",
    )
    assert (done.stdout, done.stderr) == ("None\n", "")
