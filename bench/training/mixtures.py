"""What a table of n-grams brings to finished runs: model and table alone, both mixed, and learning.

    python -m bench.training.mixtures --run novels --run more=more_novels --text en=en.txt es=es.txt \
        --learn letters=letters.txt --output-dir out

Each run is exported as int8 with its table (`tinyedge export --ngram-mb`), and the texts are judged by
`tinyedge eval` on the bundle, with and without n-grams. The table alone is judged in the same windows. With
`--learn`, the first 21 kB of each file are learned (`tinyedge learn`), and the rest of the file is judged by
`tinyedge eval` before and after.

Writes `mixtures.json`, `mixtures.md` and the bundles to the output folder. A run is DIR or NAME=DIR: the
folder of a finished `tinyedge train`, with its token files.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.training.commands import (
    add_ngram_option,
    evaluate_texts,
    export_bundle,
    parse_run_folders,
    parse_texts,
    run_json,
    run_main,
)
from bench.training.table_alone import measure_texts
from tinyedge import __version__
from tinyedge.bundle.bundle import load_bundle
from tinyedge.core import files
from tinyedge.core.errors import BenchError, UsageError
from tinyedge.core.run_files import BEST_FILE
from tinyedge.core.runs import read_run
from tinyedge.text.tokenizer import Tokenizer

SCHEMA = "tinyedge.mixtures/1"
LEARNED_BYTES = 21_000  # of a text; `tinyedge learn` needs about 12 kB
NOTHING_LEARNED = "nothing was learned"  # how the error of `tinyedge learn` begins

Result = dict[str, Any]


def main() -> None:
    """Measure the runs, and write the report."""
    options = make_parser().parse_args()
    out: Path = options.output_dir
    runs = parse_run_folders(options.run)
    texts = parse_texts(options.text)
    pieces = {
        name: split_file(path, out / "texts", name)
        for name, path in parse_texts(options.learn, "--learn").items()
    }
    found = [
        measure_run(name, run, texts, pieces, out / name, options.ngram_mb) for name, run in runs.items()
    ]
    report = {
        "schema": SCHEMA,
        "tinyedge": __version__,
        "ngram_mb": options.ngram_mb,
        "learned_bytes": LEARNED_BYTES,
        "runs": found,
    }
    table = format_report(report)
    files.write_json(out / "mixtures.json", report)
    files.write_text(out / "mixtures.md", table)
    print(table)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", action="append", required=True, metavar="[NAME=]DIR", help="a finished run")
    parser.add_argument("--text", nargs="+", required=True, metavar="NAME=FILE", help="text to judge")
    parser.add_argument(
        "--learn", nargs="+", default=[], metavar="NAME=FILE", help="text to learn from, and to judge"
    )
    add_ngram_option(parser)
    parser.add_argument("--output-dir", type=Path, required=True)
    return parser


def split_file(path: Path, folder: Path, name: str) -> tuple[Path, Path]:
    """Write the first LEARNED_BYTES of a text to one file and the rest to another.

    The border is the last blank line of that part, or the last line break if its second half has none.

    Raises:
        UsageError: The text is too short for two parts.
    """
    data = path.read_bytes()
    border = data.rfind(b"\n\n", LEARNED_BYTES // 2, LEARNED_BYTES)
    if border < 0:
        border = data.rfind(b"\n", LEARNED_BYTES // 2, LEARNED_BYTES)
    if border < 0 or not data[border:].strip() or len(data) < LEARNED_BYTES:
        raise UsageError(
            f"--learn {name}: {path} has no rest to judge after {LEARNED_BYTES:,} bytes in lines",
            "pass a longer text",
        )
    parts = folder / f"{name}-first.txt", folder / f"{name}-rest.txt"
    folder.mkdir(parents=True, exist_ok=True)
    files.write_bytes(parts[0], data[: border + 1])
    files.write_bytes(parts[1], data[border + 1 :].lstrip(b"\n"))
    return parts


def measure_run(
    name: str,
    folder: Path,
    texts: Mapping[str, Path],
    pieces: Mapping[str, tuple[Path, Path]],
    out: Path,
    ngram_mb: float,
) -> Result:
    """Export a run and measure it.

    Args:
        name: Name of the run in the report.
        folder: Its folder.
        texts: Text files to judge by name.
        pieces: First part and rest of each text to learn, by name.
        out: Folder of the bundles.
        ngram_mb: Largest size of the table in MB.

    Raises:
        BenchError: A command failed.
    """
    run = read_run(folder)
    bundle = out / "bundle"
    out.mkdir(parents=True, exist_ok=True)
    manifest = export_bundle(folder / BEST_FILE, bundle, ngram_mb)
    loaded = load_bundle(bundle)
    alone = evaluate_texts(bundle, texts, "--no-ngrams").bits_per_byte
    table: Mapping[str, float] = {}
    mixed: Mapping[str, float] = {}
    if loaded.ngrams is not None:
        tokenizer = Tokenizer(loaded.tokenizer)
        table = measure_texts(loaded.ngrams, texts, tokenizer, loaded.config.max_seq_length)
        mixed = evaluate_texts(bundle, texts).bits_per_byte
    return {
        "name": name,
        "model_id": manifest["model_id"],
        "parameters": manifest["parameters"],
        "minutes": run.last.elapsed_s / 60,
        "corpus_sha256": run.configuration.get("corpus_sha256"),
        "ngrams_bytes": len(loaded.ngrams.data) if loaded.ngrams else None,
        "ngrams_order": loaded.ngrams.layout.order if loaded.ngrams else None,
        "weights": list(loaded.ngrams.weights) if loaded.ngrams else None,
        "texts": {
            text: {"model": bits, "ngrams": table.get(text), "mixed": mixed.get(text)}
            for text, bits in alone.items()
        },
        "learned": {
            text: measure_learning(bundle, *parts, out / f"learned-{text}") for text, parts in pieces.items()
        },
    }


def measure_learning(bundle: Path, first: Path, rest: Path, output_dir: Path) -> Result:
    """Learn the first part of a text, and judge the rest before and after.

    Returns:
        Bytes of both parts, and bits per byte of the rest. `after` is None if the command refuses, because
        the end of the first part is not predicted better.

    Raises:
        BenchError: A command failed for another reason.
    """
    before = evaluate_texts(bundle, {"rest": rest}).bits_per_byte["rest"]
    after, refused = None, None
    try:
        run_json("learn", bundle, "--input", first, "--output-dir", output_dir)
    except BenchError as failure:
        if NOTHING_LEARNED not in failure.message:
            raise
        refused = failure.message.replace(str(output_dir), output_dir.name)  # a report has no local paths
    else:
        after = evaluate_texts(output_dir, {"rest": rest}).bits_per_byte["rest"]
    return {
        "learned_bytes": first.stat().st_size,
        "judged_bytes": rest.stat().st_size,
        "before": before,
        "after": after,
        "refused": refused,
    }


def format_report(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown: a table of the mixtures, and one of what was learned."""
    runs: Sequence[Result] = report["runs"]
    names = list(runs[0]["texts"])
    lines = [
        f"Bits per byte by `tinyedge eval` on the int8 bundle; tables of up to {report['ngram_mb']:g} MB.",
        "",
        f"| run | | {' | '.join(names)} |",
        "|---" * (2 + len(names)) + "|",
    ]
    for run in runs:
        lines += format_run(run, names)
    learned = list(runs[0]["learned"])
    if learned:
        kilobytes = report["learned_bytes"] / 1000
        lines += [
            "",
            f"`tinyedge learn` with the first {kilobytes:.0f} kB of a text: bits per byte of its rest,"
            " before and after.",
            "",
            f"| text | rest | {' | '.join(run['name'] for run in runs)} |",
            "|---" * (2 + len(runs)) + "|",
        ]
        for text in learned:
            judged = runs[0]["learned"][text]["judged_bytes"]
            cells = [format_learning(run["learned"][text]) for run in runs]
            lines.append(f"| {text} | {judged / 1000:,.0f} kB | {' | '.join(cells)} |")
        means = [f"{mean_change(run['learned'].values()):+.2f}%" for run in runs]
        lines.append(f"| mean of {len(learned)} | | {' | '.join(means)} |")
    return "\n".join(lines) + "\n"


