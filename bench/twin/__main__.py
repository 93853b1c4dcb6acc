"""A Raspberry Pi Zero 2 W for people without one: its processor is emulated, its latency modelled.

    python -m bench.twin --help

Everything is in build/twin (or $TWIN, or --folder), which may be deleted at any time. No step needs root.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.twin.build import build, make_plugin
from bench.twin.counts import Counts, Figures, sum_by_file
from bench.twin.layout import (
    BOARD,
    CORES,
    LATENCY,
    REPORTS,
    REPOSITORY,
    Twin,
    TwinError,
    UnavailableError,
    locate_twin,
)
from bench.twin.measure import measure_bundle
from bench.twin.report import add_comparison, compose_report, read_versions, render
from bench.twin.self_check import (
    check_instructions,
    check_kernels,
    check_logits,
    check_onnxruntime,
    check_text,
    write_wide_bundle,
)
from bench.twin.system_emulation import check_system
from bench.twin.user_emulation import Guest
from tinyedge.boards.load import board_file, load_board
from tinyedge.bundle.bundle import load_bundle
from tinyedge.core import files
from tinyedge.core.engine import KERNELS, ONNXRUNTIME
from tinyedge.core.errors import TinyEdgeError
from tinyedge.fit.cost_model import CostModel, require_cost_data

BUNDLES = REPOSITORY / "tests" / "data"
GREEDY_BUNDLE, INT8_BUNDLE = BUNDLES / "micro_bundle_fp32", BUNDLES / "micro_bundle_int8"
RECORDED = REPORTS / f"twin-{BOARD.name}.json"
SCALE = REPORTS / f"scale-{BOARD.name}.json"
SCALE_NGRAMS = REPORTS / f"scale-ngrams-{BOARD.name}.json"
PARTS = REPORTS / f"parts-{BOARD.name}.json"
LATENCY_REPORT = REPORTS / f"latency-{BOARD.name}.json"
OTHER_BOARD = "pi-3b-plus"  # the same core; its networks are not fitted
GATE_FAILED = 3  # as `tinyedge bench` exits


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; a known failure becomes an error line, a hint and an exit code."""
    options = make_parser().parse_args(arguments)
    try:
        board = load_board(getattr(options, "board", BOARD.name))
        return int(options.run(locate_twin(options.folder, options.suite, board), options))
    except TinyEdgeError as failure:
        print(
            f"error: {failure.message}",
            *([f"hint: {failure.hint}"] if failure.hint else []),
            sep="\n",
            file=sys.stderr,
        )
        return failure.exit_code
    except KeyboardInterrupt:
        return 130


