"""`tinyedge bench`: does this bundle keep its budget on this machine?"""

from pathlib import Path
from typing import Annotated

import typer

EXIT_CODES = {"pass": 0, "fail": 3, "inconclusive": 4}


def bench(
    bundle: Annotated[Path, typer.Argument(help="Folder that `tinyedge export` made.", show_default=False)],
    samples: Annotated[int, typer.Option(help="Responses to measure; 90 or more bound the p95.")] = 100,
    max_tokens: Annotated[int, typer.Option(help="Tokens of each response.")] = 20,
    max_rss_mb: Annotated[float, typer.Option(help="Budget of steady memory, in MB of 2^20 bytes.")] = 400,
    max_peak_mb: Annotated[float, typer.Option(help="Budget of peak memory, in MB of 2^20 bytes.")] = 512,
    max_p95_ms: Annotated[float, typer.Option(help="Budget of a response's 95th percentile, in ms.")] = 250,
    threads: Annotated[int, typer.Option(help="Threads the model computes with.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the first response.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Also write the report here.", show_default=False)] = None,
) -> None:
    """Measure responses in a fresh process and hold them against budgets.

    Exits with 0 when every budget is kept, 3 when one is not, 4 when the samples do not tell.
    """
    import sys

    from tinyedge.bench import table
    from tinyedge.bench.gate import Limits
    from tinyedge.bench.run import require_writable, run
    from tinyedge.bench.worker import Job
    from tinyedge.commands.reports import require_elsewhere

    job = Job(str(bundle), samples, max_tokens, threads, seed)
    limits = Limits(max_rss_mb, max_peak_mb, max_p95_ms)
    require_elsewhere(json, (bundle,))
    if json is not None:
        require_writable(json)
    show = sys.stderr.isatty()

    def progress(done: int) -> None:
        if show and (done * 100 // samples > (done - 1) * 100 // samples):  # a hundred lines are enough
            typer.echo(f"\r{done} of {samples} samples", nl=done == samples, err=True)

    report = run(job, limits, progress=progress)
    typer.echo(table.render(report))
    if json is not None:
        report.write(json)
    raise typer.Exit(EXIT_CODES[report.verdict])
