"""What a larger shape buys: quality against milliseconds and megabytes, one dot a shape.

    python -m bench.training.presets --input novels.txt --minutes 10 --text en=en.txt --output-dir out
    python -m bench.training.presets --run tiny=DIR --run small=DIR --text en=en.txt --output-dir out

With `--input`, the presets, the shape that `tinyedge train --budget` chooses for the board,
and each `--shape D_MODEL/LAYERS` are trained for the same number of minutes; runs that are finished in the
output folder are reused. With `--run`, finished runs are used instead, and nothing is trained. Each is
exported as int8 with a table of n-grams and judged by `tinyedge eval`, with and without the table. The
formula of `tinyedge fit` gives the milliseconds of an answer and the peak memory on the board.

Writes `presets.json`, `presets.md`, `presets.png`, `presets.svg` and the bundles to the output folder. Flags
after `--` go to every `tinyedge train`.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.training.commands import (
    add_ngram_option,
    evaluate_texts,
    export_bundle,
    parse_run_folders,
    parse_texts,
    run_main,
    run_shown,
    split_words,
)
from bench.training.presets_picture import draw_presets
from tinyedge import __version__
from tinyedge.boards import DEFAULT_BOARD
from tinyedge.boards.load import load_board
from tinyedge.bundle.bundle import load_bundle
from tinyedge.core import files
from tinyedge.core.config import PRESETS, ModelConfig
from tinyedge.core.errors import UsageError
from tinyedge.core.run_files import BEST_FILE
from tinyedge.core.runs import read_run
from tinyedge.fit.search import MB
from tinyedge.fit.training_shapes import BoardShapes, make_usual_shape

SCHEMA = "tinyedge.presets/1"

Result = dict[str, Any]


def main() -> None:
    """Train or read the runs, measure them, and write the report."""
    words, train_flags = split_words(sys.argv[1:])
    options = make_parser().parse_args(words)
    out: Path = options.output_dir
    texts = parse_texts(options.text)
    shapes = BoardShapes.from_board(options.board)
    if options.run:
        if options.input or options.minutes or options.shape or train_flags:
            raise UsageError(
                "--run uses finished runs, so nothing is trained", "omit --input and its options"
            )
        runs = parse_run_folders(options.run)
    else:
        if not options.input or not options.minutes:
            raise UsageError(
                "--input and --minutes are missing, or --run", "pass a text to train on, or finished runs"
            )
        files.require_file(options.input, UsageError)
        flags = list_flags(options.board, options.shape)
        runs = {name: out / "runs" / name.replace("/", "-") for name in flags}
        for name, folder in runs.items():
            run_shown(
                *("train", "--input", options.input, "--output-dir", folder),
                *("--max-minutes", options.minutes, *flags[name], *train_flags),
            )
    found = [
        measure_run(name, folder, out / "bundles" / name.replace("/", "-"), texts, shapes, options.ngram_mb)
        for name, folder in runs.items()
    ]
    report = make_report(found, shapes, options.ngram_mb)
    table = format_table(report)
    files.write_json(out / "presets.json", report)
    files.write_text(out / "presets.md", table)
    for suffix in (".png", ".svg"):
        draw_presets(report, out / f"presets{suffix}")
    print(table)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, help="text to train on")
    parser.add_argument("--minutes", type=float, help="minutes of training for each shape")
    parser.add_argument(
        "--shape", action="append", default=[], metavar="D_MODEL/LAYERS", help="a further shape to train"
    )
    parser.add_argument("--run", action="append", default=[], metavar="[NAME=]DIR", help="a finished run")
    parser.add_argument("--text", nargs="+", required=True, metavar="NAME=FILE", help="text to judge")
    parser.add_argument("--board", default=DEFAULT_BOARD, help="the board: its name or its JSON file")
    add_ngram_option(parser)
    parser.add_argument("--output-dir", type=Path, required=True)
    return parser


def list_flags(board: str, shapes: Sequence[str]) -> dict[str, list[str]]:
    """Return the flags of `tinyedge train` for each shape, by its name in the report.

    Raises:
        UsageError: A shape is not D_MODEL/LAYERS, or outside the ranges of a model.
    """
    flags = {name: ["--preset", name] for name in PRESETS}
    flags["budget"] = ["--budget", board]
    for shape in shapes:
        config = parse_shape(shape)
        flags[shape] = [
            word
            for name in ("d_model", "num_layers", "dim_feedforward", "nhead")
            for word in (f"--{name.replace('_', '-')}", str(getattr(config, name)))
        ]
    return flags


def parse_shape(text: str) -> ModelConfig:
    """Return a shape of usual proportions, as `tinyedge train --budget` considers them.

    Raises:
        UsageError: The text is not D_MODEL/LAYERS, or the shape is outside the ranges of a model.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match:
        raise UsageError(f"--shape {text} is not D_MODEL/LAYERS", "for example --shape 192/3")
    width, layers = map(int, match.groups())
    return make_usual_shape(width, layers)


