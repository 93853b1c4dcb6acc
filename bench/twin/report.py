"""The twin's report: what was modelled, what was measured, the gates, the difference to a recorded one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.twin.counts import ERROR_PERCENT, MARGIN, NS_PER_FILL, NS_PER_INSTRUCTION
from bench.twin.layout import Twin, TwinError
from bench.twin.measure import MAX_TOKENS, Modelled
from tinyedge.bench.prompts import PROMPT_SET
from tinyedge.bundle.bundle import bundle_digest, load_bundle
from tinyedge.core import files

SCHEMA = "tinyedge.twin/1"
MAX_P95_MS = 250.0
MAX_REPEAT_PERCENT = 0.1
MAX_REGRESSION_PERCENT = 2.0


@dataclass(frozen=True)
class Gate:
    """One limit and what was found, both in `unit`. ok: not above the limit."""

    name: str
    limit: float
    measured: float
    unit: str
    ok: bool
    sentence: str


def gate(name: str, label: str, measured: float, limit: float, unit: str) -> Gate:
    """Holds a figure against its limit."""
    ok = measured <= limit
    sentence = f"{label}: {measured:.4g} {unit}, limit {limit:g} {unit}{'' if ok else ', over'}"
    return Gate(name, limit, measured, unit, ok, sentence)


def change_percent(new: float, old: float) -> float:
    """By how much `new` is above `old`."""
    return 100 * (new - old) / old


def headline(latency: Mapping[str, Any]) -> dict[str, float]:
    """The modelled figures that two reports are compared by, in ms."""
    return {
        "a decoded token": latency["token"]["modelled_ms"],
        "p95 of a response": latency["e2e_ms"]["p95"],
        "cold start": latency["cold_start"]["modelled_ms"],
    }


def repeat_percent(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """The largest change of a headline figure between two counts of the same."""
    pairs = zip(headline(first).values(), headline(second).values(), strict=True)
    return max(abs(change_percent(new, old)) for old, new in pairs)


def unlike(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[str]:
    """Why two reports are not about the same work; empty where they are."""
    reasons = [
        f"another {name}" for name in ("model", "precision") if new["bundle"][name] != old["bundle"][name]
    ]
    reasons += [f"another {name}" for name in ("cost_model", "work") if new[name] != old[name]]
    reasons += ["another Debian"] if new["versions"]["debian"] != old["versions"]["debian"] else []
    return reasons


def regression_gates(new: Mapping[str, Any], old: Mapping[str, Any]) -> list[Gate]:
    """By how much each headline figure is above the recorded one. Counts repeat, so 2 % is no noise."""
    before = headline(old["latency_modelled"])
    return [
        gate(
            f"regression of {name}", f"change of {name}, modelled, from {before[name]:.2f} ms",
            change_percent(value, before[name]), MAX_REGRESSION_PERCENT, "%",
        )
        for name, value in headline(new["latency_modelled"]).items()
    ]  # fmt: skip


def versions(twin: Twin, kernel: str) -> dict[str, str]:
    """Of all that ran."""
    found = {"debian": twin.suite, "python": twin.python_version, "kernel": kernel}
    for folder in (twin.packages, twin.product):
        for info in sorted(folder.glob("*.dist-info")):
            name, version = info.name.removesuffix(".dist-info").rsplit("-", 1)
            if name in ("tinyedge_lm", "numpy", "onnxruntime", "sentencepiece", "typer", "psutil"):
                found[name.removesuffix("_lm")] = version
    return found


def compose(
    twin: Twin,
    bundle: Path,
    proof: Sequence[str],
    counted: tuple[Modelled, Modelled],
    system: Mapping[str, Any],
) -> dict[str, Any]:
    """The report. counted: the same, twice."""
    loaded = load_bundle(bundle)
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    latency, again = (modelled.to_json() for modelled in counted)
    bound = MARGIN * latency["e2e_ms"]["p95"]
    repeat = repeat_percent(latency, again)
    gates = [
        gate(
            "p95", f"p95 of a response, modelled, x {MARGIN} for the model's error", bound, MAX_P95_MS, "ms"
        ),
        gate("repeat", "change between two counts", repeat, MAX_REPEAT_PERCENT, "%"),
        gate("sockets", "network sockets opened by `tinyedge generate`", counted[0].sockets, 0, "sockets"),
        # One thread was asked for; a telemetry would start its own, and only later turn to the network.
        gate("threads", "further threads started by `tinyedge generate`", counted[0].threads, 0, "threads"),
    ]
    gates += [
        Gate(**{field: found[field] for field in Gate.__dataclass_fields__})
        for found in system["memory_gates"]
    ]
    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": "Raspberry Pi Zero 2 W, emulated; every latency is modelled, memory is measured",
        "bundle": {"sha256": bundle_digest(loaded), **{key: manifest[key] for key in ("precision", "model")}},
        "cost_model": {
            "ns_per_instruction": NS_PER_INSTRUCTION, "ns_per_dram_fill": NS_PER_FILL,
            "error_percent": ERROR_PERCENT, "margin": MARGIN, "threads": 1,
        },
        "work": {"prompts": PROMPT_SET, "max_tokens": MAX_TOKENS},
        "latency_modelled": latency,
        "p95_modelled_ms": latency["e2e_ms"]["p95"],
        "p95_bound_ms": round(bound, 4),
        "repeat_percent": round(repeat, 6),
        "memory": {"total": system["memory_total"], **system["memory"]},
        "doctor": system["doctor"],
        "proof": list(proof),
        "gates": [asdict(found) for found in gates],
        "verdict": verdict(gates),
        "versions": versions(twin, system["kernel"]),
    }  # fmt: skip


def verdict(gates: Sequence[Gate]) -> str:
    """All gates hold, or not."""
    return "pass" if all(found.ok for found in gates) else "fail"


def compare(report: dict[str, Any], recorded: Path) -> None:
    """Adds to `report` the gates of a regression against the recorded report, or why there are none."""
    if not recorded.exists():
        report["compared"] = f"{recorded.name} does not exist"
        return
    old = files.read_json(recorded, SCHEMA, TwinError)
    if reasons := unlike(report, old):
        report["compared"] = f"{recorded.name} is of {' and '.join(reasons)}"
        return
    gates = regression_gates(report, old)
    report["compared"] = f"{recorded.name} of {old['created']}"
    report["gates"] += [asdict(found) for found in gates]
    if verdict(gates) == "fail":
        report["verdict"] = "fail"


def counted_row(name: str, figures: Mapping[str, float]) -> str:
    """One line of the table."""
    return (
        f"{name:21s}{figures['modelled_ms']:9.2f} ms modelled {figures['instructions']:>13,} instructions"
        f" {figures['dram_fills']:>9,} DRAM fills"
    )


def table(report: Mapping[str, Any]) -> str:
    """The report, for people."""
    latency, memory = report["latency_modelled"], report["memory"]
    mb = 1 << 20
    prefill = sorted(latency["prefill"], key=lambda row: int(row["prompt_tokens"]))
    lines = [
        f"Raspberry Pi Zero 2 W, emulated. Latency is modelled, +-{ERROR_PERCENT} %; memory is measured.",
        f"bundle {report['bundle']['sha256'][:12]} {report['bundle']['precision']}, 1 thread",
        "",
        counted_row("a decoded token", latency["token"]),
        *(counted_row(f"first, prompt of {row['prompt_tokens']}", row) for row in prefill),
        counted_row("cold start", latency["cold_start"]),
        f"{'response, p50 and p95':21s}{latency['e2e_ms']['p50']:9.1f} and {report['p95_modelled_ms']:.1f} ms"
        f" modelled, bound of the p95 {report['p95_bound_ms']:.1f} ms",
        f"{'memory':21s}{memory['peak_rss'] / mb:9.1f} MB at its peak, of {memory['total'] / mb:.0f} MB",
        "",
        *report["proof"],
        *(f"{'ok  ' if found['ok'] else 'FAIL'} {found['sentence']}" for found in report["gates"]),
        f"compared with: {report['compared']}",
        f"verdict: {report['verdict']}",
    ]
    return "\n".join(lines)
