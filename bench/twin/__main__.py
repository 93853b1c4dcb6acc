"""A Raspberry Pi Zero 2 W for people who have none: its processor emulated, its latency modelled.

    python -m bench.twin --help

Everything lives in build/twin (or $TWIN, or --folder) and may be deleted at any time. No step needs root.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.twin.build import build, make_plugin
from bench.twin.counts import ERROR_PERCENT, MARGIN, Counts, Figures, by_file
from bench.twin.layout import REPOSITORY, SUITES, Twin, TwinError, UnavailableError, twin_at
from bench.twin.measure import measure
from bench.twin.report import compare, compose, table
from bench.twin.self_check import check_instructions, check_logits, check_onnxruntime, check_parity
from bench.twin.system_emulation import check_system
from bench.twin.user_emulation import Guest
from tinyedge.bundle.bundle import load_bundle
from tinyedge.core import files
from tinyedge.core.errors import TinyEdgeError

BUNDLES = REPOSITORY / "tests" / "data"
GREEDY_BUNDLE, INT8_BUNDLE = BUNDLES / "micro_bundle_fp32", BUNDLES / "micro_bundle_int8"
REPORTS = REPOSITORY / "bench" / "reports"
RECORDED = REPORTS / "twin-pi-zero-2w.json"
GATE_FAILED = 3  # as `tinyedge bench` exits


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a subcommand; a known failure becomes one line and its exit code."""
    options = parser().parse_args(arguments)
    twin = twin_at(options.folder, options.suite)
    try:
        return int(options.run(twin, options))
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


def parser() -> argparse.ArgumentParser:
    """The subcommands."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--folder", type=Path, help="where the twin is built (default: $TWIN, else build/twin)")
    top.add_argument("--suite", choices=SUITES, default="bookworm", help="Debian of the board")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, action: object, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=action)
        return made

    command("build", run_build, "make what is missing, bring tinyedge up to date")
    check = command(
        "check",
        run_check,
        "prove the emulated processor, and that greedy text and int8 logits are the same on it",
    )
    check.add_argument(
        "--or-skip", action="store_true", help="where a twin cannot be built: say so, and succeed"
    )
    measure = command("measure", run_measure, "count a bundle's answers and its cold start")
    report = command(
        "report", run_report, "all there is: check, measure twice, boot, judge, write the report"
    )
    for wants_bundle in (measure, report):
        wants_bundle.add_argument("bundle", type=Path, help="folder that `tinyedge export` made")
    for wants_greedy in (check, report):
        wants_greedy.add_argument(
            "--greedy-bundle", type=Path, default=GREEDY_BUNDLE,
            help="an fp32 bundle, whose greedy text has to be this machine's (default: that of the tests)",
        )  # fmt: skip
    report.add_argument(
        "--json", type=Path, help="where the report goes (default: report.json in the twin's folder)"
    )
    report.add_argument(
        "--against",
        type=Path,
        default=RECORDED,
        help="recorded report to compare with (default: %(default)s)",
    )
    report.add_argument(
        "--record", action="store_true", help="let a report that passes take the recorded one's place"
    )
    scale = command(
        "scale",
        run_scale,
        "count and boot bundles of many shapes, and fit the formula of `tinyedge fit` to them",
    )
    scale.add_argument("--resume", action="store_true", help="go on with what an earlier sweep has counted")
    command("quote", run_quote, "bring the tables of README.md and docs up to date with the recorded reports")
    python = command("python", run_python, "run the board's Python: python -- script.py ARGUMENTS")
    python.add_argument("arguments", nargs="+")
    count = command(
        "count", run_count,
        "count a script, in all and between its os.getsid(0) calls: count -- script.py ARGUMENTS",
    )  # fmt: skip
    count.add_argument(
        "--runs", nargs=2, type=int, metavar=("LOW", "HIGH"),
        help="run twice, {n} in the arguments replaced by each number, and print the difference of one n",
    )  # fmt: skip
    count.add_argument(
        "--blocks", type=int, default=0, metavar="N", help="print the N dearest files and pieces of code"
    )
    count.add_argument("arguments", nargs="+")
    return top


def run_build(twin: Twin, options: argparse.Namespace) -> int:
    """`build`."""
    build(twin)
    return 0


def run_check(twin: Twin, options: argparse.Namespace) -> int:
    """`check`."""
    load_bundle(options.greedy_bundle)
    try:
        build(twin)
        for sentence in proofs(Guest(twin), options.greedy_bundle, INT8_BUNDLE):
            print(sentence, flush=True)
    except UnavailableError as lack:
        if not options.or_skip:
            raise
        print(f"twin: skipped, because {lack.message}")
    return 0


def proofs(guest: Guest, greedy_bundle: Path, bundle: Path) -> Iterator[str]:
    """What the twin shows of itself, a sentence each; of `bundle` the logits."""
    yield check_instructions(guest)
    yield check_onnxruntime(guest)
    yield check_parity(guest, greedy_bundle)
    yield check_logits(guest, bundle)


def run_measure(twin: Twin, options: argparse.Namespace) -> int:
    """`measure`."""
    load_bundle(options.bundle)  # whole, or the reason why not, before anything is built
    build(twin)
    make_plugin(twin)
    modelled = measure(Guest(twin), options.bundle)
    for response in modelled.responses:
        print(row(f"first of {response.prompt_tokens}", response.first))
    print(row("token", modelled.token))
    print(row("cold start", modelled.cold))
    print(f"p95 of a response: modelled {modelled.p95_ms:.1f} ms, bound {MARGIN * modelled.p95_ms:.1f} ms")
    return 0


def run_report(twin: Twin, options: argparse.Namespace) -> int:
    """`report`."""
    load_bundle(options.bundle)
    load_bundle(options.greedy_bundle)
    build(twin)
    make_plugin(twin)
    guest = Guest(twin)
    said = []
    for sentence in proofs(guest, options.greedy_bundle, options.bundle):
        print(sentence, flush=True)
        said.append(sentence)
    print("counting, twice", flush=True)
    counted = measure(guest, options.bundle), measure(guest, options.bundle)
    print("booting", flush=True)
    system = check_system(guest, options.bundle, options.greedy_bundle)
    report = compose(twin, options.bundle, said, counted, system)
    compare(report, options.against)
    path = options.json or twin.folder / "report.json"
    files.write_json(path, report)
    print(f"\n{table(report)}\nwrote {path}")
    if report["verdict"] == "fail":
        return GATE_FAILED
    if options.record:
        options.against.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(options.against, report)
        print(f"recorded {options.against}")
    return 0


def run_scale(twin: Twin, options: argparse.Namespace) -> int:
    """`scale`: the report, its picture, and the formula's data file."""
    from bench.twin import scale_report
    from bench.twin.fit_cost_model import TARGET, fit
    from bench.twin.plot import picture
    from bench.twin.shape_sweep import Sweep
    from bench.twin.shapes import shapes
    from tinyedge.fit import cost_model

    build(twin)
    make_plugin(twin)
    rows = Sweep(Guest(twin), options.resume).run(shapes())
    formula = fit(rows, scale_report.origin(twin))
    report = scale_report.compose(rows, formula)
    print(scale_report.table(report))
    files.write_json(cost_model.FOLDER / f"{TARGET}.json", formula)
    files.write_json(REPORTS / "scale-pi-zero-2w.json", report)
    files.write_bytes(REPORTS / "scale-pi-zero-2w.png", picture(report, cost_model.parse(formula)))
    print(f"wrote {REPORTS / 'scale-pi-zero-2w'}.json and .png, and {cost_model.FOLDER / TARGET}.json")
    return 0


