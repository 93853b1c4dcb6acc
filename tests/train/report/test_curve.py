"""Training curves: drawn for any run, in the size of a slide, with correct labels."""

import dataclasses
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="figures need the extra `train`")

import itertools

from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from tinyedge.core.errors import UsageError
from tinyedge.core.runs import Epoch, Point, TrainingRun
from tinyedge.train.report.curve import draw_comparison, draw_curve, find_plain_epoch
from tinyedge.train.report.plotting import shorten, spread_positions

Make = Callable[..., TrainingRun]


def make_run(
    epochs: int, best: int = 0, languages: tuple[str, ...] = ("en", "es"), trace: bool = True
) -> TrainingRun:
    """Return a run whose held-out loss is lowest in epoch `best`, by default the last."""
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


def read_size(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">2I", content[16:24])
    return width, height


@pytest.mark.parametrize(
    "value",
    [
        make_run(4),
        make_run(1),
        make_run(100, best=7),
        make_run(2, trace=False),
        make_run(3, languages=()),
    ],
    ids=["four", "one", "hundred", "no trace", "no language"],
)
def test_any_run_makes_a_slide(value: TrainingRun, tmp_path: Path) -> None:
    draw_curve(value, tmp_path / "curve.png")
    assert read_size(tmp_path / "curve.png") == (1920, 1080)
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"]


def test_the_curve_is_labelled(tmp_path: Path) -> None:
    draw_curve(make_run(20, best=7), tmp_path / "curve.svg")
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
    assert text.count(">best: epoch 7<") == 2  # at the loss and at the bits per byte


def test_the_training_line_is_labelled_with_its_last_epoch(tmp_path: Path) -> None:
    draw_curve(make_run(20), tmp_path / "curve.svg")
    assert ">training 4.00<" in (tmp_path / "curve.svg").read_text()  # its last point is at 0.05


def test_a_stopped_run_is_marked_and_fits_the_axes(tmp_path: Path) -> None:
    whole = make_run(10)
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


def test_a_short_run_is_shown_in_seconds(tmp_path: Path) -> None:
    whole = make_run(3)
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
    draw_curve(make_run(2, languages=tuple("abcdefghijkl")), tmp_path / "curve.svg")
    text = (tmp_path / "curve.svg").read_text()
    assert all(f">{name} 1." in text or f">{name} 2." in text for name in "abcdefghijkl")


def test_a_best_last_epoch_is_not_annotated(tmp_path: Path) -> None:
    draw_curve(make_run(3), tmp_path / "curve.svg")
    assert ">best: epoch 3<" not in (tmp_path / "curve.svg").read_text()


def test_many_runs_fit_one_figure(tmp_path: Path) -> None:
    runs = [make_run(3) for _ in range(14)]
    draw_comparison(runs, [f"run {number}" for number in range(14)], tmp_path / "runs.svg")
    text = (tmp_path / "runs.svg").read_text()
    assert "of 14 runs" in text
    assert "1.900 run 9<" in text
    assert "run 10<" not in text  # grey, without a name


def test_a_run_without_token_counts_is_drawn(tmp_path: Path) -> None:
    old = make_run(2)
    history = tuple(Epoch(*(*vars(epoch).values(),)[:-1], None) for epoch in old.history)  # type: ignore
    old = TrainingRun(old.folder, "finished", old.configuration, 1, 1.0, history, ())
    draw_comparison([make_run(3), old], ["new", "old"], tmp_path / "runs.png")
    assert read_size(tmp_path / "runs.png") == (1920, 1080)


def test_an_unknown_image_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"curve\.gif"):
        draw_curve(make_run(1), tmp_path / "curve.gif")


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12), st.floats(0.1, 50))
def test_labels_never_overlap(places: list[float], gap: float) -> None:
    places = sorted(places)
    moved = spread_positions(places, gap)
    assert len(moved) == len(places)
    assert all(high - low >= gap * 0.999 for low, high in itertools.pairwise(moved))
    if all(high - low >= gap for low, high in itertools.pairwise(places)):
        assert moved == pytest.approx(places)
    assert sum(moved) == pytest.approx(sum(places), abs=1e-6)


def test_long_names_are_shortened_in_the_middle() -> None:
    assert shorten("trial-0001") == "trial-0001"
    assert shorten("a" * 20 + "b" * 20) == "a" * 14 + "…" + "b" * 14


def test_the_step_to_plain_text_is_named_with_its_values(tmp_path: Path) -> None:
    run = make_run(10)
    run.configuration.update(segmentation_alpha=0.5)
    run = dataclasses.replace(
        run, history=tuple(dataclasses.replace(e, train_loss=4.5 - e.number / 10) for e in run.history)
    )
    assert find_plain_epoch(run) == 9
    draw_curve(run, tmp_path / "curve.svg")
    assert "plain text from epoch 9:" in (tmp_path / "curve.svg").read_text()
    assert "training 3.70 to 3.60" in (tmp_path / "curve.svg").read_text()


@pytest.mark.parametrize(
    "settings", [{}, {"segmentation_alpha": 0.0}, {"segmentation_alpha": 0.5, "max_minutes": 1.0}]
)
def test_without_such_a_step_nothing_is_named(settings: dict[str, Any], tmp_path: Path) -> None:
    run = make_run(10)
    run.configuration.update(settings)
    assert find_plain_epoch(run) is None
    draw_curve(run, tmp_path / "curve.svg")
    assert "plain text" not in (tmp_path / "curve.svg").read_text()


def test_the_first_epochs_have_no_such_step() -> None:
    one = make_run(1)
    one.configuration.update(segmentation_alpha=0.5)
    assert find_plain_epoch(one) is None
    stopped = make_run(3)
    stopped.configuration.update(segmentation_alpha=0.5, epochs=10)
    assert find_plain_epoch(stopped) is None


def test_a_diverged_epoch_does_not_flatten_the_others(tmp_path: Path) -> None:
    run = make_run(5)
    wild = dataclasses.replace(run.history[2], val_loss=46000.0)
    run = dataclasses.replace(run, history=(*run.history[:2], wild, *run.history[3:]))
    draw_curve(run, tmp_path / "curve.svg")
    text = (tmp_path / "curve.svg").read_text()
    assert "46,000" in text
    assert "40000" not in text


@pytest.mark.parametrize(("epochs", "best"), [(1, 0), (4, 0), (300, 7)])
def test_no_label_is_clipped_and_none_overlaps_the_other_panel(
    epochs: int, best: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: Any, **options: Any) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    draw_curve(make_run(epochs, best), tmp_path / "curve.png")
    (figure,) = figures
    figure.set_dpi(100)
    figure.canvas.draw()
    page = figure.bbox
    boxes = [axes.get_tightbbox() for axes in figure.axes if axes.get_position().x0 > 0.5]
    right_panel = min(box.x0 for box in boxes if box)
    for axes in figure.axes:
        for text in axes.texts:
            box = text.get_window_extent()
            assert page.x0 <= box.x0, text
            assert box.x1 <= page.x1, text
            assert page.y0 <= box.y0, text
            assert box.y1 <= page.y1, text
            if axes.get_position().x0 < 0.5:
                assert box.x1 < right_panel, text
