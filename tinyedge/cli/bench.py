"""`tinyedge bench`: measure a bundle on this machine and compare it with limits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tinyedge.bench.limits import Limits
from tinyedge.bench.stopping_rule import StoppingRule
from tinyedge.bench.worker import Job
from tinyedge.cli._json import JsonOutput, json_option
from tinyedge.cli._options import Values, options_from

if TYPE_CHECKING:
    from tinyedge.bench.report_files import ReportFiles
    from tinyedge.bench.run import BenchPlan

EXIT_CODES = {"pass": 0, "fail": 3, "inconclusive": 4}


@options_from("stopping", StoppingRule)
@options_from("job", Job)
@options_from("limits", Limits, optional=True)
def bench(
    *,
    context: typer.Context,
    bundle: Annotated[
        Path | None, typer.Argument(help="Folder created by `tinyedge export`.", show_default=False)
    ] = None,
    stopping: Values,
    until_sure: Annotated[
        bool,
        typer.Option(
            "--until-sure",
            help="Measure until the p95 is below or above its limit with confidence.",
            rich_help_panel="Measurement",
        ),
    ] = False,
    job: Values,
    prompts: Annotated[
        Path | None,
        typer.Option(help="File with other prompts, one per line.", rich_help_panel="Measurement"),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=FILE: also measure the model's quality on this text; repeatable.",
            rich_help_panel="Measurement",
        ),
    ] = None,
    cold: Annotated[
        int,
        typer.Option(
            help="Also measure this many starts of the complete command.", rich_help_panel="Measurement"
        ),
    ] = 0,
    gate: Annotated[
        Literal["estimate", "bound"] | None,
        typer.Option(
            help="Figure that must meet the limit: the p95 estimate or its 99% upper confidence bound."
            " [default: bound from 90 samples on]",
            rich_help_panel="Limits",
        ),
    ] = None,
    gates: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with limits; options take precedence over it.", rich_help_panel="Limits"
        ),
    ] = None,
    limits: Values,
    max_bits_per_byte: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]NUMBER",
            help="Bits per byte on every --text, or on the one with this name; lower is better. Repeatable.",
            rich_help_panel="Limits",
            show_default=False,
        ),
    ] = None,
    max_regression: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIGURE=PERCENT",
            help="Largest increase since --compare, such as p95=10%. Figures: p50, p95, ttft, ttft_p50, itl,"
            " steady, peak. Repeatable.",
            rich_help_panel="Limits",
            show_default=False,
        ),
    ] = None,
    json: Annotated[str | None, json_option("Reports")] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Also write the samples as a table.", rich_help_panel="Reports")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the report as an HTML page.", rich_help_panel="Reports")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="Show the changes since this report.", rich_help_panel="Reports")
    ] = None,
    device_report: Annotated[
        Path | None,
        typer.Option(
            help="Instead of measuring, render this report (or one of the emulated board) as --html.",
            rich_help_panel="Reports",
        ),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="[FILE]",
            help="Instead of a bundle, measure this machine's clock and memory, in less than a minute, and"
            " write them to FILE for `tinyedge fit --calibration`. [default: calibration.json]",
            rich_help_panel="Calibration",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Measure a bundle on this machine and compare it with limits.

    Responses are measured in a new process. Exits with 0 if every limit is met, 3 if one is exceeded, 4 if
    the samples are inconclusive.
    """
    import dataclasses

    from tinyedge.bench.limits import (
        LimitsFile,
        parse_quality_limits,
        parse_regressions,
        read_limits_file,
        resolve,
    )
    from tinyedge.bench.prompts import BILINGUAL, read_prompts
    from tinyedge.bench.report_files import ReportFiles
    from tinyedge.bench.run import BenchPlan
    from tinyedge.bench.target_board import BundleTarget
    from tinyedge.bundle.bundle import load_bundle
    from tinyedge.cli._named_files import parse_named_files
    from tinyedge.core.errors import CorpusError, UsageError
    from tinyedge.core.files import require_file

    if calibrate is not None:
        from tinyedge.cli._calibrate import calibrate as calibrate_machine

        calibrate_machine(context, calibrate, json)
        return
    output = JsonOutput.from_option(json, "tinyedge.bench", "tinyedge.twin")
    outputs = ReportFiles(output.path, csv, html)
    if device_report is not None:
        if bundle is not None or compare is not None:
            raise UsageError(
                "--device-report does not measure", "leave out BUNDLE and --compare, or --device-report"
            )
        _render_report(device_report, outputs, output)
        return
    if bundle is None:
        raise UsageError("BUNDLE is missing", "pass the folder created by `tinyedge export`")
    given = {name: value for name, value in limits.items() if value is not None}
    asked = read_prompts(prompts) if prompts else BILINGUAL
    rule = StoppingRule(**stopping)
    plan = Job(str(bundle), rule.samples, **job, prompts=asked)
    if prompts and rule.samples < len(asked.prompts):
        raise UsageError(
            f"--samples {rule.samples} is less than the {len(asked.prompts)} prompts in {prompts}",
            "pass a multiple of their number as --samples, so that each is used equally often",
        )
    texts = parse_named_files(text or ())
    for path in texts.values():
        require_file(path, CorpusError)
    if (quality := parse_quality_limits(max_bits_per_byte or ())) is not None:
        given["max_bits_per_byte"] = quality
    Limits(**given)
    file = read_limits_file(gates) if gates else LimitsFile()
    regressions = {**file.regressions, **parse_regressions(max_regression or ())}
    if regressions and compare is None:
        what = "--max-regression" if max_regression else f"[regressions] in {gates}"
        raise UsageError(f"{what} needs another report", "add --compare OLD.json")
    inputs = [path for path in (bundle, prompts, gates, compare, *texts.values()) if path is not None]
    outputs.require_writable(inputs)
    # All options are valid: now read the bundle, whose budgets are the limits without an option.
    manifest = load_bundle(bundle).manifest
    resolved, origins = resolve(given, file.limits, manifest["budgets"])
    from_file = origins.get("max_bits_per_byte") == "file"
    resolved.require_texts(texts, gates if from_file else None)
    if until_sure:
        rule = dataclasses.replace(rule, until_sure_ms=resolved.max_p95_ms)
    plan = dataclasses.replace(plan, samples=rule.max_samples)
    target = BundleTarget.from_manifest(manifest)
    whole = BenchPlan(plan, rule, resolved, origins, gate, cold, texts, target)
    _measure(whole, outputs, output, compare, regressions)


