"""Pictures: drawn whatever the run was like, of a slide's size, and saying what they show."""

import dataclasses
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="pictures need the extra `train`")

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tinyedge.core.errors import UsageError
from tinyedge.core.runs import Epoch, Point, TrainingRun
from tinyedge.train.report.curve import draw_comparison, draw_curve
from tinyedge.train.report.plotting import apart, shorten

Make = Callable[..., TrainingRun]


def run(
    epochs: int, best: int = 0, languages: tuple[str, ...] = ("en", "es"), trace: bool = True
) -> TrainingRun:
    """A run whose held-out loss is lowest in epoch `best`, the last by default."""
    history = []
    for number in range(1, epochs + 1):
        bits = 1.9 + abs(number - (best or epochs)) / 10
        by_language = {name: bits + 0.01 * place for place, name in enumerate(languages, 1)}
        history.append(
            Epoch(
                number,
                4.0,
                2.3 * bits,
                1e-3 / number,
                {"all": bits, **by_language},
                60.0 * number,
                10**6 * number,
            )
        )
    points = (
        [Point(10**5 * n, 6.0 * n, 9.0 / n, 1e-4 * n) for n in range(1, 10 * epochs + 1)] if trace else []
    )
    settings: dict[str, Any] = {"recipe": "fast", "epochs": epochs, "hardware": "cpu, 2 threads, fp32"}
    return TrainingRun(Path("runs/a"), "finished", settings, 2_327_552, 9000.0, tuple(history), tuple(points))


def size(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">2I", content[16:24])
    return width, height


@pytest.mark.parametrize(
    "value",
    [
        run(4),
        run(1),
        run(100, best=7),
        run(2, trace=False),
        run(3, languages=()),
    ],
    ids=["four", "one", "hundred", "no trace", "no language"],
)
def test_any_run_makes_a_slide(value: TrainingRun, tmp_path: Path) -> None:
    draw_curve(value, tmp_path / "curve.png")
    assert size(tmp_path / "curve.png") == (1920, 1080)
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]


def test_the_curve_says_what_it_shows(tmp_path: Path) -> None:
    draw_curve(run(20, best=7), tmp_path / "curve.svg")
    text = (tmp_path / "curve.svg").read_text()
    for words in ("2.33 M parameters", "recipe “fast”", "best: epoch 7 of 20, 1.900 bits per byte"):
        assert words in text
    for label in (
        "minutes",
        "tokens seen",
        "learning rate",
        "held out 7.36",
        "all 3.200",
        "en 3.210",
        "es 3.220",
    ):
        assert f">{label}<" in text
    assert text.count(">best: epoch 7<") == 2  # at the loss and at the bits


def test_the_end_of_the_training_line_is_named_by_its_last_epoch(tmp_path: Path) -> None:
    draw_curve(run(20), tmp_path / "curve.svg")
    assert ">training 4.00<" in (tmp_path / "curve.svg").read_text()  # its last point is at 0.05


def test_a_stopped_run_is_marked_and_stays_in_its_frame(tmp_path: Path) -> None:
    whole = run(10)
    stopped = dataclasses.replace(whole, status="stopped", history=whole.history[:3], trace=whole.trace[:39])
    figures: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", lambda figure, *_, **__: figures.append(figure))
        draw_curve(stopped, tmp_path / "curve.png")
    (figure,) = figures
    title, subtitle = (text.get_text() for text in figure.texts)
    assert title.endswith("recipe “fast”, stopped")
    assert "3.9 minutes" in subtitle
    for axes in figure.axes:
        for line in axes.lines:
            assert max(line.get_xdata(), default=0) <= axes.get_xlim()[1]


def test_a_run_of_seconds_is_told_in_seconds(tmp_path: Path) -> None:
    whole = run(3)
    history = tuple(dataclasses.replace(epoch, elapsed_s=epoch.elapsed_s / 90) for epoch in whole.history)
    quick = dataclasses.replace(whole, history=history, trace=())
    draw_curve(quick, tmp_path / "curve.svg")
    draw_comparison([quick], ["quick"], tmp_path / "runs.svg")
    for name in ("curve.svg", "runs.svg"):
        text = (tmp_path / name).read_text()
        assert ">seconds<" in text
        assert "minutes" not in text
    assert "2.0 seconds" in (tmp_path / "curve.svg").read_text()


def test_every_language_has_a_line(tmp_path: Path) -> None:
    draw_curve(run(2, languages=tuple("abcdefghijkl")), tmp_path / "curve.svg")
    text = (tmp_path / "curve.svg").read_text()
    assert all(f">{name} 1." in text or f">{name} 2." in text for name in "abcdefghijkl")


def test_the_last_epoch_needs_no_pointer_to_the_best(tmp_path: Path) -> None:
    draw_curve(run(3), tmp_path / "curve.svg")
    assert ">best: epoch 3<" not in (tmp_path / "curve.svg").read_text()


def test_many_runs_in_one_picture(tmp_path: Path) -> None:
    runs = [run(3) for _ in range(14)]
    draw_comparison(runs, [f"run {number}" for number in range(14)], tmp_path / "runs.svg")
    text = (tmp_path / "runs.svg").read_text()
    assert "of 14 runs" in text
    assert "1.900 run 9<" in text
    assert "run 10<" not in text  # grey, without a name


def test_a_run_that_does_not_say_its_tokens(tmp_path: Path) -> None:
    old = run(2)
    history = tuple(Epoch(*(*vars(epoch).values(),)[:-1], None) for epoch in old.history)  # type: ignore
    old = TrainingRun(old.folder, "finished", old.configuration, 1, 1.0, history, ())
    draw_comparison([run(3), old], ["new", "old"], tmp_path / "runs.png")
    assert size(tmp_path / "runs.png") == (1920, 1080)


def test_only_pictures_that_can_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"curve\.gif"):
        draw_curve(run(1), tmp_path / "curve.gif")


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12), st.floats(0.1, 50))
def test_labels_never_cover_each_other(places: list[float], gap: float) -> None:
    places = sorted(places)
    moved = apart(places, gap)
    assert len(moved) == len(places)
    assert all(high - low >= gap * 0.999 for low, high in itertools.pairwise(moved))
    if all(high - low >= gap for low, high in itertools.pairwise(places)):
        assert moved == pytest.approx(places)
    assert sum(moved) == pytest.approx(sum(places), abs=1e-6)


def test_long_names_lose_their_middle() -> None:
    assert shorten("trial-0001") == "trial-0001"
    assert shorten("a" * 20 + "b" * 20) == "a" * 14 + "…" + "b" * 14