def run_quote(twin: Twin, options: argparse.Namespace) -> int:
    """`quote`."""
    from bench.twin.quoted_tables import bring_up_to_date

    for path in bring_up_to_date():
        print(f"changed {path}")
    return 0


def run_python(twin: Twin, options: argparse.Namespace) -> int:
    """`python`: with this terminal."""
    build(twin)
    guest = Guest(twin)
    return subprocess.run(guest.command(options.arguments), env=guest.environment(), check=False).returncode


def run_count(twin: Twin, options: argparse.Namespace) -> int:
    """`count`."""
    build(twin)
    make_plugin(twin)
    guest = Guest(twin)
    if options.runs:
        low, high = options.runs
        if low >= high:
            raise TwinError(f"--runs {low} {high}: the second number must be larger")
        less, more = (
            counted(guest, [word.replace("{n}", str(n)) for word in options.arguments]) for n in (low, high)
        )
        print(row(f"each of {high - low}", (more.total - less.total) / (high - low)))
        return 0
    counts = counted(guest, options.arguments, bool(options.blocks))
    print(row("total", counts.total))
    if len(counts.marks) > 1:
        for index, step in enumerate(counts.steps):
            print(row(f"step {index}", step))
    for file, cost in list(by_file(counts.blocks).items())[: options.blocks]:
        print(f"{cost / 1e6:10.3f} M  {relative(file, twin)}")
    for block in counts.blocks[: options.blocks]:
        print(f"{block.instructions / 1e6:10.3f} M  {relative(block.file, twin)} at {block.offset:x}")
    return 0


def relative(file: str, twin: Twin) -> str:
    """A file of the guest, as the guest names it."""
    return file.removeprefix(str(twin.root))


def counted(guest: Guest, arguments: Sequence[str], blocks: bool = False) -> Counts:
    """Counts a script that has to succeed; what it printed goes to standard error."""
    outcome, counts = guest.count(arguments, blocks)
    sys.stderr.write(outcome.output.decode(errors="replace") + outcome.errors)
    if outcome.returncode:
        raise TwinError(f"{arguments[0]} exited with {outcome.returncode}")
    return counts


def row(name: str, figures: Figures) -> str:
    """One line of figures."""
    ms = figures.modelled_ms
    return (
        f"{name:12s} {figures.instructions / 1e6:12.4f} M instructions {figures.fills / 1e3:10.3f} k fills"
        f"   modelled {ms:10.3f} ms +-{ERROR_PERCENT} % (bound {MARGIN * ms:.3f} ms)"
    )


if __name__ == "__main__":
    sys.exit(main())
