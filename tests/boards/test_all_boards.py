"""Every board that ships: what the commands need is in its file, or they say in one line what it lacks."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from tinyedge.bench.target_board import BundleTarget, describe_target, is_board
from tinyedge.boards.board import Board
from tinyedge.boards.load import board_file, board_names, known_boards, load_board, wheel_platform
from tinyedge.core.config import ModelConfig
from tinyedge.doctor.libraries import find_bad_package
from tinyedge.host.machine import describe_machine

BOARDS = [load_board(name) for name in board_names()]
each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: str(board.name))
# Models in the device trees of real boards.
MODELS = {
    "pi-zero-2w": "Raspberry Pi Zero 2 W Rev 1.0",
    "pi-3b-plus": "Raspberry Pi 3 Model B Plus Rev 1.3",
    "pi-5": "Raspberry Pi 5 Model B Rev 1.0",
    "x86-64": None,
}
OTHER_MODELS = ("Raspberry Pi 3 Model B Rev 1.2", "Raspberry Pi 4 Model B Rev 1.1", None)


@each_board
def test_fit_lists_shapes_or_says_that_the_file_has_no_cost_model(board: Board) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tinyedge", "fit", "--target", board.name, "--json"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if board.cost_model is not None:
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["target"] == board.name
        return
    error, hint = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert error == f"error: --target {board.name} has no cost model"
    assert hint.startswith("hint: choose one of: ")


@each_board
def test_a_machine_is_recognized_as_one_board_only(board: Board) -> None:
    machine = replace(describe_machine(), machine=board.processor.machine, model=MODELS[board.name])
    assert [other.name for other in BOARDS if is_board(machine.machine, machine.model, other)] == [board.name]
    for model in OTHER_MODELS:
        arm = replace(machine, machine="aarch64", model=model)
        assert [other.name for other in BOARDS if is_board(arm.machine, arm.model, other)] == []


@each_board
def test_bench_elsewhere_models_the_board_or_says_that_nothing_is_known(board: Board) -> None:
    elsewhere = replace(describe_machine(), machine="riscv64", model=None)
    target = BundleTarget(board.name, ModelConfig(), "int8")
    found = describe_target(target, elsewhere, [7, 85], 20, board.budgets.max_p95_ms)
    assert found.sentence.startswith(
        f"measured on this machine, not on the bundle's target, {board.title}; "
        + ("modelled there" if board.cost_model else "nothing is known about the time of this int8 model")
    )


@each_board
def test_doctor_reports_the_bad_release_where_the_processor_lacks_its_feature(board: Board) -> None:
    processor = board.processor
    device = replace(
        describe_machine(),
        machine=processor.machine,
        features=processor.features,
        onnxruntime="1.21.0",
    )
    dies = processor.machine == "aarch64" and not processor.has_feature("atomics")
    assert (find_bad_package(device) is not None) == dies
    assert bool(board.bad_packages) == dies


@each_board
def test_a_kit_for_it_gets_wheels_that_it_can_install(board: Board) -> None:
    platform = wheel_platform(board.processor.machine, board.pythons)
    assert platform == board.wheel_platform
    assert set(platform.platforms) <= set(board.wheel_platform.platforms)


def test_a_board_with_a_newer_system_does_not_change_the_kits_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = wheel_platform("aarch64", ("3.11",))
    zero = load_board("pi-zero-2w")
    newer = replace(zero, name="a-new-board", wheels=replace(zero.wheels, newest_glibc="2.41"))
    monkeypatch.setattr("tinyedge.boards.load.known_boards", lambda: [newer, *BOARDS])
    assert wheel_platform("aarch64", ("3.11",)).platforms == before.platforms


def resolve(value: Any, path: str) -> Any:
    """The part of a board's file that a note is about."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


@each_board
def test_each_note_is_about_a_field_that_the_file_has_or_says_that_it_is_left_out(board: Board) -> None:
    value = json.loads(board_file(board.name).read_text())
    for path, note in board.notes.items():
        assert (resolve(value, path) is None) == note.startswith("left out"), path


def test_the_known_boards_are_the_files() -> None:
    assert known_boards() == BOARDS


def test_reads_of_the_card_are_near_those_that_were_published() -> None:
    """Random reads of iozone in kB/s, by size in kB; the source is in the board's notes."""
    storage = load_board("pi-zero-2w").storage
    assert storage is not None
    for size, speed in {4: 5331, 16: 14159, 512: 22870, 1024: 22904, 16384: 23036}.items():
        assert storage.seconds(1, size * 1024) == pytest.approx(size / speed, rel=0.11)
