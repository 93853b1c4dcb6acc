"""Training curves: one run against tokens and time, or a comparison of several.

In: runs as `tinyedge.core.runs` reads them. Out: an image file. Does not know torch.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from tinyedge.core.runs import ALL, Epoch, TrainingRun
from tinyedge.train.recipe import AUGMENTED_SHARE, MAX_AUGMENTED_TOKENS
from tinyedge.train.report.plotting import (
    COLOURS,
    GREY,
    INK,
    MARGIN,
    Label,
    add_time_axis,
    choose_time_unit,
    format_token_axis,
    label_line_ends,
    limit_outliers,
    open_figure,
    shorten,
)

MAX_MARKERS = 24  # epochs; more markers would overlap
MAX_NAMED = 10  # runs; more names would overlap


def draw_curve(run: TrainingRun, path: Path) -> None:
    """Draw loss, held-out bits per byte by language, and learning rate, against tokens and time.

    Args:
        run: A run with at least one finished epoch.
        path: Image file.
    """
    with open_figure(path, _title(run), _subtitle(run)) as figure:
        left = figure.add_gridspec(
            2, 1, left=0.065, right=0.385, bottom=0.1, top=0.71, height_ratios=(3.4, 1)
        )
        right = figure.add_gridspec(1, 1, left=0.59, right=0.875, bottom=0.1, top=0.71)
        _draw_loss(figure.add_subplot(left[0]), run)
        _draw_rate(figure.add_subplot(left[1]), run)
        _draw_bits(figure.add_subplot(right[0]), run)


def draw_comparison(runs: Sequence[TrainingRun], names: Sequence[str], path: Path) -> None:
    """Draw the held-out bits per byte of runs, against tokens and against time.

    The best runs have a name and a colour, the rest are grey. A run whose metrics lack tokens has no line in
    the first panel.

    Args:
        runs: Runs, the best first.
        names: Their names.
        path: Image file.
    """
    best = runs[0].best.bits_per_byte[ALL]
    latest = max(run.last.elapsed_s for run in runs)
    unit, size = choose_time_unit(latest)
    title = "Held-out bits per byte of " + (f"{len(runs)} runs" if len(runs) > 1 else "one run")
    with open_figure(path, title, f"best: {names[0]}, {best:.3f}") as figure:
        grid = figure.add_gridspec(1, 2, left=0.065, right=0.74, bottom=0.1, top=0.83, wspace=0.06)
        tokens = figure.add_subplot(grid[0])
        times = figure.add_subplot(grid[1], sharey=tokens)
        for index in reversed(range(len(runs))):  # the best on top
            style = _line_style(index, len(runs))
            bits = [epoch.bits_per_byte[ALL] for epoch in runs[index].history]
            label = f"{runs[index].best.bits_per_byte[ALL]:.3f} {names[index]}"
            seen, seconds = _epoch_ends(runs[index])
            tokens.plot(seen, bits, **style)
            times.plot([moment / size for moment in seconds], bits, **style, label=shorten(label))
        format_token_axis(tokens, max(epoch.tokens or 1 for run in runs for epoch in run.history))
        times.set_xlim(0, latest / size * MARGIN)
        times.set_xlabel(unit)
        times.tick_params(labelleft=False)
        handles, labels = times.get_legend_handles_labels()
        named = slice(None, -1 - min(len(runs), MAX_NAMED), -1)
        times.legend(
            handles[named], labels[named], loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False
        )


def _line_style(index: int, count: int) -> dict[str, Any]:
    """Return line and marker of a run by its index: first other colours, then other dashes too."""
    if index >= MAX_NAMED:
        return {"color": "#C8C8C8", "linewidth": 1.3}
    dashes = ("-", "--", ":")[index // len(COLOURS)]
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": dashes,
        "marker": "o" if count < MAX_NAMED else "",
    }


def _title(run: TrainingRun) -> str:
    stopped = ", stopped" if run.status == "stopped" else ""
    recipe = run.configuration["recipe"]
    return f"TinyTransformer, {run.parameters / 1e6:.2f} M parameters, recipe “{recipe}”{stopped}"


def _subtitle(run: TrainingRun) -> str:
    best, epochs = run.best, run.configuration["epochs"]
    result = f"best: epoch {best.number} of {epochs}, {best.bits_per_byte[ALL]:.3f} bits per byte"
    seconds = _curve_end(run)[1]
    unit, size = choose_time_unit(seconds)
    effort = f"{seconds / size:.1f} {unit}, {run.tokens_per_second:,.0f} tokens/s"
    return f"{result}   ·   {effort}   ·   {run.configuration['hardware']}"


def _tokens(epoch: Epoch) -> float:
    return float("nan") if epoch.tokens is None else epoch.tokens


def _epoch_ends(run: TrainingRun) -> tuple[list[float], list[float]]:
    """Return tokens and seconds at the end of each epoch."""
    return [_tokens(epoch) for epoch in run.history], [epoch.elapsed_s for epoch in run.history]


def _curve_end(run: TrainingRun) -> tuple[float, float]:
    """Return tokens and seconds at the end of the curve. A stopped run has steps after its last epoch."""
    last = max(run.trace, key=lambda point: point.tokens, default=None)
    if last is None or last.tokens <= _tokens(run.last):
        return _tokens(run.last), run.last.elapsed_s
    return last.tokens, last.elapsed_s


def _draw_loss(axes: Axes, run: TrainingRun) -> None:
    tokens, seconds = _epoch_ends(run)
    end, end_s = _curve_end(run)
    held_out, training = COLOURS[0], GREY
    if run.trace:
        axes.plot([p.tokens for p in run.trace], [p.train_loss for p in run.trace], color=training)
    else:
        axes.plot(tokens, [epoch.train_loss for epoch in run.history], color=training, **_marker_style(run))
    axes.plot(tokens, [epoch.val_loss for epoch in run.history], color=held_out, **_marker_style(run))
    axes.set_title("Loss, nats per token")
    format_token_axis(axes, end)
    axes.set(xlabel="", xticklabels=[])  # the panel below shows them
    add_time_axis(axes, [*tokens, end], [*seconds, end_s])
    limit_outliers(axes, tokens, [epoch.val_loss for epoch in run.history])
    _mark_best(axes, run, run.best.val_loss, held_out)
    _mark_plain_text(axes, run)
    label_line_ends(
        axes,
        [
            Label(end, run.last.train_loss, f"training {run.last.train_loss:.2f}", training),
            Label(end, run.last.val_loss, f"held out {run.last.val_loss:.2f}", held_out),
        ],
    )


def _draw_rate(axes: Axes, run: TrainingRun) -> None:
    tokens, _ = _epoch_ends(run)
    x = [p.tokens for p in run.trace] or tokens
    rates = [p.learning_rate for p in run.trace] or [epoch.learning_rate for epoch in run.history]
    axes.fill_between(x, rates, color=COLOURS[3], alpha=0.35)
    axes.plot(x, rates, color=COLOURS[3])
    peak = max(rates)
    axes.set_ylim(0, 1.15 * peak)
    axes.set_yticks([0, peak], ["0", f"{peak:.2g}"])
    format_token_axis(axes, _curve_end(run)[0])
    label_line_ends(axes, [Label(_curve_end(run)[0], peak / 2, "learning rate", COLOURS[3])])


def _draw_bits(axes: Axes, run: TrainingRun) -> None:
    tokens, seconds = _epoch_ends(run)
    end, end_s = _curve_end(run)
    languages = [name for name in run.best.bits_per_byte if name != ALL]
    colours = dict(zip(languages, itertools.cycle(COLOURS[1:-1]), strict=False)) if len(languages) > 1 else {}
    colours[ALL] = INK
    ends = []
    for name, colour in colours.items():
        bits = [epoch.bits_per_byte[name] for epoch in run.history]
        axes.plot(tokens, bits, color=colour, **_marker_style(run), linestyle="--" if name == ALL else "-")
        ends.append(Label(end, bits[-1], f"{name} {bits[-1]:.3f}", colour))
    axes.set_title("Bits per byte of held-out text")
    format_token_axis(axes, end)
    add_time_axis(axes, [*tokens, end], [*seconds, end_s])
    limit_outliers(axes, tokens, [epoch.bits_per_byte[ALL] for epoch in run.history])
    _mark_best(axes, run, run.best.bits_per_byte[ALL], INK)
    label_line_ends(axes, ends)


def find_plain_epoch(run: TrainingRun) -> int | None:
    """Return the number of the first epoch on plain text, at which the training loss makes a step down.

    None if all epochs were on plain text, or if a time limit decided when they began.
    """
    epochs, settings = run.configuration["epochs"], run.configuration
    tokens = run.history[0].tokens
    if not settings.get("segmentation_alpha") or settings.get("max_minutes") or not tokens:
        return None
    first = int(AUGMENTED_SHARE * epochs) + 1
    return first if tokens <= MAX_AUGMENTED_TOKENS and 1 < first <= run.last.number else None


def _mark_plain_text(axes: Axes, run: TrainingRun) -> None:
    """Name the step of the training line where its text becomes plain, with the loss before and after."""
    number = find_plain_epoch(run)
    if number is None:
        return
    before, after = run.history[number - 2], run.history[number - 1]
    x = _tokens(before)
    nearest = min(run.trace, key=lambda point: abs(point.tokens - x), default=None)
    y = nearest.train_loss if nearest else before.train_loss
    axes.plot(x, y, "o", color=GREY, markersize=7, zorder=4)
    axes.annotate(
        f"plain text from epoch {number}:\ntraining {before.train_loss:.2f} to {after.train_loss:.2f}",
        (x, y),
        xytext=(0.98, 0.97),
        textcoords="axes fraction",
        ha="right",
        va="top",
        fontsize=12,
        color=GREY,
        arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 1.2},
    )


def _marker_style(run: TrainingRun) -> dict[str, Any]:
    """Return a marker for each epoch, smaller if there are many, or none."""
    epochs = len(run.history)
    return {
        "marker": "o" if epochs <= MAX_MARKERS else "",
        "markersize": 8 if epochs <= MAX_MARKERS // 2 else 5,
    }


def _mark_best(axes: Axes, run: TrainingRun, value: float, colour: str) -> None:
    """Draw a ring around the best epoch's point, and its name above unless it is the last epoch."""
    x = _tokens(run.best)
    axes.plot(x, value, "o", markersize=17, mfc="none", mec=colour, mew=2.2, clip_on=False)
    if run.best is run.last:
        return
    axes.axvline(x, color=GREY, linewidth=1.4, linestyle=":")
    left = x > _curve_end(run)[0] / 2
    axes.annotate(
        f"best: epoch {run.best.number}",
        (x, 0.96),
        xycoords=axes.get_xaxis_transform(),
        xytext=(-7 if left else 7, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="top",
    )