def measure_run(
    name: str, folder: Path, bundle: Path, texts: Mapping[str, Path], shapes: BoardShapes, ngram_mb: float
) -> Result:
    """Export a run, judge it, and compute what it costs on the board.

    Args:
        name: Name of the run in the report.
        folder: Its folder.
        bundle: Folder of its bundle.
        texts: Text files to judge by name.
        shapes: The board.
        ngram_mb: Largest size of the table in MB.

    Raises:
        BenchError: A command failed.
    """
    run = read_run(folder)
    bundle.parent.mkdir(parents=True, exist_ok=True)
    export_bundle(folder / BEST_FILE, bundle, ngram_mb)
    loaded = load_bundle(bundle)
    ngrams_bytes = len(loaded.ngrams.data) if loaded.ngrams else 0
    sized = shapes.size(loaded.config, ngrams_bytes / MB)
    alone = evaluate_texts(bundle, texts, "--no-ngrams").bits_per_byte
    shipped = evaluate_texts(bundle, texts).bits_per_byte
    return {
        "name": name,
        "model": loaded.config.to_dict(),
        "parameters": loaded.config.parameters,
        "minutes": run.last.elapsed_s / 60,
        "corpus_sha256": run.configuration.get("corpus_sha256"),
        "bits_per_byte": shipped,
        "model_bits_per_byte": alone,
        "mean_bits_per_byte": fmean(shipped.values()),
        "p95_modelled_ms": sized.p95_ms,
        "p95_bound_ms": sized.bound_ms,
        "peak_modelled_bytes": sized.peak_rss,
        "fits": sized.fits,
        "bundle_bytes": sum(file.stat().st_size for file in bundle.iterdir()),
        "ngrams_bytes": ngrams_bytes,
    }


def make_report(runs: Sequence[Result], shapes: BoardShapes, ngram_mb: float) -> Result:
    """Make the report; the fastest shape comes first."""
    return {
        "schema": SCHEMA,
        "tinyedge": __version__,
        "board": shapes.model.board,
        "board_title": load_board(shapes.board).title,
        "max_p95_ms": shapes.budget.max_p95_ms,
        "max_tokens": shapes.budget.max_tokens,
        "margin": shapes.model.latency.margin,
        "error_percent": shapes.model.latency.error_percent,
        "ngram_mb": ngram_mb,
        "runs": sorted(runs, key=lambda run: float(run["p95_modelled_ms"])),
    }


def format_table(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    names = list(report["runs"][0]["bits_per_byte"])
    headings = ["", "weights", "minutes", *(f"{name}, model alone" for name in names)]
    headings += [*(f"{name}, with n-grams" for name in names), "p95, modelled", "with the margin"]
    headings += ["peak, modelled", "bundle"]
    lines = [
        f"Bits per byte by `tinyedge eval` on int8 bundles. {report['max_tokens']} tokens on a"
        f" {report['board_title']}: p95 ±{report['error_percent']:g}%, of at most"
        f" {report['max_p95_ms']:g} ms with the margin.",
        "",
        f"| {' | '.join(headings)} |",
        "|---" * len(headings) + "|",
    ]
    for run in report["runs"]:
        cells = [
            run["name"],
            f"{run['parameters']:,}",
            f"{run['minutes']:.1f}",
            *(f"{run['model_bits_per_byte'][name]:.3f}" for name in names),
            *(f"{run['bits_per_byte'][name]:.3f}" if run["ngrams_bytes"] else "" for name in names),
            f"{run['p95_modelled_ms']:.0f} ms",
            f"{run['p95_bound_ms']:.0f} ms",
            f"{run['peak_modelled_bytes'] / MB:.0f} MB",
            f"{run['bundle_bytes'] / 1e6:.1f} MB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_main(main))
