"""Compare ways to train the same model on the same text and machine: quality against time.

- `guide`: the guide's recipe (AdamW at 3e-4, cosine by epochs), in tinyedge's loop.
- `plain`: the usual settings for GPT-2 (AdamW with a tuned rate, warm-up, cosine by steps, clipped gradients;
  those of nanoGPT), in a plain eager fp32 loop.
- `llama2.c`: the same loop with the settings of llama2.c. `bench.training.loops` says what is the same as
  there and what is not.
- `fast`: tinyedge's own recipe.
- `best`, with `--best-minutes`: several models, and one that learns from them; minutes are those of all.
- `n-grams`: no training, only a table of n-grams counted in the training tokens.

    python -m bench.training.compare --input novels.txt --text en=english.txt es=spanish.txt --output-dir out

Writes `compare.json`, `compare.md` and `compare.png` to the output folder. The bits per byte after each epoch
are those of the corpus' held-out documents. The last columns are the results of `tinyedge eval` on the given
texts: of the checkpoint, and of the same model with its n-grams, as `tinyedge export --quantize none` mixes
them, with weights chosen on the run's held-out documents. `fast` also runs for a fraction of a minute, to
find how soon it reaches the best quality of `guide`. Throughput is measured separately, with plain and fast
steps alternating in one process; the result is the median of the ratios. Runs that are finished in the output
folder are reused. Flags after `--` go to every `tinyedge train`, such as `-- --preset small`.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.training.commands import (
    add_ngram_option,
    evaluate_texts,
    export_bundle,
    parse_texts,
    run_main,
    run_shown,
    split_words,
)
from bench.training.loops import LLAMA2C, PLAIN, measure_throughput, train_loop
from bench.training.table_alone import count_table, measure_held_out, measure_texts
from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import UsageError
from tinyedge.core.run_files import FINAL_FILE, TEACHERS_FOLDER
from tinyedge.core.runs import METRICS_FILE
from tinyedge.export.ngram_table import DEFAULT_ORDER
from tinyedge.text.shards import FOLDER as SHARDS_FOLDER
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer, model_name
from tinyedge.train.hardware import choose_hardware
from tinyedge.train.recipe import BEST, FAST, GUIDE

SCHEMA = "tinyedge.training-compare/2"
TABLE = "n-grams"

Texts = dict[str, Path]
Run = dict[str, Any]  # points, judged, judged_with_ngrams


def main() -> None:
    """Run the comparison."""
    words, train_flags = split_words(sys.argv[1:])
    options = make_parser().parse_args(words)
    out: Path = options.output_dir
    texts = parse_texts(options.text)
    files.require_file(options.input, UsageError)

    def train(name: str, recipe: str, epochs: int, *flags: str) -> Run:
        return train_recipe(out / name, options.input, recipe, epochs, *flags, *train_flags)

    runs = {
        "fast": train("fast", "fast", options.fast_epochs),
        "fast-short": train("fast-short", "fast", 1, "--max-minutes", str(options.short_minutes)),
        "guide": train("guide", "guide", options.guide_epochs),
    }
    if options.best_minutes:
        runs["best"] = train("best", "best", BEST.epochs, "--max-minutes", str(options.best_minutes))
    metrics = json.loads((out / "fast" / METRICS_FILE).read_text())
    config = ModelConfig.from_dict(metrics["configuration"]["model"])
    for settings in (PLAIN, LLAMA2C):
        points = train_loop(settings, out / "fast", config, options.plain_epochs, out / settings.name)
        runs[settings.name] = {"points": points}
    for name, run in runs.items():
        run.update(judge(out / name, texts, options.ngram_mb))
    tokenizer = Tokenizer.load(out / "fast" / model_name(config.vocab_size))
    shards = Shards.load(out / "fast" / SHARDS_FOLDER, tokenizer)
    runs[TABLE] = count_ngrams(shards, tokenizer, texts, config.max_seq_length, options.ngram_mb)
    report = {
        "schema": SCHEMA,
        "hardware": choose_hardware("auto", "auto").description,
        "model": config.to_dict(),
        "ngram_mb": options.ngram_mb,
        "runs": runs,
        "throughput_ratios": measure_throughput(shards, tokenizer, config),
        "time_to_guide_quality": time_to_quality(runs, "guide", "fast-short"),
    }
    files.write_json(out / "compare.json", report)
    files.write_text(out / "compare.md", format_table(report))
    draw_chart(report, out / "compare.png")
    print(format_table(report))


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, required=True, help="text to train on")
    parser.add_argument("--text", nargs="+", default=[], metavar="NAME=FILE", help="text to evaluate on")
    parser.add_argument("--output-dir", type=Path, default=Path("training-compare"))
    parser.add_argument("--guide-epochs", type=int, default=GUIDE.epochs)
    parser.add_argument("--plain-epochs", type=int, default=5, help="epochs of `plain` and `llama2.c`")
    parser.add_argument("--fast-epochs", type=int, default=FAST.epochs)
    parser.add_argument("--short-minutes", type=float, default=0.5, help="length of the short run of fast")
    parser.add_argument(
        "--best-minutes", type=float, help="length of the run of best, of which there is none otherwise"
    )
    add_ngram_option(parser)
    return parser


def train_recipe(folder: Path, text: Path, recipe: str, epochs: int, *flags: str) -> Run:
    """Run `tinyedge train`, and read its curve, which begins after its teachers if it has some."""
    run_shown(
        *("train", "--input", text, "--output-dir", folder, "--recipe", recipe, "--epochs", epochs), *flags
    )
    metrics = json.loads((folder / METRICS_FILE).read_text())
    teachers = (folder / TEACHERS_FOLDER).glob(f"*/{METRICS_FILE}")
    begin_s = sum(json.loads(path.read_text())["elapsed_s"] for path in teachers)
    points = [
        {
            "minutes": (begin_s + record["elapsed_s"]) / 60,
            "tokens": record["tokens"],
            "bits_per_byte": record["val_bits_per_byte"],
        }
        for record in metrics["epoch_history"]
    ]
    return {"points": points}


def judge(folder: Path, texts: Texts, ngram_mb: float) -> Run:
    """Evaluate the final model of a run on texts, alone and with its n-grams.

    Returns:
        Bits per byte by the name of the text, as `judged` and `judged_with_ngrams`. The latter is None if
        there is no text, or if export leaves the table out because it brings too little.
    """
    if not texts:
        return {"judged": {}, "judged_with_ngrams": None}
    alone = evaluate_texts(folder / FINAL_FILE, texts)
    bundle = folder / "mixed"
    precision = ("--quantize", "none")  # that of the checkpoint: only the table differs
    export_bundle(folder / FINAL_FILE, bundle, ngram_mb, *precision)
    mixed = evaluate_texts(bundle, texts)
    return {
        "judged": alone.bits_per_byte,
        "judged_with_ngrams": mixed.bits_per_byte if mixed.is_mixed else None,
    }


def count_ngrams(shards: Shards, tokenizer: Tokenizer, texts: Texts, context: int, ngram_mb: float) -> Run:
    """Count the n-grams of the training tokens, and evaluate them alone: a run of one point."""
    table = count_table(shards, tokenizer.vocab_size, DEFAULT_ORDER, ngram_mb)
    point = {
        "minutes": table.seconds / 60,
        "tokens": table.tokens,
        "bits_per_byte": measure_held_out(table.file, shards, context),
    }
    return {
        "points": [point],
        "judged": measure_texts(table.file, texts, tokenizer, context),
        "judged_with_ngrams": None,
        "order": DEFAULT_ORDER,
        "bytes": len(table.file.data),
    }


def time_to_quality(runs: dict[str, Any], slow: str, quick: str) -> dict[str, float] | None:
    """Return when `slow` and `quick` reach the best quality of `slow`, in minutes; None if `quick` fails."""
    best = min(runs[slow]["points"], key=lambda point: point["bits_per_byte"]["all"])
    goal = best["bits_per_byte"]["all"]
    for point in runs[quick]["points"]:
        if point["bits_per_byte"]["all"] <= goal:
            return {"goal": goal, slow: best["minutes"], quick: point["minutes"]}
    return None


def format_table(report: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    runs = report["runs"]
    names = sorted({name for run in runs.values() for name in run["judged"]})
    headings = ["recipe", "epochs", "minutes", "held-out documents, bits per byte"]
    headings += [heading for name in names for heading in (f"{name}, bits per byte", f"{name} with n-grams")]
    lines = [
        f"{report['hardware']}, one machine, one run after the other.",
        "",
        f"| {' | '.join(headings)} |",
        "|---" * len(headings) + "|",
    ]
    for name, run in runs.items():
        for number, point in enumerate(run["points"], 1):
            last = number == len(run["points"])
            cells = [name, str(number), f"{point['minutes']:.1f}", f"{point['bits_per_byte']['all']:.3f}"]
            if name == TABLE:
                cells[1:3] = ["none", f"{point['minutes']:.2f}"]
            columns = (run["judged"], run["judged_with_ngrams"] or {})
            cells += [
                f"{judged[text]:.3f}" if last and text in judged else ""
                for text in names
                for judged in columns
            ]
            lines.append(f"| {' | '.join(cells)} |")
    ratios = report["throughput_ratios"]
    table = runs[TABLE]
    lines += [
        "",
        f"`{TABLE}` is a table alone, of up to {table['order']} tokens and {table['bytes'] / 1e6:.1f} MB,"
        f" counted in {table['points'][0]['tokens']:,} training tokens; its minutes are those of counting."
        " `plain` has nanoGPT's settings, `llama2.c` those of llama2.c, in the same loop, with one model.",
        "",
        f"Throughput of fast over plain: {statistics.median(ratios):.2f} (median of {len(ratios)} turns,"
        f" {min(ratios):.2f} to {max(ratios):.2f}).",
    ]
    reached = report["time_to_guide_quality"]
    if reached:
        lines.append(
            f"The guide's recipe was best after {reached['guide']:.1f} minutes, at {reached['goal']:.3f} bits"
            f" per byte; a short run of fast that is better took {reached['fast-short']:.2f} minutes:"
            f" 1/{reached['guide'] / reached['fast-short']:.0f}."
        )
    return "\n".join(lines) + "\n"


def draw_chart(report: dict[str, Any], path: Path) -> None:
    """Draw held-out bits per byte against minutes."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, run in report["runs"].items():
        minutes = [point["minutes"] for point in run["points"]]
        bits = [point["bits_per_byte"]["all"] for point in run["points"]]
        (line,) = axes.plot(minutes, bits, marker="o", markersize=4)
        axes.annotate(f" {name}", (minutes[-1], bits[-1]), color=line.get_color(), va="center", fontsize=12)
    axes.set_xscale("log")
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("held-out documents, bits per byte")
    axes.set_title(f"Quality against time: {report['hardware']}")
    axes.grid(alpha=0.3)
    axes.margins(x=0.15)
    with files.atomic_writer(path) as file:
        figure.savefig(file, format="png", dpi=130)


if __name__ == "__main__":
    sys.exit(run_main(main))
