"""Compare tinyedge with onnxruntime-genai, llama.cpp and transformers: same shape, same machine, in turn.

    python -m bench.peers [--bundle BUNDLE] [--rounds 7] [--output bench/reports]

Makes an environment for each runtime in .venv-peers, and models of the bundle's shape; without --bundle, a
bundle of random weights. Writes peers-x86-64.json, .md and .png. See README.md in this folder.
"""

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.peers.environments import PACKAGES, REPOSITORY, Environment, measure_size, prepare_environment
from bench.peers.figures import (
    BUSY_LOAD,
    OWN_NAME,
    SCHEMA,
    compute_medians,
    compute_ratios,
    evaluate_goals,
    format_report,
)
from bench.peers.prepare_models import PeerModels, make_models, make_random_bundle, make_request
from bench.peers.rounds import Contender, Request, Track, run_rounds
from tinyedge.bundle.bundle import Bundle, load_bundle
from tinyedge.core import files
from tinyedge.core.errors import BenchError, TinyEdgeError, UsageError
from tinyedge.host.machine import describe_machine

ROOT = REPOSITORY / ".venv-peers"
FILES = "peers-x86-64"
# Runtime, precision, program, file or folder of the model; in the order of each round.
PEERS = (
    ("onnxruntime-genai", "int8", "use_genai.py", "genai-int8"),
    ("onnxruntime-genai", "int8 dynamic", "use_genai.py", "genai-int8-dynamic"),
    ("onnxruntime-genai", "fp32", "use_genai.py", "genai-fp32"),
    ("llama.cpp-cyllama", "q8_0", "use_cyllama.py", "llama-q8_0.gguf"),
    ("llama.cpp-xllamacpp", "q8_0", "use_xllamacpp.py", "llama-q8_0.gguf"),
    ("llama.cpp-xllamacpp", "f32", "use_xllamacpp.py", "llama-f32.gguf"),
    ("transformers", "fp32", "use_transformers.py", "transformers"),
)