def make_parser() -> argparse.ArgumentParser:
    """Define the subcommands."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--folder", type=Path, help="where the twin is built (default: $TWIN, else build/twin)")
    top.add_argument("--suite", default="bookworm", help="Debian of the board (default: %(default)s)")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, action: object, text: str) -> argparse.ArgumentParser:
        subparser = commands.add_parser(name, help=text, description=text)
        subparser.set_defaults(run=action)
        return subparser

    build_command = command("build", run_build, "build what is missing, update tinyedge")
    check = command(
        "check",
        run_check,
        "check the emulated processor, and that text and logits are the same on it",
    )
    check.add_argument(
        "--or-skip", action="store_true", help="if a twin cannot be built, print the reason and succeed"
    )
    measure = command("measure", run_measure, "count a bundle's answers and its cold start")
    measure.add_argument(
        "--engine",
        choices=(KERNELS, ONNXRUNTIME),
        default="",
        help="engine to use (default: tinyedge chooses)",
    )
    report = command(
        "report", run_report, "everything: check, measure twice, boot, evaluate the gates, write the report"
    )
    for bundle_command in (measure, report):
        bundle_command.add_argument("bundle", type=Path, help="folder that `tinyedge export` wrote")
    for greedy_command in (check, report):
        greedy_command.add_argument(
            "--greedy-bundle", type=Path, default=GREEDY_BUNDLE,
            help="an fp32 bundle, to compare its text with this machine (default: that of the tests)",
        )  # fmt: skip
    report.add_argument(
        "--json", type=Path, help="file of the report (default: report.json in the twin's folder)"
    )
    report.add_argument(
        "--against",
        type=Path,
        default=RECORDED,
        help="recorded report to compare with (default: %(default)s)",
    )
    report.add_argument(
        "--record", action="store_true", help="replace the recorded report if this one passes"
    )
    scale = command(
        "scale",
        run_scale,
        "count and boot bundles of many shapes, and fit the formula of `tinyedge fit` to them",
    )
    scale.add_argument("--resume", action="store_true", help="continue an interrupted sweep")
    scale.add_argument(
        "--only-ngrams",
        action="store_true",
        help="count bundles with a table of n-grams only, and fit what it costs; the rest stays",
    )
    parts = command("parts", run_parts, "count what a decoded token and a start consist of, in both engines")
    parts.add_argument("bundle", type=Path, help="folder that `tinyedge export` wrote")
    parts.add_argument("--record", action="store_true", help="replace the recorded report")
    published = command(
        "published", run_published, "count the programs of published measurements of boards with this core"
    )
    published.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a program, or the beginning of its name"
    )
    published.add_argument(
        "--threads", type=int, choices=range(1, CORES + 1), default=1,
        help="threads of programs that can use them; several are played by one (default: %(default)s)",
    )  # fmt: skip
    published.add_argument(
        "--ncnn",
        type=Path,
        metavar="FOLDER",
        help="clone of ncnn's repository; needed once, for its networks",
    )
    latency = command(
        "latency", run_latency, "fit the latency model to the published measurements, and show its errors"
    )
    latency.add_argument(
        "--record", action="store_true", help="replace the report, and the latency model in the board's file"
    )
    command("quote", run_quote, "update tables and pictures of README.md and docs from the recorded reports")
    python = command("python", run_python, "run the board's Python: python -- script.py ARGUMENTS")
    python.add_argument("arguments", nargs="+")
    for board_command in (build_command, check, python):  # the others count or boot
        board_command.add_argument(
            "--board", default=BOARD.name,
            help="another board to emulate, its name or its JSON file (default: %(default)s)",
        )  # fmt: skip
    count = command(
        "count", run_count,
        "count a script, in all and between its os.getsid(0) calls: count -- script.py ARGUMENTS",
    )  # fmt: skip
    count.add_argument(
        "--runs", nargs=2, type=int, metavar=("LOW", "HIGH"),
        help="run twice, with {n} in the arguments replaced by each number, and print the cost of one n",
    )  # fmt: skip
    count.add_argument(
        "--blocks",
        type=int,
        default=0,
        metavar="N",
        help="print the N most expensive files and blocks of code",
    )
    count.add_argument("arguments", nargs="+")
    return top


def run_build(twin: Twin, options: argparse.Namespace) -> int:
    """Run the subcommand `build`."""
    build(twin)
    return 0


def run_check(twin: Twin, options: argparse.Namespace) -> int:
    """Run the subcommand `check`."""
    load_bundle(options.greedy_bundle)
    try:
        build(twin)
        for sentence in run_checks(Guest(twin), options.greedy_bundle, INT8_BUNDLE):
            print(sentence, flush=True)
    except UnavailableError as lack:
        if not options.or_skip:
            raise
        print(f"twin: skipped: {lack.message}")
    return 0


def run_checks(guest: Guest, greedy_bundle: Path, bundle: Path) -> Iterator[str]:
    """Check that the twin is the board.

    Args:
        guest: The twin.
        greedy_bundle: An fp32 bundle, to compare text in both engines.
        bundle: A bundle to compare text and logits in the kernels. They are compared on a bundle with wide
            rows too, which is made here, and ONNX Runtime's logits on one of the tests.

    Yields:
        A sentence for each check that passed.
    """
    yield check_instructions(guest)
    yield check_onnxruntime(guest)
    yield check_kernels(guest)
    wide = write_wide_bundle(guest.twin.folder / "wide", (INT8_BUNDLE / "tokenizer.model").read_bytes())
    for checked in (bundle, greedy_bundle, wide):
        yield check_text(guest, checked, KERNELS)
    for quantized in (bundle, wide):
        yield check_logits(guest, quantized, KERNELS)
    yield check_text(guest, greedy_bundle, ONNXRUNTIME)
    # Of short prompts: one int8 step that is rounded otherwise changes all logits of a text that follow it.
    yield check_logits(guest, INT8_BUNDLE, ONNXRUNTIME)


def run_measure(twin: Twin, options: argparse.Namespace) -> int:
    """Run the subcommand `measure`."""
    load_bundle(options.bundle)  # a damaged bundle is reported before anything is built
    build(twin)
    make_plugin(twin)
    modelled = measure_bundle(Guest(twin, options.engine), options.bundle)
    for response in modelled.responses:
        print(format_row(f"first of {response.prompt_tokens}", response.first))
    print(format_row("token", modelled.token))
    print(format_row("cold start", modelled.cold))
    bound = LATENCY.margin * modelled.p95_ms
    print(f"p95 of a response: modelled {modelled.p95_ms:.1f} ms, bound {bound:.1f} ms")
    return 0


def run_report(twin: Twin, options: argparse.Namespace) -> int:
    """Run the subcommand `report`."""
    load_bundle(options.bundle)
    load_bundle(options.greedy_bundle)
    build(twin)
    make_plugin(twin)
    guest = Guest(twin)
    sentences = []
    for sentence in run_checks(guest, options.greedy_bundle, options.bundle):
        print(sentence, flush=True)
        sentences.append(sentence)
    print("counting, twice", flush=True)
    counted = measure_bundle(guest, options.bundle), measure_bundle(guest, options.bundle)
    print("booting", flush=True)
    system = check_system(guest, options.bundle, options.greedy_bundle)
    first = system["first_start"]
    print(
        f"a start with no file in memory reads {first['byte_count'] / 1e6:.1f} MB in {first['requests']}"
        f" reads: modelled {first['seconds_modelled']:.1f} s on a good SD card, besides the start itself"
    )
    report = compose_report(twin, options.bundle, sentences, counted, system)
    add_comparison(report, options.against)
    path = options.json or twin.folder / "report.json"
    files.write_json(path, report)
    print(f"\n{render(report)}\nwrote {path}")
    if report["verdict"] == "fail":
        return GATE_FAILED
    if options.record:
        options.against.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(options.against, report)
        print(f"recorded {options.against}")
    return 0


def run_scale(twin: Twin, options: argparse.Namespace) -> int:
    """Run the subcommand `scale`: write the reports, the plot, and the cost model of the board's file."""
    from bench.twin.fit_cost_model import fit_costs, write_cost_model
    from bench.twin.fit_mixture import compose_mixture_report, fit_mixture, mixture_table
    from bench.twin.plot import draw_sweep
    from bench.twin.scale_report import SCHEMA, compose_report, render_table
    from bench.twin.shape_sweep import Sweep, update_times
    from bench.twin.shapes import list_mixed_shapes, list_shapes

    build(twin)
    make_plugin(twin)
    guest, created = Guest(twin), datetime.now(UTC).isoformat(timespec="seconds")
    # Only memory depends on the kernel.
    versions = {name: version for name, version in read_versions(twin, "").items() if version}
    if options.only_ngrams:
        rows = [*map(update_times, files.read_json(SCALE, SCHEMA, TwinError)["shapes"])]
        costs = require_cost_data(BOARD)
    else:
        rows = Sweep(guest, options.resume).run(list_shapes())
        costs = fit_costs(rows, created, versions)
    mixed_rows = Sweep(guest, options.resume, "scale-ngrams").run(list_mixed_shapes())
    costs = fit_mixture(mixed_rows, rows, costs)
    mixture_report = compose_mixture_report(mixed_rows, rows, costs, created, versions)
    print(mixture_table(mixture_report))
    files.write_json(SCALE_NGRAMS, mixture_report)
    write_cost_model(board_file(BOARD.name), costs)
    written = [SCALE_NGRAMS, board_file(BOARD.name)]
    if not options.only_ngrams:
        report = compose_report(rows, costs)
        print(render_table(report))
        files.write_json(SCALE, report)
        picture = SCALE.with_suffix(".png")
        files.write_bytes(picture, draw_sweep(report, CostModel.from_data(BOARD.name, costs)))
        written += [SCALE, picture]
    print(f"wrote {', '.join(map(str, written))}")
    return 0


