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
    times = report["modelled_ms"]
    shares = report["wrong_actions"].items()
    acted = ", ".join(f"{WHO[who]} {100 * share:.1f}%" for who, share in shares)
    lines += [
        "",
        f"Wrong actions on sentences that are no command: {acted}. Modelled time of an answer on a Pi Zero"
        f" 2 W: p50 {times['p50']} ms, p95 {times['p95']} ms, longest {times['max']} ms.",
    ]
    return "\n".join(lines)


def format_failures(report: Mapping[str, Any]) -> str:
    """Return the first failures of each set as a Markdown table."""
    lines = ["| sentence | must give | gives |", "|---|---|---|"]
    for scores in report["sets"].values():
        for score in scores["model"].values():
            for failure in score["failures"][:MAX_FAILURES]:
                cells = (failure["sentence"], f"`{failure['expected']}`", f"`{failure['answer']}`")
                lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)
