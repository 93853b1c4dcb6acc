"""What a decoded token's time consists of on the board: its instructions and lines from DRAM, by part.

In: a guest, a bundle. Out: the report `parts-BOARD.json`, also of a start, and the table that the docs quote.

The counting plugin counts each piece of code without jumps. A piece belongs to a file and, in the native
kernels, to a function; `PARTS` assigns both to a part. ONNX Runtime's library has no symbols: it is one part.
"""

import importlib.util
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.twin.counts import Block, Counts, Figures
from bench.twin.layout import BOARD, LATENCY, SOURCES, TwinError
from bench.twin.measure import MAX_TOKENS, figures_to_json, measure_bundle
from bench.twin.report import read_versions
from bench.twin.start_parts import count_start
from bench.twin.symbols import Functions, read_code
from bench.twin.user_emulation import Guest
from tinyedge.bench.prompts import PROMPT_SET, PROMPTS
from tinyedge.bundle.bundle import bundle_digest, load_bundle
from tinyedge.core.engine import KERNELS, ONNXRUNTIME
from tinyedge.deploy.kernels_wheel import SOURCES as KERNELS_SOURCES

SCHEMA = "tinyedge.parts/1"
EXTENSION = "tinyedge_kernels/_kernels.abi3.so"
REST = "the rest: C library, calls between the parts"
MAX_REST = 0.1  # of a token's time: more, and a function was renamed
SHOWN_INSTRUCTIONS = 100  # of a place, for the report


@dataclass(frozen=True)
class Part:
    """A part of a token's work."""

    name: str
    """What it does."""
    places: str
    """Pattern of its places: a file, or for the native kernels a function."""


# The first part that matches counts.
PARTS = (
    Part("upper bounds of all logits", r"plane_bounds|write_bounds"),
    Part("mixing with the n-grams", r"mixture|ngrams"),
    Part("choosing and finishing the largest, the draw", r"plane|choose|finish(?!_block)|heap_|largest|draw"),
    Part("int8 products of the blocks, and with n-grams of the output", r"product"),
    Part("attention", r"attend"),
    Part("norms, GELU, quantization", r"quantize|.*norm|gelu|embed|advance|begin_|finish_|feed|require"),
    Part("ONNX Runtime: a run of one operator", r".*/libonnxruntime\.so"),
    Part("ONNX Runtime: a run of all operators", r".*/onnxruntime_pybind11"),
    Part("numpy", r".*/numpy|.*/libm\.so"),  # which calls the C library's logarithm
    Part("Python, with the text of a token", r".*/python3|.*/_sentencepiece"),
)  # fmt: skip


def find_part(place: str) -> str:
    """The part that a file or a function of the native kernels belongs to."""
    return next((part.name for part in PARTS if re.match(part.places, place)), REST)


def compile_functions(guest: Guest) -> Functions:
    """The functions of the kernels that are installed in the guest.

    The wheel has no symbols, so the sources are compiled again, and the code must be the installed one.

    Raises:
        TwinError: It is not.
    """
    path = KERNELS_SOURCES / "hatch_build.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not spec or not spec.loader:
        raise TwinError(f"{path} cannot be imported")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    with TemporaryDirectory() as folder:
        library = Path(folder) / "kernels.so"
        build.compile_extension(BOARD.wheel_platform.machine, library, symbols=True)
        if read_code(library) != read_code(guest.twin.product / EXTENSION):
            raise TwinError("the kernels in the twin are of other sources", "repeat the command")
        return Functions(library)


def locate(block: Block, functions: Functions) -> str:
    """The place of a piece of code: a function of the native kernels, else the path of its file."""
    return functions.find(block.offset) if block.file.endswith(EXTENSION) else block.file


def sum_places(blocks: Iterable[Block], functions: Functions) -> dict[str, Figures]:
    """The costs of each place."""
    sums: dict[str, Figures] = {}
    for block in blocks:
        place = locate(block, functions)
        sums[place] = sums.get(place, Figures()) + block.figures
    return sums


def count_places(guest: Guest, bundle: Path, functions: Functions) -> dict[str, Figures]:
    """The costs of a decoded token at each place, the mean over the benchmark's prompts.

    It is the difference between answers of `MAX_TOKENS` tokens and answers of one token.

    Raises:
        TwinError: The program in the guest fails.
    """
    one, all_tokens = (
        sum_places(count_answers(guest, bundle, tokens).blocks, functions) for tokens in (1, MAX_TOKENS)
    )
    tokens = len(PROMPTS) * (MAX_TOKENS - 1)
    nothing = Figures()
    return {place: (costs - one.get(place, nothing)) / tokens for place, costs in all_tokens.items()}


def count_answers(guest: Guest, bundle: Path, tokens: int) -> Counts:
    """Count one answer of so many tokens to each prompt. Raises TwinError if it fails."""
    script = [str(SOURCES / "guest" / "responses.py"), str(bundle.resolve()), "0", str(tokens)]
    outcome, counts = guest.count(script, blocks=True)
    if outcome.returncode:
        raise TwinError(f"responses.py in the guest exited with {outcome.returncode}: {outcome.errors}")
    return counts