def run_published(twin: Twin, options: argparse.Namespace) -> int:
    """Run the subcommand `published`: count units of work, and keep the counts in the repository."""
    from bench.twin.published.count import run_published, select
    from bench.twin.published.prepare import prepare
    from bench.twin.threads.count_threads import count_pairs

    programs = select(options.only, options.threads)
    build(twin)
    make_plugin(twin)
    prepare(twin, options.ncnn)
    if options.threads > 1:
        count_pairs(twin, programs, options.threads)
    else:
        run_published(twin, programs)
    return 0


def run_latency(twin: Twin, options: argparse.Namespace) -> int:
    """Run the subcommand `latency`."""
    from bench.twin.published.fit_latency import list_programs, load_points
    from bench.twin.published.latency_report import (
        compose_latency_report,
        latency_table,
        points_table,
        write_latency_model,
    )

    other = [
        point for point in list_programs(load_points(OTHER_BOARD)) if point.measurement.board == OTHER_BOARD
    ]
    report = compose_latency_report(BOARD, load_points(BOARD.name), other)
    print(f"{latency_table(report)}\n\n{points_table(report)}\n\n{report['latency_model']}")
    if options.record:
        files.write_json(LATENCY_REPORT, report)
        write_latency_model(board_file(BOARD.name), report)
        print(f"wrote {LATENCY_REPORT} and {board_file(BOARD.name)}; run `python -m bench.twin scale` next")
    return 0