def _measure(
    plan: "BenchPlan",
    outputs: "ReportFiles",
    output: JsonOutput,
    compare: Path | None,
    regressions: dict[str, float],
) -> None:
    import dataclasses
    import shutil
    import sys

    from tinyedge.bench import table
    from tinyedge.bench.run import run
    from tinyedge.cli._echo import print_note, redraw_line
    from tinyedge.host.machine import describe_machine

    if compare is not None:
        from tinyedge.bench.compare import compare as compare_reports
        from tinyedge.bench.compare import read_comparable
        from tinyedge.bench.regression import evaluate_regressions, require_figures

        require_figures(regressions, plan.job)
        old = read_comparable(compare, describe_machine(), plan.job)
    show = sys.stderr.isatty()
    shown = 0

    def progress(done: int) -> None:
        nonlocal shown
        if show and done > shown:
            shown = done
            redraw_line(f"{done} samples" + "\n" * (done >= plan.job.samples))

    report = run(plan, progress=progress)
    if show and shown < plan.job.samples:
        typer.echo(err=True)
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    width = table.choose_width(columns)
    if compare is not None:
        comparison = compare_reports(report.to_dict(), old, compare)
        found = evaluate_regressions(regressions, comparison, report.doubts)
        report = dataclasses.replace(report, gates=(*report.gates, *found))
    result, text = report.to_dict(), table.render(report, width)
    if compare is not None:
        text += "\n\n" + "\n".join(table.wrap(comparison.lines, width))
        result["compared"] = comparison.to_dict()
    outputs.write(result)  # before the table is printed, which fails if the pipe is closed
    output.show(result, text)
    for path in outputs.paths_by_flag.values():
        print_note(f"wrote {path}")
    raise typer.Exit(EXIT_CODES[report.verdict])


def _render_report(path: Path, outputs: "ReportFiles", output: JsonOutput) -> None:
    """Render an existing report as a page, next to the report unless --html is given."""
    import dataclasses

    from tinyedge.bench.page.content import SCHEMAS
    from tinyedge.cli._echo import print_note
    from tinyedge.core import files
    from tinyedge.core.errors import BenchError, UsageError

    report = files.read_json(path, SCHEMAS, BenchError)
    if outputs.html is None:
        outputs = dataclasses.replace(outputs, html=path.with_suffix(".html"))
        if outputs.html and outputs.html.exists():
            raise UsageError(f"{outputs.html} already exists", "pass it as --html to replace it")
    outputs.require_writable([path])
    outputs.write(report)
    output.show(report)
    for written in outputs.paths_by_flag.values():
        print_note(f"wrote {written}")
