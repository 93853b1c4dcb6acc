"""`python -m bench.commands BUNDLE`: judge a bundle of home commands, and hassil's matcher.

Sets: expansions of the templates that training held out; test sentences in Home Assistant's form (--tests);
paraphrases that no template covers; sentences that are no commands. Writes a report with every failure.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.commands.judge import Case, Score, complete_homes, judge, read_cases, read_homes, read_sentences
from bench.commands.matcher import Matcher
from bench.commands.quote import format_failures, format_scores
from bench.quoted_blocks import update_documents
from tinyedge.core.files import write_json
from tinyedge.core.sampling import COMMAND_TOKENS, SamplingConfig
from tinyedge.core.stats import percentile
from tinyedge.corpus.commands.answer import UNKNOWN, Command, parse_answer
from tinyedge.corpus.commands.home import format_prompt
from tinyedge.corpus.commands.source import generate_pairs, load_templates
from tinyedge.corpus.commands.templates import LANGUAGES, TemplateSet
from tinyedge.forms.form import Form
from tinyedge.runtime.generator import Generator
from tinyedge.text.turns import encode_turns

FOLDER = Path(__file__).parent
REPORT = FOLDER.parent / "reports/commands.json"
DOCUMENT = FOLDER.parents[1] / "docs/tasks.md"
SCHEMA = "tinyedge.commands/1"
GREEDY = SamplingConfig(temperature=0)


class Model:
    """A bundle that answers, and how many tokens it took."""

    def __init__(self, bundle: Path) -> None:
        self.generator = Generator.load(bundle)
        self.tokens: list[tuple[int, int]] = []

    def answer(self, prompt: str) -> str:
        """Return the answer to a prompt."""
        ids = encode_turns(self.generator.tokenizer, [prompt])
        room = min(COMMAND_TOKENS, self.generator.bundle.config.max_seq_length - len(ids))
        form = Form.command(prompt)
        steps = list(self.generator.stream(ids, max_tokens=room, sampling=GREEDY, form=form))
        self.tokens.append((len(ids), len(steps)))
        return "".join(step.text for step in steps)


def main() -> None:
    """Judge, print a table, write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--templates", default="", help="folder of templates, or builtin; default: download")
    parser.add_argument("--cache", type=Path, default=Path("data/commands"), help="folder of the download")
    parser.add_argument("--tests", type=Path, help="test sentences, one JSON object a line")
    parser.add_argument("--homes", type=Path, default=FOLDER / "homes.json", help="a home for each language")
    parser.add_argument("--held-out", type=int, default=2000, help="number of expansions")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the corpus that the bundle was trained on"
    )
    parser.add_argument("--no-matcher", action="store_true", help="leave hassil's matcher out")
    parser.add_argument(
        "--record", action="store_true", help="keep the report, and quote it in docs/tasks.md"
    )
    parser.add_argument("--json", type=Path, help="where to write the report")
    options = parser.parse_args()

    templates = load_templates(options.templates, options.cache, print)
    sets = collect_sets(templates, options.tests, options.held_out, options.seed)
    homes = complete_homes(read_homes(options.homes), sets.get("test sentences", ()))
    model = Model(options.bundle)

    def ask_model(case: Case) -> tuple[Command | None, str]:
        text = model.answer(case.prompt or format_prompt(homes[case.language], case.sentence))
        return parse_answer(text), text

    matchers = (
        {} if options.no_matcher else {name: Matcher(templates, name, homes[name]) for name in LANGUAGES}
    )

    def ask_matcher(case: Case) -> tuple[Command | None, str]:
        answer = matchers[case.language].answer(case.sentence)
        return answer, answer.to_text()

    results: dict[str, Any] = {}
    for name, cases in sets.items():
        scores = {"model": judge(cases, ask_model)}
        if matchers and name != "held-out expansions":  # their homes differ, and they match by construction
            scores["matcher"] = judge(cases, ask_matcher)
        results[name] = {
            who: {key: one.to_json() for key, one in score.items()} for who, score in scores.items()
        }
        for who, score in scores.items():
            print_scores(name, who, score)
    report = {
        "schema": SCHEMA,
        "model_id": model.generator.bundle.model_id,
        "sets": results,
        "wrong_actions": count_wrong_actions(results),
        "tokens": {
            name: {f"p{rank}": percentile(sorted(counts), rank) for rank in (50, 95, 100)}
            for name, counts in zip(("prompt", "answer"), zip(*model.tokens, strict=True), strict=True)
        },
    }
    print(f"wrong actions: {report['wrong_actions']}")
    if options.json:
        write_json(options.json, report)
    if options.record:
        for score in (
            one for by_language in results.get("test sentences", {}).values() for one in by_language.values()
        ):
            score["failures"] = []  # those sentences are Home Assistant's, and are not copied here
        write_json(REPORT, report)
        parts = {"commands": format_scores(report), "commands:failures": format_failures(report)}
        update_documents([DOCUMENT], parts)


def collect_sets(
    templates: TemplateSet, tests: Path | None, held_out: int, seed: int
) -> dict[str, Sequence[Case]]:
    """Return the cases of each set."""
    pairs = generate_pairs(templates, held_out, seed, held_out=True)
    sets: dict[str, Sequence[Case]] = {
        "held-out expansions": [
            Case(pair.language, pair.sentence, pair.command.intent, pair.command.slots, pair.prompt)
            for pair in pairs
        ]
    }
    if tests:
        sets["test sentences"] = read_cases(tests)
    sets["paraphrases"] = read_cases(FOLDER / "paraphrases.jsonl")
    sets["out of domain"] = [
        case for name in LANGUAGES for case in read_sentences(FOLDER / f"out_of_domain_{name}.txt", name)
    ]
    return sets


def count_wrong_actions(results: dict[str, Any]) -> dict[str, float]:
    """Return the share of out-of-domain sentences with an answer that names another intent than unknown."""
    shares = {}
    for who, scores in results["out of domain"].items():
        failures = [failure for score in scores.values() for failure in score["failures"]]
        acted = sum(
            (answer := parse_answer(entry["answer"])) is not None and answer.intent != UNKNOWN
            for entry in failures
        )
        shares[who] = round(acted / sum(score["n"] for score in scores.values()), 4)
    return shares


def print_scores(name: str, who: str, scores: dict[str, Score]) -> None:
    """Print one line for each language."""
    for language, score in sorted(scores.items()):
        print(
            f"{name:20} {who:8} {language}  n {score.n:5}  intent {score.intent / score.n:.3f}"
            f"  intent and slots {score.exact / score.n:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
