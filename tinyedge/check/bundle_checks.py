"""Checks of the bundle's model: its weights, its size, and its answers to unusual prompts.

In: a loaded bundle and its generator. Out: a checklist item for each.
"""

from tinyedge.bundle.bundle import Bundle
from tinyedge.bundle.manifest import MODEL_FILE
from tinyedge.check.finite_weights import find_nonfinite
from tinyedge.check.item import CODE, VALIDATION, ChecklistItem, make_item
from tinyedge.core.errors import TinyEdgeError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime.generator import Generator
from tinyedge.text.tokenizer import BOS_ID

MB = 1 << 20
WEIGHT_BYTES = 4  # size of a trained weight, fp32
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


def check_weights(bundle: Bundle, generator: Generator) -> ChecklistItem:
    """Check every weight of the graph, and the logits over a complete context."""
    values, nonfinite = find_nonfinite(bundle.model)
    name = f"no NaN or Inf in {MODEL_FILE}"
    if nonfinite:
        return make_item(VALIDATION, name, False, f"in {', '.join(nonfinite[:5])}")
    try:
        decoder = generator.session.decoder()
        decoder.prefill([BOS_ID] * (generator.config.max_seq_length - 1))
        decoder.step(BOS_ID)
    except TinyEdgeError as failure:
        return make_item(VALIDATION, name, False, failure.message)
    return make_item(VALIDATION, name, True, f"{values:,} floating-point values and the logits are finite")


def check_quantization(bundle: Bundle) -> ChecklistItem:
    """Check that the model file is smaller than its weights in fp32."""
    precision, size = bundle.manifest["precision"], len(bundle.model)
    fp32_size = WEIGHT_BYTES * bundle.config.parameters
    found = f"{precision}, {size / MB:.2f} MB compared with {fp32_size / MB:.2f} MB for fp32 weights"
    name = "quantization applied"
    if precision == "fp32":  # required only "if needed for smaller footprint"
        return ChecklistItem(CODE, name, f"{found}: not needed if the budget is met", "skipped")
    return make_item(CODE, name, size < fp32_size, found)


def check_edge_cases(generator: Generator) -> ChecklistItem:
    """Check that unusual prompts produce tokens and no error."""
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
    return make_item(CODE, "edge cases are answered", not failed, found_words)
