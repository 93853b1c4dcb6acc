"""tinyedge beside onnxruntime-genai, llama.cpp and transformers: same shape, same machine, in turn.

    python -m bench.peers [--bundle BUNDLE] [--rounds 7] [--output bench/reports]

Makes an environment for each in .venv-peers, and models of the bundle's shape; without --bundle, a bundle of
random weights. Writes peers-x86-64.json, .md and .png. See README.md beside this file.
"""

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.peers.environments import PACKAGES, REPOSITORY, Environment, prepare, size_of
from bench.peers.figures import BUSY_LOAD, SCHEMA, US, judge, markdown, medians, ratios
from bench.peers.prepare_models import Models, invented_bundle, make_models, request_for
from bench.peers.rounds import Contender, Request, Track, run_rounds
from tinyedge.bundle.bundle import Bundle, load_bundle
from tinyedge.core import files
from tinyedge.core.errors import BenchError, TinyEdgeError, UsageError
from tinyedge.host.machine import describe_machine

ROOT = REPOSITORY / ".venv-peers"
FILES = "peers-x86-64"
# Runtime, precision, program, file or folder of the model. In this order, in each round.
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
    """The command line; a known failure is one line and a hint."""
    parser = argparse.ArgumentParser(prog="make bench-peers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bundle", type=Path, help="a bundle of tinyedge export [default: random weights]")
    parser.add_argument("--rounds", type=int, default=7, help="how often each runs [default: 7]")
    parser.add_argument("--seconds", type=float, default=2.0, help="of generating, in each run [default: 2]")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "bench" / "reports", help="a folder")
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
    """All of it. A peer that cannot run is in the table; where tinyedge cannot, this raises TinyEdgeError."""
    if options.rounds < 1:
        raise UsageError(f"--rounds {options.rounds} is less than 1")
    if not 0 < options.seconds <= 60:
        raise UsageError(f"--seconds {options.seconds:g} is outside 0-60")
    if platform.machine() != "x86_64":
        raise BenchError(f"this machine is {platform.machine()}", "compare the peers on x86_64")
    bundle = load_bundle(options.bundle) if options.bundle else invented_bundle(ROOT / "bundle")
    request = request_for(bundle, options.seconds)
    load = os.getloadavg()[0]
    failures: dict[str, str] = {}
    environments = prepared(failures)
    models = make_models(ROOT, bundle, environments, failures)
    contenders = [ours(environments[US], bundle, request)]
    for name, precision, program, file in PEERS:
        failure = failures.get(name) or models.failures.get("") or models.failures.get(file)
        if failure:
            failures[f"{name} {precision}"] = failure
        else:
            python = environments[name].python
            contenders.append(Contender(name, precision, python, program, models.folder / file))
    tracks = run_rounds(contenders, request, options.rounds, say)
    if tracks[0].failure:
        raise BenchError(tracks[0].failure, "try the bundle with: tinyedge bench")
    for track in tracks:
        if track.failure:
            failures[f"{track.contender.name} {track.contender.precision}"] = track.failure
    found = [
        described(track, tracks[0], environments[track.contender.name], models)
        for track in tracks
        if not track.failure
    ]
    found += [
        absent(name, precision, failures)
        for name, precision, *_ in PEERS
        if f"{name} {precision}" in failures
    ]
    report = {
        "schema": SCHEMA,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "shape": dict(bundle.manifest["model"]),
        "request": vars(request),
        "rounds": options.rounds,
        "machine": this_machine(load),
        "runtimes": found,
        "goals": judge(found, load > BUSY_LOAD),
    }
    write(report, options.output)


def prepared(failures: dict[str, str]) -> dict[str, Environment]:
    """The environments that could be made. Raises BenchError where tinyedge's own is not among them."""
    found = {}
    for name in PACKAGES:
        say(f"environment of {name}")
        try:
            found[name] = prepare(ROOT, name)
        except BenchError as failure:
            failures[name] = failure.message
            say(f"  left out: {failure.message}")
    if US not in found:
        raise BenchError(
            f"tinyedge itself cannot be installed: {failures[US]}", "check the network and the disk"
        )
    return found


def ours(environment: Environment, bundle: Bundle, request: Request) -> Contender:
    """tinyedge; what starts cold is its command, which shows the prompt before the first token."""
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
    return Contender(US, precision, python, "use_tinyedge.py", bundle.path, tuple(command), echoed)


def described(track: Track, first: Track, environment: Environment, models: Models) -> dict[str, Any]:
    """A runtime's entry in the report; `first` is tinyedge's track."""
    contender = track.contender
    return {
        "name": contender.name,
        "precision": contender.precision,
        "version": environment.version,
        "parameters": models.parameters if track is not first else None,
        "packages_bytes": environment.size,
        "model_bytes": size_of(contender.model),
        "failure": None,
        "medians": medians(track.rounds),
        "ratios": ratios(first.rounds, track.rounds) if track is not first else None,
        "rounds": track.rounds,
    }


def absent(name: str, precision: str, failures: Mapping[str, str]) -> dict[str, Any]:
    """The entry of a runtime that could not run, with the reason."""
    return {
        "name": name,
        "precision": precision,
        "version": None,
        "failure": failures[f"{name} {precision}"],
        "medians": None,
        "ratios": None,
        "rounds": [],
    }


def this_machine(load: float) -> dict[str, Any]:
    """What the figures depend on; load: the load average when it began."""
    machine = describe_machine()
    return {
        "cpu": machine.cpu,
        "cores": machine.cores,
        "features": list(machine.features),
        "kernel": machine.kernel,
        "python": machine.python,
        "load_average": [round(load, 2), round(os.getloadavg()[0], 2)],
    }


def write(report: dict[str, Any], folder: Path) -> None:
    """The three files; the table and the goals also to the terminal."""
    from bench.peers.chart import picture  # matplotlib: only now that there is something to draw

    folder.mkdir(parents=True, exist_ok=True)
    table = markdown(report)
    files.write_json(folder / f"{FILES}.json", report)
    files.write_text(folder / f"{FILES}.md", table)
    files.write_bytes(folder / f"{FILES}.png", picture(report))
    say(table)
    say(f"written: {folder / FILES}.json, .md and .png")


def say(line: str) -> None:
    """A line of progress, seen at once."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
