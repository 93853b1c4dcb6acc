"""The report of `bench.commands` as tables of docs/tasks.md."""

from collections.abc import Mapping
from typing import Any

NAMES = {
    "held-out expansions": "expansions of the templates that training never has, names never trained",
    "test sentences": "Home Assistant's test sentences",
    "paraphrases": "paraphrases that no template covers",
    "out of domain": "no command: answered `unknown`",
}
WHO = {"model": "the model", "matcher": "hassil"}
MAX_FAILURES = 6  # quoted from each set


def format_scores(report: Mapping[str, Any]) -> str:
    """Return the shares of right answers as a Markdown table."""
    lines = ["| sentences | | language | n | intent | intent and slots |", "|---|---|---|---|---|---|"]
    for name, scores in report["sets"].items():
        for who, by_language in scores.items():
            for language, score in sorted(by_language.items()):
                lines.append(
                    f"| {NAMES[name]} | {WHO[who]} | {language} | {score['n']}"
                    f" | {100 * score['intent']:.1f}% | {100 * score['exact']:.1f}% |"
                )
    shares = report["wrong_actions"].items()
    acted = ", ".join(f"{WHO[who]} {100 * share:.1f}%" for who, share in shares)
    lines += ["", f"Wrong actions on sentences that are no command: {acted}."]
    return "\n".join(lines)


def format_costs(costs: Mapping[str, Any]) -> str:
    """Return what commands cost on the board, as a Markdown table."""
    times = costs["modelled_ms"]
    return "\n".join(
        (
            f"| {costs['n']} commands on an emulated Pi Zero 2 W, one thread"
            f" | modelled: +-{costs['error_percent']:g}% |",
            "|---|---|",
            f"| an answer, p50 | {times['p50']:.0f} ms |",
            f"| an answer, p95 | {times['p95']:.0f} ms |",
            f"| the slowest | {times['max']:.0f} ms |",
            f"| instructions, mean | {costs['instructions'] / 1e6:.0f} M |",
            f"| tokens of a prompt and of an answer, mean"
            f" | {costs['prompt_tokens']:.0f} and {costs['answer_tokens']:.0f} |",
        )
    )


def format_failures(report: Mapping[str, Any]) -> str:
    """Return the first failures of each set as a Markdown table."""
    lines = ["| sentence | must give | gives |", "|---|---|---|"]
    for scores in report["sets"].values():
        for score in scores["model"].values():
            for failure in score["failures"][:MAX_FAILURES]:
                cells = (failure["sentence"], f"`{failure['expected']}`", f"`{failure['answer']}`")
                lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)