def format_run(run: Result, names: Sequence[str]) -> list[str]:
    """Return the rows of a run: the model alone, the table alone, and the mixture."""
    about = f"{run['name']}, {run['parameters'] / 1e6:.1f} M weights, {run['minutes']:.1f} minutes"
    texts = [run["texts"][name] for name in names]
    rows = [[about, "model alone", *(f"{text['model']:.4f}" for text in texts)]]
    if run["ngrams_bytes"] is None:
        rows.append(["", "no table: it would bring too little", *("" for _ in names)])
    else:
        size = f"{run['ngrams_order']}-grams alone, {run['ngrams_bytes'] / 1e6:.1f} MB"
        rows.append(["", size, *(f"{text['ngrams']:.4f}" for text in texts)])
        mixed = [f"{text['mixed']:.4f} ({100 * (text['mixed'] / text['model'] - 1):+.1f}%)" for text in texts]
        rows.append(["", "mixed", *mixed])
    return [f"| {' | '.join(row)} |" for row in rows]


def format_learning(learned: Result) -> str:
    """Return a cell: before, after and the change; or that the command refused."""
    if learned["after"] is None:
        return f"{learned['before']:.4f}, nothing learned"
    return f"{learned['before']:.4f} to {learned['after']:.4f} ({find_change(learned):+.2f}%)"


def find_change(learned: Result) -> float:
    """Return the change in percent; 0 if the command refused, for the bundle is then used as it is."""
    after = learned["before"] if learned["after"] is None else learned["after"]
    return 100.0 * (float(after) / float(learned["before"]) - 1)


def mean_change(learned: Iterable[Result]) -> float:
    """Return the mean change of several texts in percent."""
    changes = [find_change(each) for each in learned]
    return sum(changes) / len(changes)


if __name__ == "__main__":
    sys.exit(run_main(main))