def main() -> int:
    """Run the command; print a known failure as one line and a hint."""
    parser = argparse.ArgumentParser(prog="make bench-peers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bundle", type=Path, help="bundle to compare [default: random weights]")
    parser.add_argument("--rounds", type=int, default=7, help="number of rounds [default: 7]")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="duration of generation in each run [default: 2]"
    )
    parser.add_argument(
        "--output", type=Path, default=REPOSITORY / "bench" / "reports", help="folder for the report"
    )
    try:
        compare(parser.parse_args())
    except TinyEdgeError as failure:
        print(f"error: {failure.message}", file=sys.stderr)
        if failure.hint:
            print(f"  {failure.hint}", file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def compare(options: argparse.Namespace) -> None:
    """Prepare, run all rounds and write the report. A peer that cannot run is listed with the reason.

    Raises:
        TinyEdgeError: The options are invalid, or tinyedge itself cannot run.
    """
    if options.rounds < 1:
        raise UsageError(f"--rounds {options.rounds} is less than 1")
    if not 0 < options.seconds <= 60:
        raise UsageError(f"--seconds {options.seconds:g} is outside 0-60")
    if platform.machine() != "x86_64":
        raise BenchError(f"this machine is {platform.machine()}", "run the comparison on x86_64")
    bundle = load_bundle(options.bundle) if options.bundle else make_random_bundle(ROOT / "bundle")
    request = make_request(bundle, options.seconds)
    load = os.getloadavg()[0]
    failures: dict[str, str] = {}
    environments = prepare_environments(failures)
    models = make_models(ROOT, bundle, environments, failures)
    contenders = [make_own_contender(environments[OWN_NAME], bundle, request)]
    for name, precision, program, file in PEERS:
        failure = failures.get(name) or models.failures.get("") or models.failures.get(file)
        if failure:
            failures[f"{name} {precision}"] = failure
        else:
            python = environments[name].python
            contenders.append(Contender(name, precision, python, program, models.folder / file))
    tracks = run_rounds(contenders, request, options.rounds, print_line)
    if tracks[0].failure:
        raise BenchError(tracks[0].failure, "check the bundle with: tinyedge bench")
    for track in tracks:
        if track.failure:
            failures[f"{track.contender.name} {track.contender.precision}"] = track.failure
    runtimes = [
        describe_result(track, tracks[0], environments[track.contender.name], models)
        for track in tracks
        if not track.failure
    ]
    runtimes += [
        describe_failure(name, precision, failures)
        for name, precision, *_ in PEERS
        if f"{name} {precision}" in failures
    ]
    report = {
        "schema": SCHEMA,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "shape": dict(bundle.manifest["model"]),
        "request": vars(request),
        "rounds": options.rounds,
        "machine": describe_this_machine(load),
        "runtimes": runtimes,
        "goals": evaluate_goals(runtimes, load > BUSY_LOAD),
    }
    write_report(report, options.output)


def prepare_environments(failures: dict[str, str]) -> dict[str, Environment]:
    """Make or reuse the environment of each runtime.

    Args:
        failures: Receives the reason of each environment that could not be made.

    Raises:
        BenchError: tinyedge itself cannot be installed.
    """
    environments = {}
    for name in PACKAGES:
        print_line(f"environment of {name}")
        try:
            environments[name] = prepare_environment(ROOT, name)
        except BenchError as failure:
            failures[name] = failure.message
            print_line(f"  skipped: {failure.message}")
    if OWN_NAME not in environments:
        raise BenchError(
            f"tinyedge itself cannot be installed: {failures[OWN_NAME]}", "check the network and the disk"
        )
    return environments


def make_own_contender(environment: Environment, bundle: Bundle, request: Request) -> Contender:
    """Make tinyedge's contender; its cold start is the command, which prints the prompt first."""
    settings = {
        "temperature": request.temperature,
        "top-k": request.top_k,
        "seed": request.seed,
        "max-tokens": 1,
    }
    command = [str(environment.folder / "bin" / "tinyedge"), "generate", str(bundle.path)]
    command += [f"--prompt={request.prompt}", *(f"--{name}={value}" for name, value in settings.items())]
    precision = bundle.manifest["precision"]
    python, echoed = environment.python, len(request.prompt.encode())
    return Contender(OWN_NAME, precision, python, "use_tinyedge.py", bundle.path, tuple(command), echoed)


def describe_result(
    track: Track, first: Track, environment: Environment, models: PeerModels
) -> dict[str, Any]:
    """Make the report's entry of a runtime; `first` is tinyedge's track."""
    contender = track.contender
    return {
        "name": contender.name,
        "precision": contender.precision,
        "version": environment.version,
        "parameters": models.parameters if track is not first else None,
        "packages_bytes": environment.size,
        "model_bytes": measure_size(contender.model),
        "failure": None,
        "medians": compute_medians(track.rounds),
        "ratios": compute_ratios(first.rounds, track.rounds) if track is not first else None,
        "rounds": track.rounds,
    }


def describe_failure(name: str, precision: str, failures: Mapping[str, str]) -> dict[str, Any]:
    """Make the report's entry of a runtime that could not run, with the reason."""
    return {
        "name": name,
        "precision": precision,
        "version": None,
        "failure": failures[f"{name} {precision}"],
        "medians": None,
        "ratios": None,
        "rounds": [],
    }


def describe_this_machine(load: float) -> dict[str, Any]:
    """Describe what the figures depend on; `load` is the load average at the start."""
    machine = describe_machine()
    return {
        "cpu": machine.cpu,
        "cores": machine.cores,
        "features": list(machine.features),
        "kernel": machine.kernel,
        "python": machine.python,
        "load_average": [round(load, 2), round(os.getloadavg()[0], 2)],
    }


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write the three files, and print the Markdown."""
    from bench.peers.chart import draw_chart  # imports matplotlib

    folder.mkdir(parents=True, exist_ok=True)
    table = format_report(report)
    files.write_json(folder / f"{FILES}.json", report)
    files.write_text(folder / f"{FILES}.md", table)
    files.write_bytes(folder / f"{FILES}.png", draw_chart(report))
    print_line(table)
    print_line(f"written: {folder / FILES}.json, .md and .png")


def print_line(line: str) -> None:
    """Print a line and flush it, for progress."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
