"""The twin's report: modelled latency, measured memory, gates, and changes against a recorded report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.twin.layout import BOARD, CORES, LATENCY, MB, Twin, TwinError
from bench.twin.measure import MAX_TOKENS, ModelledCosts
from tinyedge.bench.prompts import PROMPT_SET
from tinyedge.bundle.bundle import bundle_digest, load_bundle
from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.fit.cost_model import CostModel, require_cost_data

SCHEMA = "tinyedge.twin/1"
PACKAGES = (
    *("tinyedge_lm", "tinyedge_kernels"),
    *("numpy", "onnxruntime", "sentencepiece", "typer", "psutil"),
)  # whose versions a report has
MAX_P95_MS = float(BOARD.budgets.max_p95_ms)
MAX_REPEAT_PERCENT = 0.1
MAX_REGRESSION_PERCENT = 2.0


@dataclass(frozen=True)
class Gate:
    """One figure compared with its limit."""

    name: str
    """Short name."""
    limit: float
    """Largest figure that passes, in `unit`."""
    measured: float
    """The figure, in `unit`."""
    unit: str
    """Unit of both; "" for none."""
    ok: bool
    """Whether the limit is not exceeded."""
    sentence: str
    """The result for people."""


def make_gate(name: str, label: str, measured: float, limit: float, unit: str) -> Gate:
    """Compare a figure with its limit."""
    ok = measured <= limit
    suffix = unit if unit == "%" else f" {unit}"
    sentence = f"{label}: {measured:.4g}{suffix}, limit {limit:g}{suffix}{'' if ok else ', over'}"
    return Gate(name, limit, measured, unit, ok, sentence)


def change_percent(new: float, old: float) -> float:
    """Change from `old` to `new`, in percent of `old`."""
    return 100 * (new - old) / old


def headline_figures(latency: Mapping[str, Any]) -> dict[str, float]:
    """The modelled figures that are compared between reports, in ms."""
    return {
        "a decoded token": latency["token"]["modelled_ms"],
        "p95 of a response": latency["e2e_ms"]["p95"],
        "cold start": latency["cold_start"]["modelled_ms"],
    }


def repeat_percent(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """Largest change of a headline figure between two counts of the same bundle, in percent."""
    pairs = zip(headline_figures(first).values(), headline_figures(second).values(), strict=True)
    return max(abs(change_percent(new, old)) for old, new in pairs)


def list_differences(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    """Reasons why two reports cannot be compared; empty if they can."""
    reasons = [
        f"another {name}" for name in ("model", "precision") if new["bundle"][name] != old["bundle"][name]
    ]
    new_table, old_table = (bool(report["bundle"].get("ngrams_bytes")) for report in (new, old))
    reasons += ["a model with n-grams" if old_table else "a model without n-grams"] * (new_table != old_table)
    reasons += [f"another {name}" for name in ("cost_model", "work") if new[name] != old[name]]
    reasons += ["another Debian"] if new["versions"]["debian"] != old["versions"]["debian"] else []
    return reasons


def regression_gates(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[Gate]:
    """Increase of each headline figure over the recorded one. Counts repeat, so 2% is not noise."""
    before = headline_figures(old["latency_modelled"])
    return [
        make_gate(
            f"regression of {name}", f"change of {name}, modelled, from {before[name]:.2f} ms",
            change_percent(value, before[name]), MAX_REGRESSION_PERCENT, "%",
        )
        for name, value in headline_figures(new["latency_modelled"]).items()
    ]  # fmt: skip


def read_versions(twin: Twin, kernel: str) -> dict[str, str]:
    """Versions of everything that ran."""
    found = {"debian": twin.suite, "python": twin.python_version, "kernel": kernel}
    for folder in (twin.packages, twin.product):
        for info in sorted(folder.glob("*.dist-info")):
            name, version = info.name.removesuffix(".dist-info").rsplit("-", 1)
            if name in PACKAGES:
                found[name.removesuffix("_lm")] = version
    return found


def compose_report(
    twin: Twin,
    bundle: Path,
    proof: Sequence[str],
    counted: tuple[ModelledCosts, ModelledCosts],
    system: Mapping[str, Any],
) -> dict[str, Any]:
    """Compose the report, without a comparison.

    Args:
        twin: Where it ran.
        bundle: Folder of the bundle.
        proof: Sentences of the self-check.
        counted: Two counts of the bundle, which must be the same.
        system: Result of `check_system`.
    """
    loaded = load_bundle(bundle)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    latency, again = (modelled.to_json() for modelled in counted)
    bound = LATENCY.margin * latency["e2e_ms"]["p95"]
    repeat = repeat_percent(latency, again)
    sockets, threads = counted[0].sockets, counted[0].threads
    bound_label = f"p95 of a response, modelled, x {LATENCY.margin:g} for the model's error"
    gates = [
        make_gate("p95", bound_label, bound, MAX_P95_MS, "ms"),
        make_gate("repeat", "change between two counts", repeat, MAX_REPEAT_PERCENT, "%"),
        make_gate("sockets", "network sockets opened by `tinyedge generate`", sockets, 0, "sockets"),
        # One thread is requested; telemetry would start another, and use the network only later.
        make_gate("threads", "additional threads started by `tinyedge generate`", threads, 0, "threads"),
    ]
    gates += [
        Gate(**{field: values[field] for field in Gate.__dataclass_fields__})
        for values in system["memory_gates"]
    ]
    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": f"{BOARD.title}, emulated; every latency is modelled, memory is measured",
        "bundle": {
            "sha256": bundle_digest(loaded),
            **{key: manifest[key] for key in ("precision", "model")},
            "ngrams_bytes": len(loaded.ngrams.data) if loaded.ngrams else 0,
        },
        "cost_model": {
            **asdict(LATENCY), "threads": 1,
        },
        "work": {"prompts": PROMPT_SET, "max_tokens": MAX_TOKENS},
        "engine": system["engine"],
        "latency_modelled": latency,
        "p95_modelled_ms": latency["e2e_ms"]["p95"],
        "p95_bound_ms": round(bound, 4),
        "threads_modelled": model_threads(
            loaded.config, latency["e2e_ms"]["p95"], is_mixed=loaded.ngrams is not None
        ),
        "repeat_percent": round(repeat, 6),
        "memory": {"total": system["memory_total"], **system["memory"]},
        "first_start": system["first_start"],
        "doctor": system["doctor"],
        "proof": list(proof),
        "gates": [asdict(gate) for gate in gates],
        "verdict": combine_gates(gates),
        "versions": read_versions(twin, system["kernel"]),
    }  # fmt: skip


def model_threads(config: ModelConfig, p95_ms: float, *, is_mixed: bool = False) -> list[dict[str, float]]:
    """The p95 with several threads: that of one, as counted, divided as the formula of `fit` divides it.

    Args:
        config: Shape of the model.
        p95_ms: The p95 with one thread, in ms.
        is_mixed: Whether a table of n-grams is mixed with the model.
    """
    costs = require_cost_data(BOARD)
    one, *others = (CostModel.from_data(BOARD.name, costs, threads) for threads in range(1, CORES + 1))
    scale = p95_ms / one.p95_ms(config, MAX_TOKENS, is_mixed=is_mixed)
    return [
        {
            "threads": model.threads,
            "p95_modelled_ms": round(scale * model.p95_ms(config, MAX_TOKENS, is_mixed=is_mixed), 4),
            "error_percent": model.latency.error_percent,
        }
        for model in others
    ]


def combine_gates(gates: Sequence[Gate]) -> str:
    """Return "pass" if all gates pass, else "fail"."""
    return "pass" if all(gate.ok for gate in gates) else "fail"


def add_comparison(report: dict[str, Any], recorded: Path) -> None:
    """Add gates on regressions against the recorded report to `report`, or the reason why there are none."""
    if not recorded.exists():
        report["compared"] = f"{recorded.name} does not exist"
        return
    old = files.read_json(recorded, SCHEMA, TwinError)
    if reasons := list_differences(report, old):
        report["compared"] = f"{recorded.name} is of {' and '.join(reasons)}"
        return
    gates = regression_gates(report, old)
    report["compared"] = f"{recorded.name} of {old['created']}"
    report["gates"] += [asdict(gate) for gate in gates]
    if combine_gates(gates) == "fail":
        report["verdict"] = "fail"


def format_row(name: str, figures: Mapping[str, float]) -> str:
    """One line of figures."""
    return (
        f"{name:21s}{figures['modelled_ms']:9.2f} ms +-{LATENCY.error_percent:g}%"
        f" {figures['instructions']:>13,} instructions {figures['dram_fills']:>9,} lines from DRAM"
    )


def render(report: Mapping[str, Any]) -> str:
    """The report, for people."""
    latency, memory = report["latency_modelled"], report["memory"]
    prefill = sorted(latency["prefill"], key=lambda row: int(row["prompt_tokens"]))
    lines = [
        f"{BOARD.title}, emulated. Latency is modelled, +-{LATENCY.error_percent:g}%; memory is measured.",
        f"bundle {report['bundle']['sha256'][:12]} {report['bundle']['precision']}, 1 thread",
        f"engine {report['engine']}",
        "",
        format_row("a decoded token", latency["token"]),
        *(format_row(f"first, prompt of {row['prompt_tokens']}", row) for row in prefill),
        format_row("cold start", latency["cold_start"]),
        f"{'response, p50 and p95':21s}{latency['e2e_ms']['p50']:9.1f} and {report['p95_modelled_ms']:.1f} ms"
        f" modelled, bound of the p95 {report['p95_bound_ms']:.1f} ms",
        *(
            f"{'p95 with ' + str(row['threads']) + ' threads':21s}{row['p95_modelled_ms']:9.1f} ms modelled,"
            f" +-{row['error_percent']:g}%"
            for row in report["threads_modelled"]
        ),
        f"{'memory':21s}{memory['peak_rss'] / MB:9.1f} MB peak, of {memory['total'] / MB:.0f} MB",
        "",
        *report["proof"],
        *(f"{'ok  ' if gate['ok'] else 'FAIL'} {gate['sentence']}" for gate in report["gates"]),
        f"compared with: {report['compared']}",
        f"verdict: {report['verdict']}",
    ]
    return "\n".join(lines)