def run_parts(twin: Twin, options: argparse.Namespace) -> int:
    """Run the subcommand `parts`."""
    from bench.twin.start_parts import start_table
    from bench.twin.token_parts import compose_parts_report, engines_table, token_table

    load_bundle(options.bundle)
    build(twin)
    make_plugin(twin)
    report = compose_parts_report(Guest(twin), options.bundle)
    print("\n\n".join(table(report) for table in (engines_table, token_table, start_table)))
    if options.record:
        files.write_json(PARTS, report)
        print(f"wrote {PARTS}; `python -m bench.twin quote` updates the docs")
    return 0


def run_quote(twin: Twin, options: argparse.Namespace) -> int:
    """Run the subcommand `quote`."""
    from bench.quoted_blocks import update_documents
    from bench.twin.quoted_tables import DOCUMENTS, draw_pictures, make_tables

    changed = update_documents(DOCUMENTS, make_tables())
    for path, picture in draw_pictures().items():
        if not path.exists() or picture != path.read_text(encoding="utf-8"):
            files.write_text(path, picture)
            changed.append(path)
    for path in changed:
        print(f"changed {path}")
    return 0


def run_python(twin: Twin, options: argparse.Namespace) -> int:
    """Run the subcommand `python`, on this terminal."""
    build(twin)
    guest = Guest(twin)
    return subprocess.run(guest.command(options.arguments), env=guest.environment(), check=False).returncode


def run_count(twin: Twin, options: argparse.Namespace) -> int:
    """Run the subcommand `count`."""
    build(twin)
    make_plugin(twin)
    guest = Guest(twin)
    if options.runs:
        low, high = options.runs
        if low >= high:
            raise TwinError(f"--runs {low} {high}: the second number must be larger")
        less, more = (
            count_script(guest, [word.replace("{n}", str(n)) for word in options.arguments])
            for n in (low, high)
        )
        print(format_row(f"each of {high - low}", (more.total - less.total) / (high - low)))
        return 0
    counts = count_script(guest, options.arguments, bool(options.blocks))
    print(format_row("total", counts.total))
    if len(counts.marks) > 1:
        for index, step in enumerate(counts.steps):
            print(format_row(f"step {index}", step))
    for file, cost in list(sum_by_file(counts.blocks).items())[: options.blocks]:
        print(f"{cost / 1e6:10.3f} M  {guest_path(file, twin)}")
    for block in counts.blocks[: options.blocks]:
        millions = block.figures.instructions / 1e6
        print(f"{millions:10.3f} M  {guest_path(block.file, twin)} at {block.offset:x}")
    return 0


def guest_path(file: str, twin: Twin) -> str:
    """The path of a file as the guest sees it."""
    return file.removeprefix(str(twin.root))


def count_script(guest: Guest, arguments: Sequence[str], blocks: bool = False) -> Counts:
    """Count a script and copy its output to standard error. Raises TwinError if the script fails."""
    outcome, counts = guest.count(arguments, blocks)
    sys.stderr.write(outcome.output.decode(errors="replace") + outcome.errors)
    if outcome.returncode:
        raise TwinError(f"{arguments[0]} exited with {outcome.returncode}")
    return counts


def format_row(name: str, figures: Figures) -> str:
    """One line of figures."""
    ms = figures.modelled_ms
    return (
        f"{name:12s} {figures.instructions / 1e6:12.4f} M instructions"
        f" {figures.pipeline_cycles / 1e6:12.4f} M cycles {figures.dram_lines / 1e3:10.3f} k lines"
        f"   modelled {ms:10.3f} ms +-{LATENCY.error_percent:g}% (bound {LATENCY.margin * ms:.3f} ms)"
    )


if __name__ == "__main__":
    sys.exit(main())