def sum_parts(places: Mapping[str, Figures]) -> dict[str, Figures]:
    """The costs of each part, the slowest first and the rest at the end; a part without costs is left out.

    Raises:
        TwinError: Too much is in no part.
    """
    sums = {name: Figures() for name in (*(part.name for part in PARTS), REST)}
    for place, costs in places.items():
        sums[find_part(place)] += costs
    total = sum(costs.modelled_ms for costs in sums.values())
    if sums[REST].modelled_ms > MAX_REST * total:
        others = sorted((p for p in places if find_part(p) == REST), key=lambda p: -places[p].modelled_ms)
        raise TwinError(
            f"in no part: {', '.join(others[:5])}", "add them to PARTS in bench/twin/token_parts.py"
        )
    ordered = sorted(sums.items(), key=lambda part: (part[0] == REST, -part[1].modelled_ms))
    return {name: costs for name, costs in ordered if costs.instructions >= SHOWN_INSTRUCTIONS}


def compose_parts_report(guest: Guest, bundle: Path) -> dict[str, Any]:
    """Count answers of a bundle and a start in both engines, and report what they consist of.

    Raises:
        TwinError: A program in the guest fails, or too much is in no part.
    """
    functions = compile_functions(guest)
    loaded = load_bundle(bundle)
    engines = {}
    for engine in (KERNELS, ONNXRUNTIME):
        chosen = replace(guest, engine=engine)
        places = count_places(chosen, bundle, functions)
        modelled = measure_bundle(chosen, bundle).to_json()
        english = [row for row in modelled["prefill"] if row["prompt"].startswith("en-")]
        engines[engine] = {
            "decoded_token": modelled["token"],
            "p95_modelled_ms": modelled["e2e_ms"]["p95"],
            "first_modelled_ms": {str(row["prompt_tokens"]): row["modelled_ms"] for row in english},
            "cold_start": modelled["cold_start"],
            "token": figures_to_json(sum(places.values(), Figures())),
            "parts": {name: figures_to_json(costs) for name, costs in sum_parts(places).items()},
            "places": {
                place.removeprefix(str(guest.twin.root)): figures_to_json(costs)
                for place, costs in sorted(places.items(), key=lambda item: -item[1].modelled_ms)
                if costs.instructions >= SHOWN_INSTRUCTIONS
            },
            "start": count_start(chosen, bundle),
        }
    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": f"{BOARD.title}, emulated; instructions and lines are counted, times are modelled",
        "bundle": {"sha256": bundle_digest(loaded), "precision": loaded.manifest["precision"]},
        "error_percent": LATENCY.error_percent,
        "work": {"prompts": PROMPT_SET, "max_tokens": MAX_TOKENS},
        "engines": engines,
        "versions": {name: text for name, text in read_versions(guest.twin, "").items() if text},
    }


def engines_table(report: Mapping[str, Any]) -> str:
    """The costs of a bundle in both engines, as Markdown."""
    firsts = " / ".join(report["engines"][KERNELS]["first_modelled_ms"])
    head = ["a decoded token", "an answer of 20 tokens, p95", f"first token, prompt of {firsts} tokens"]
    first = f"engine; modelled, +-{LATENCY.error_percent:g}%"
    rows = [f"| {first} | {' | '.join(head)} | exec to first token |", "|---|---|---|---|---|"]
    for engine, found in report["engines"].items():
        cold = found["cold_start"]
        cells = (
            f"{found['decoded_token']['modelled_ms']:.2f} ms", f"{found['p95_modelled_ms']:.1f} ms",
            f"{' / '.join(f'{ms:.1f}' for ms in found['first_modelled_ms'].values())} ms",
            f"{cold['modelled_ms'] / 1e3:.2f} s, {cold['instructions'] / 1e6:.0f} M instructions",
        )  # fmt: skip
        rows.append(f"| `{engine}` | {' | '.join(cells)} |")
    return "\n".join(rows)


def token_table(report: Mapping[str, Any]) -> str:
    """The parts of a token in both engines, as Markdown."""
    head = (
        "| a decoded token | instructions | cycles | lines from DRAM"
        f" | modelled, +-{LATENCY.error_percent:g}% |"
    )
    rows = [head, "|---|---|---|---|---|"]
    for engine, found in report["engines"].items():
        rows.append(_token_row(f"**engine `{engine}`**", found["token"]))
        rows += [_token_row(name, costs) for name, costs in found["parts"].items()]
    return "\n".join(rows)


def _token_row(name: str, costs: Mapping[str, float]) -> str:
    """One row of the table."""
    cells = (
        f"{costs['instructions'] / 1e3:.0f} k", f"{costs['core_cycles'] / 1e3:.0f} k",
        f"{costs['dram_fills'] / 1e3:.1f} k", f"{costs['modelled_ms']:.2f} ms",
    )  # fmt: skip
    return f"| {name} | {' | '.join(cells)} |"
