"""What the bundle itself has to show: its weights, tokenizer, filter, answers to odd prompts, and its card.

In: a checked bundle and its generator. Out: a line each.
"""

import re
from collections.abc import Mapping
from typing import Any

from tinyedge.bundle.bundle import Bundle
from tinyedge.bundle.manifest import CARD_FILE, MODEL_FILE
from tinyedge.check.item import ARTIFACTS, CODE, DOCUMENTATION, VALIDATION, ChecklistItem, judged
from tinyedge.check.weights import odd_tensors
from tinyedge.core.errors import TinyEdgeError
from tinyedge.runtime.content_filter import STAR, ContentFilter
from tinyedge.runtime.generator import Generator
from tinyedge.runtime.sampler import SamplingConfig
from tinyedge.text.tokenizer import BOS_ID

MB = 1 << 20
WEIGHT_BYTES = 4  # of a weight that was trained
EDGE_CASES = {
    "empty": "",
    "10,000 characters": "palabra " * 1250,
    "only spaces": "   \t  ",
    "only line breaks": "\n\r\n\n",
    "emoji": "👩🏽‍🚀🇪🇸",
    "NUL": "before\0after",
    "lone surrogates": "\ud800 and \udfff",
    "right to left": "שלום \u202e عالم",
    "half a line": "First line.\nSecond",
}
EDGE_TOKENS = 8
LIMITS_HEADING = re.compile(r"^#+ .*\blimit.*\n((?:(?!#).*\n?)*)", re.IGNORECASE | re.MULTILINE)
LEAST_LIMITS = 100  # characters: one sentence


def check_weights(whole: Bundle, generator: Generator) -> ChecklistItem:
    """Every weight of the graph, and the logits over a whole context."""
    values, odd = odd_tensors(whole.model)
    name = f"no NaN or Inf in {MODEL_FILE}"
    if odd:
        return judged(VALIDATION, name, False, f"in {', '.join(odd[:5])}")
    try:
        decoder = generator.session.decoder()
        decoder.prefill([BOS_ID] * (generator.config.max_seq_length - 1))
        decoder.step(BOS_ID)
    except TinyEdgeError as failure:
        return judged(VALIDATION, name, False, failure.message)
    return judged(VALIDATION, name, True, f"{values:,} floating-point values and the logits are finite")


def check_tokenizer(whole: Bundle) -> ChecklistItem:
    """Loading the bundle has compared hash, size and ids already; here it is said."""
    tokenizer = whole.manifest["tokenizer"]
    ids = ", ".join(
        f"{name.removesuffix('_id').upper()} {number}"
        for name, number in tokenizer.items()
        if name.endswith("_id")
    )
    found = f"sha256 {tokenizer['sha256'][:12]}..., {tokenizer['vocab_size']:,} pieces as the model, {ids}"
    return ChecklistItem(ARTIFACTS, "the tokenizer is compatible with the model", found)


def check_filter(content_filter: ContentFilter) -> ChecklistItem:
    """The list loads, and stops each of its own words; that the commands use it is in their tests."""
    passed = [word for word in content_filter.patterns if not _stops(content_filter, word.replace(STAR, ""))]
    count = len(content_filter.patterns)
    found = (
        f"on by default in generate and serve; stops {count - len(passed)} of its {count} words and phrases"
    )
    return judged(CODE, "safety filter enabled", not passed, found)


def check_quantization(whole: Bundle) -> ChecklistItem:
    """Whether it is smaller than its weights in fp32."""
    precision, size = whole.manifest["precision"], len(whole.model)
    plain = WEIGHT_BYTES * whole.config.parameters
    found = f"{precision}, {size / MB:.2f} MB where fp32 weights take {plain / MB:.2f} MB"
    name = "quantization applied"
    if precision == "fp32":  # "if needed for smaller footprint": the budget decides that
        return ChecklistItem(CODE, name, f"{found}: not needed where the budget is kept", "skipped")
    return judged(CODE, name, size < plain, found)


def check_edge_cases(generator: Generator) -> ChecklistItem:
    """Odd prompts are answered: with tokens, and without an error."""
    failed = []
    for name, prompt in EDGE_CASES.items():
        try:
            found = generator.generate(
                prompt, max_tokens=EDGE_TOKENS, sampling=SamplingConfig(seed=0), ignore_eos=True
            )
            found.text.encode()
            answered = len(found.tokens) == EDGE_TOKENS
        except (TinyEdgeError, ValueError, RuntimeError) as failure:
            failed.append(f"{name} ({failure})")
            continue
        if not answered:
            failed.append(name)
    count = len(EDGE_CASES)
    found_words = f"{count - len(failed)} of {count} answered: {', '.join(EDGE_CASES)}"
    if failed:
        found_words += f"; not {', '.join(failed)}"
    return judged(CODE, "edge cases are answered", not failed, found_words)


def check_card(whole: Bundle) -> list[ChecklistItem]:
    """The model card: results, requirements, limits. Loading has checked that it is the manifest's file."""
    card = (whole.path / CARD_FILE).read_text("utf-8", "replace")
    return [
        _results(card, whole.manifest),
        _requirements(card, whole.manifest),
        _limits(card),
    ]


def _results(card: str, manifest: Mapping[str, Any]) -> ChecklistItem:
    figures = {name: f"{row['bits_per_byte']:.4f}" for name, row in manifest["quality"].items()}
    missing = [f"{name} {figure}" for name, figure in figures.items() if figure not in card]
    name = f"{CARD_FILE} has the training results"
    if not figures:
        return judged(DOCUMENTATION, name, False, "the manifest itself has no quality figures")
    found = f"bits per byte: {', '.join(f'{name} {figure}' for name, figure in figures.items())}"
    return judged(DOCUMENTATION, name, not missing, f"lacks {', '.join(missing)}" if missing else found)


def _requirements(card: str, manifest: Mapping[str, Any]) -> ChecklistItem:
    budgets = manifest["budgets"]
    needed = [
        manifest["target"],
        f"{budgets['max_rss_mb']} MB",
        f"{budgets['max_peak_mb']} MB",
        f"{budgets['max_p95_ms']} ms",
    ]
    missing = [text for text in needed if text not in " ".join(card.split())]
    found = f"lacks {', '.join(missing)}" if missing else ", ".join(needed)
    return judged(DOCUMENTATION, f"{CARD_FILE} has the system requirements", not missing, found)


def _limits(card: str) -> ChecklistItem:
    sections = [match.strip() for match in LIMITS_HEADING.findall(card)]
    longest = max(map(len, sections), default=0)
    found = f"{longest} characters under a heading of limits" if sections else "no heading of limits"
    return judged(DOCUMENTATION, f"{CARD_FILE} has the known limits", longest >= LEAST_LIMITS, found)


def _stops(content_filter: ContentFilter, text: str) -> bool:
    watch = content_filter.watch()
    watch.push(text)
    watch.flush()
    return watch.stopped
