"""`tinyedge bench`: does this bundle keep its budget on this machine?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tinyedge.bench.stopping_rule import StoppingRule
from tinyedge.bench.worker import Job
from tinyedge.cli._options import Values, options_from

if TYPE_CHECKING:
    from tinyedge.bench.report_files import ReportFiles
    from tinyedge.bench.run import BenchPlan

EXIT_CODES = {"pass": 0, "fail": 3, "inconclusive": 4}


@options_from("stopping", StoppingRule)
@options_from("job", Job)
def bench(
    *,
    bundle: Annotated[
        Path | None, typer.Argument(help="Folder that `tinyedge export` made.", show_default=False)
    ] = None,
    stopping: Values,
    job: Values,
    until_sure: Annotated[
        bool, typer.Option("--until-sure", help="Measure until the p95 is surely within its limit, or over.")
    ] = False,
    prompts: Annotated[
        Path | None, typer.Option(help="Other prompts, one a line.", show_default=False)
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE: also judge the model's quality on it; repeatable.")
    ] = None,
    cold: Annotated[int, typer.Option(help="Also measure so many starts of the whole command.")] = 0,
    gate: Annotated[
        Literal["estimate", "bound"] | None,
        typer.Option(
            help="What of a p95 passes: its estimate, or its 99 % bound. [default: bound from 90 on]"
        ),
    ] = None,
    gates: Annotated[
        Path | None, typer.Option(help="Limits in a TOML file; flags win over it.", show_default=False)
    ] = None,
    max_rss_mb: Annotated[
        float | None, typer.Option(help="Steady memory, in MB of 2^20 bytes. [default: the bundle's, 400]")
    ] = None,
    max_peak_mb: Annotated[
        float | None, typer.Option(help="Peak memory, in MB of 2^20 bytes. [default: the bundle's, 512]")
    ] = None,
    max_p95_ms: Annotated[
        float | None, typer.Option(help="95th percentile of a response, ms. [default: the bundle's, 250]")
    ] = None,
    max_ttft_ms: Annotated[float | None, typer.Option(help="95th percentile of the first token, ms.")] = None,
    min_decode_tps: Annotated[float | None, typer.Option(help="Tokens a second after the first one.")] = None,
    max_cold_start_s: Annotated[
        float | None, typer.Option(help="Median start of the whole command, seconds.")
    ] = None,
    max_model_mb: Annotated[
        float | None, typer.Option(help="Size of model.onnx, in MB of 2^20 bytes.")
    ] = None,
    max_bits_per_byte: Annotated[
        float | None, typer.Option(help="Quality on each --text; lower is better.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Also write the report, all samples in it.", show_default=False)
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Also write the samples as a table.", show_default=False)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the report as a page.", show_default=False)
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="Say what changed since this report.", show_default=False)
    ] = None,
    device_report: Annotated[
        Path | None,
        typer.Option(help="Measure nothing: draw this report as --html, a twin's too.", show_default=False),
    ] = None,
) -> None:
    """Measure responses in a fresh process and hold them against budgets.

    Exits with 0 when every budget is kept, 3 when one is not, 4 when the samples do not tell.
    """
    import dataclasses

    from tinyedge.bench.limits import Limits, resolve
    from tinyedge.bench.prompts import BILINGUAL, read_prompts
    from tinyedge.bench.report_files import ReportFiles
    from tinyedge.bench.run import BenchPlan
    from tinyedge.cli._named_files import named_files
    from tinyedge.core.errors import CorpusError, UsageError
    from tinyedge.core.files import require_file

    outputs = ReportFiles(json, csv, html)
    if device_report is not None:
        if bundle is not None or compare is not None:
            raise UsageError(
                "--device-report measures nothing", "leave out BUNDLE and --compare, or --device-report"
            )
        _draw(device_report, outputs)
        return
    if bundle is None:
        raise UsageError("BUNDLE is missing", "name the folder that `tinyedge export` made")
    flags = {
        "max_rss_mb": max_rss_mb,
        "max_peak_mb": max_peak_mb,
        "max_p95_ms": max_p95_ms,
        "max_ttft_ms": max_ttft_ms,
        "min_decode_tps": min_decode_tps,
        "max_cold_start_s": max_cold_start_s,
        "max_model_mb": max_model_mb,
        "max_bits_per_byte": max_bits_per_byte,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    asked = read_prompts(prompts) if prompts else BILINGUAL
    rule = StoppingRule(**stopping)
    plan = Job(str(bundle), rule.samples, **job, prompts=asked)
    if prompts and rule.samples < len(asked.prompts):
        raise UsageError(
            f"--samples {rule.samples} is less than the {len(asked.prompts)} prompts in {prompts}",
            "pass a multiple of their number as --samples, so that each is used equally often",
        )
    texts = named_files(text or ())
    for path in texts.values():
        require_file(path, CorpusError)
    Limits(**given)
    inputs = [path for path in (bundle, prompts, gates, compare, *texts.values()) if path is not None]
    outputs.require_writable(inputs)
    # All flags can work: now the bundle is read, whose budgets are the limits that no flag gave.
    limits, origins = resolve(given, gates, _budgets(bundle))
    if until_sure:
        rule = dataclasses.replace(rule, until_sure_ms=limits.max_p95_ms)
    plan = dataclasses.replace(plan, samples=rule.max_samples)
    _measure(BenchPlan(plan, rule, limits, origins, gate, cold, texts), outputs, compare)


def _measure(plan: "BenchPlan", outputs: "ReportFiles", compare: Path | None) -> None:
    import sys

    from tinyedge.bench import table
    from tinyedge.bench.run import run
    from tinyedge.cli._echo import note
    from tinyedge.host.machine import describe_machine

    if compare is not None:
        from tinyedge.bench.compare import compare as compared
        from tinyedge.bench.compare import read_comparable

        old = read_comparable(compare, describe_machine(), plan.job)
    show = sys.stderr.isatty()
    shown = 0

    def progress(done: int) -> None:
        nonlocal shown
        if show and done > shown:
            shown = done
            typer.echo(f"\r{done} samples", nl=done >= plan.job.samples, err=True)

    report = run(plan, progress=progress)
    if show and shown < plan.job.samples:
        typer.echo(err=True)
    result, said = report.to_dict(), table.render(report)
    if compare is not None:
        comparison = compared(result, old, compare)
        said += "\n\n" + "\n".join(comparison.lines)
        result["compared"] = comparison.to_dict()
    outputs.write(result)  # before the table, which nobody may be there to read
    typer.echo(said)
    for path in outputs.paths_by_flag.values():
        note(f"wrote {path}")
    raise typer.Exit(EXIT_CODES[report.verdict])


def _draw(path: Path, outputs: "ReportFiles") -> None:
    """A report that is there, as a page; beside it unless --html says where."""
    import dataclasses

    from tinyedge.bench.page.content import SCHEMAS
    from tinyedge.cli._echo import note
    from tinyedge.core import files
    from tinyedge.core.errors import BenchError, UsageError

    report = files.read_json(path, SCHEMAS, BenchError)
    if outputs.html is None:
        outputs = dataclasses.replace(outputs, html=path.with_suffix(".html"))
        if outputs.html and outputs.html.exists():
            raise UsageError(f"{outputs.html} is there already", "name it with --html to replace it")
    outputs.require_writable([path])
    outputs.write(report)
    for written in outputs.paths_by_flag.values():
        note(f"wrote {written}")


def _budgets(bundle: Path) -> dict[str, float]:
    """What the bundle itself promises; it is checked as a whole on the way."""
    from tinyedge.bundle.bundle import load_bundle

    return dict(load_bundle(bundle).manifest["budgets"])
