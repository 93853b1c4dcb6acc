"""`python -m bench.commands.count BUNDLE`: what home commands cost on the board, counted on the twin.

Every answer is counted completely: the names that the sentence mentions, the prompt's tokens, the form of the
answer, and its tokens. The report of `bench.commands` has the result.
"""

import argparse
import json
import random
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.commands.__main__ import DOCUMENT, FOLDER, REPORT, SCHEMA, Model
from bench.commands.judge import complete_homes, read_cases, read_homes, read_sentences
from bench.commands.quote import format_costs
from bench.quoted_blocks import update_documents
from bench.twin.build import build, make_plugin
from bench.twin.counts import Counts, percentile
from bench.twin.layout import BOARD, LATENCY, SOURCES, TwinError, locate_twin
from bench.twin.measure import mean_figures, summarize
from bench.twin.user_emulation import Guest
from tinyedge.bundle.bundle import load_bundle
from tinyedge.core import files
from tinyedge.corpus.commands.home import Home, format_prompt
from tinyedge.corpus.commands.templates import LANGUAGES

SEED = 0


def main() -> None:
    """Count, print, and write the result into the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--tests", type=Path, help="test sentences, one JSON object a line")
    parser.add_argument("-n", type=int, default=100, help="number of commands (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="folder of the twin")
    parser.add_argument("--record", action="store_true", help="write the result into the report and docs")
    options = parser.parse_args()
    cases = [*(read_cases(options.tests) if options.tests else ()), *read_cases(FOLDER / "paraphrases.jsonl")]
    homes = complete_homes(read_homes(FOLDER / "homes.json"), cases)
    cases += [
        case for name in LANGUAGES for case in read_sentences(FOLDER / f"out_of_domain_{name}.txt", name)
    ]
    chosen = random.Random(SEED).sample(cases, options.n)
    commands = [(case.language, case.sentence) for case in chosen]
    twin = locate_twin(options.folder, "bookworm", BOARD)
    build(twin)
    make_plugin(twin)
    costs = count_commands(Guest(twin), options.bundle, homes, commands)
    print(json.dumps(costs, indent=1))
    if options.record:
        report = files.read_json(REPORT, SCHEMA, TwinError)
        if report["model_id"] != load_bundle(options.bundle).model_id:
            raise TwinError(f"{REPORT} is of another bundle: run python -m bench.commands first")
        files.write_json(REPORT, {**report, "counted": costs})
        update_documents([DOCUMENT], {"commands:costs": format_costs(costs)})


def count_commands(
    guest: Guest, bundle: Path, homes: Mapping[str, Home], commands: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Count the answers to commands.

    Args:
        guest: The twin.
        bundle: Folder of the bundle.
        homes: A home for each language.
        commands: Language and sentence of each.

    Raises:
        TwinError: The program fails, or an answer is not that of this machine.
    """
    values = {
        language: {
            "devices": [{"name": name, "domain": domain} for name, domain in home.devices],
            "areas": list(home.areas),
            "floors": list(home.floors),
        }
        for language, home in homes.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "commands.json"
        file.write_text(json.dumps({"homes": values, "commands": commands}), "utf-8")
        outcome, counts = guest.count(
            [str(SOURCES / "guest" / "commands.py"), str(bundle.resolve()), str(file)]
        )
    if outcome.returncode:
        raise TwinError(f"commands.py in the guest exited with {outcome.returncode}: {outcome.errors}")
    answers = json.loads(outcome.output)
    check_answers(bundle, homes, commands, [text for _, _, text in answers])
    return summarize_costs(counts, answers, commands)


def check_answers(
    bundle: Path, homes: Mapping[str, Home], commands: Sequence[tuple[str, str]], answers: Sequence[str]
) -> None:
    """Raise TwinError unless the answers of the twin are those of this machine."""
    model = Model(bundle)
    for (language, sentence), answer in zip(commands, answers, strict=True):
        expected = model.answer(format_prompt(homes[language], sentence))
        if answer != expected:
            raise TwinError(f"{sentence!r}: the twin answers {answer}, this machine {expected}")


def summarize_costs(
    counts: Counts, answers: Sequence[tuple[int, int, str]], commands: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Return percentiles of the modelled times, means of the counts, and the slowest command."""
    if len(counts.steps) != len(answers):
        raise TwinError(f"{len(counts.steps)} marks do not match {len(answers)} answers")
    times = [step.modelled_ms for step in counts.steps]
    slowest = times.index(max(times))
    return {
        "n": len(answers),
        "modelled_ms": summarize(times),
        "p95_bound_ms": round(LATENCY.margin * percentile(times, 95), 1),
        "error_percent": LATENCY.error_percent,
        "instructions": round(mean_figures(counts.steps).instructions),
        "prompt_tokens": statistics.fmean(tokens for tokens, _, _ in answers),
        "answer_tokens": statistics.fmean(tokens for _, tokens, _ in answers),
        "slowest": commands[slowest][1],
    }


if __name__ == "__main__":
    main()
