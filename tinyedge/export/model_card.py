"""The bundle's README.md: what the model is, its quality, how to run it, its limits.

In: a manifest. Out: Markdown. All figures come from the manifest, so the card cannot disagree with it.
"""

import shlex
from collections.abc import Mapping
from typing import Any

from tinyedge.bundle.manifest import MIXED_BITS
from tinyedge.core.markdown import escape_markdown

# Fields of the training summary that the card shows, and their labels.
TRAINING_ROWS = {
    "recipe": "recipe",
    "epochs": "epochs",
    "train_tokens": "tokens of training text",
    "train_loss": "training loss, nats per token",
    "val_loss": "held-out loss, nats per token",
    "held_out": "held out by",
    "seed": "seed",
}
MAX_CELL_CHARACTERS = 200
DEFAULT_PROMPT = "Once upon a time"  # of a card whose bundle has no opening


def render_model_card(manifest: Mapping[str, Any]) -> str:
    """Render the card of a bundle; the fields that `write_bundle` adds to the manifest are not needed."""
    parts = (
        _render_summary(manifest),
        _render_quality(manifest),
        _render_parity(manifest["parity"]),
        _render_training(manifest["training"]),
        _render_usage(manifest),
        LIMITS,
    )
    return "\n".join(parts)


def _render_summary(manifest: Mapping[str, Any]) -> str:
    model = manifest["model"]
    languages = ", ".join(map(_format_cell, manifest["quality"]))
    does = "answers prompts as the pairs that it was trained on" if "chat" in manifest else "continues text"
    return f"""# A tiny language model ({languages}), {manifest["precision"]}

A Transformer of {manifest["parameters"]:,} parameters that {does}, made with tinyedge for
`{manifest["target"].replace("`", "'")}`: ONNX Runtime runs it, torch isn't needed.

| | |
|---|---|
| model id | `{manifest["model_id"]}` |
| vocabulary | {model["vocab_size"]:,} SentencePiece pieces |
| context | {model["max_seq_length"]} tokens |
| layers, width, heads | {model["num_layers"]}, {model["d_model"]}, {model["nhead"]} |
| width inside a block | {model["dim_feedforward"]} |
| precision | {_format_precision(manifest)} |
"""


def _format_precision(manifest: Mapping[str, Any]) -> str:
    quantization = manifest["quantization"]
    if quantization is None:
        return "fp32"
    return (
        f"int8 ({quantization['method']}); largest weight error"
        f" {100 * quantization['worst_relative_error']:.2f} %, in {quantization['worst_matrix']}"
    )


def _render_quality(manifest: Mapping[str, Any]) -> str:
    has_ngrams = any(MIXED_BITS in row for row in manifest["quality"].values())
    rows = [
        f"| {_format_cell(name)} | {row['fp32_bits_per_byte']:.4f} | {row['bits_per_byte']:.4f}"
        f" | {row['change_percent']:+.2f} % | {row['kl_nats']:.5f} | {100 * row['top1_agreement']:.2f} %"
        f" | {row['tokens']:,} | {row['bytes']:,} |{f' {row[MIXED_BITS]:.4f} |' if has_ngrams else ''}"
        for name, row in manifest["quality"].items()
    ]
    unknown = [
        f"{_format_cell(name)} {100 * row['unknown_bytes']:.2f}%"
        for name, row in manifest["quality"].items()
        if "unknown_bytes" in row
    ]
    counted = f"\nBytes behind UNK, each counted as 8 bits: {', '.join(unknown)}.\n" if unknown else ""
    return "\n".join(
        (
            "## Quality",
            "",
            "Bits per byte on held-out text (lower is better), computed as the device computes; divergence of"
            " this model from the fp32 one, and how often both find the same token likeliest.",
            "",
            "| text | fp32 | this model | change | KL, nats | same top token | tokens | bytes |"
            + (" with n-grams |" if has_ngrams else ""),
            "|---|---|---|---|---|---|---|---|" + ("---|" if has_ngrams else ""),
            *rows,
            *([NGRAMS] if has_ngrams else []),
            counted,
        )
    )


def _render_parity(parity: Mapping[str, Any]) -> str:
    return f"""## Parity

The fp32 graph is the trained model: on {parity["prompts"]} prompts no logit differs from torch's by more than
{parity["max_abs_logit_difference"]:.1e}, and {parity["tokens_compared"]:,} greedy tokens are the same
(ties: {parity["ties"]}).
"""


def _render_training(training: Mapping[str, Any]) -> str:
    rows = [
        f"| {label} | {_format_cell(training[name])} |"
        for name, label in TRAINING_ROWS.items()
        if name in training
    ]
    return "\n".join(
        (
            "## Training",
            "",
            "| | |",
            "|---|---|",
            *rows,
            f"| checkpoint, sha256 | `{training['checkpoint_sha256']}` |",
            "",
        )
    )


def _render_usage(manifest: Mapping[str, Any]) -> str:
    budgets = manifest["budgets"]
    openings = [opening for texts in manifest.get("openings", {}).values() for opening in texts]
    # One that begins with "-" would be read as an option, or as standard input.
    prompt = next((opening for opening in openings if not opening.startswith("-")), DEFAULT_PROMPT)
    return f"""## Use

With the tinyedge wheel installed that its own README says how to build (the name on the package index is
another project's):

```
tinyedge verify BUNDLE
tinyedge generate BUNDLE --prompt {shlex.quote(prompt)}
tinyedge bench BUNDLE
```

BUNDLE is this folder. `bench` says whether the device keeps the budget: {budgets["max_rss_mb"]} MB of memory,
{budgets["max_peak_mb"]} MB at the peak, a 95th percentile of {budgets["max_p95_ms"]} ms a response.
"""


NGRAMS = """
With n-grams: this model mixed with `ngrams.bin`, a table of what followed the last tokens in the training
text. Every command mixes both; `tinyedge eval --no-ngrams` measures the model alone."""

LIMITS = """## Limits

A model this small completes text in the manner of what it was trained on. It knows nothing, doesn't follow
instructions, and may produce anything that its training text holds, errors and offence included. Don't rely
on what it says.

## Licence

The weights come from the training text: they may be used as that text allows. tinyedge itself is Apache-2.0.
"""


def _format_cell(value: object) -> str:
    """Format a value for a table cell: readable numbers, and text without effect as Markdown or HTML."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return escape_markdown(str(value), MAX_CELL_CHARACTERS)
