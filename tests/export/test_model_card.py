"""The model card: figures from the manifest, and tables that text cannot break."""

import copy
from typing import Any

import pytest

from tinyedge.check.card import check_card
from tinyedge.export.model_card import render_model_card

MANIFEST: dict[str, Any] = {
    "model_id": "0123456789ab",
    "model": {
        "vocab_size": 8000,
        "d_model": 128,
        "nhead": 4,
        "num_layers": 2,
        "dim_feedforward": 256,
        "max_seq_length": 128,
    },
    "parameters": 2327552,
    "precision": "int8",
    "quantization": {"method": "dynamic", "worst_relative_error": 0.0123, "worst_matrix": "output"},
    "target": "pi-zero-2w",
    "budgets": {"max_rss_mb": 400, "max_peak_mb": 512, "max_p95_ms": 250},
    "parity": {"prompts": 19, "max_abs_logit_difference": 7.6e-6, "tokens_compared": 608, "ties": 1},
    "quality": {
        "es": {
            "fp32_bits_per_byte": 2.1277,
            "bits_per_byte": 2.1301,
            "change_percent": 0.1128,
            "kl_nats": 0.00037,
            "top1_agreement": 0.9671,
            "tokens": 20000,
            "bytes": 68931,
        }
    },
    "training": {"recipe": "fast", "epochs": 3, "checkpoint_sha256": "ab" * 32},
}


def test_card_says_the_manifests_figures() -> None:
    card = render_model_card(MANIFEST)
    for figure in (
        "0123456789ab",
        "2,327,552",
        "8,000",
        "2, 128, 4",
        "1.23 %, in output",
        "7.6e-06",
        "608",
        "400 MB",
    ):
        assert figure in card
    assert "| es | 2.1277 | 2.1301 | +0.11 % | 0.00037 | 96.71 % | 20,000 | 68,931 |" in card
    assert "| epochs | 3 |" in card
    assert "ab" * 32 in card
    assert "tinyedge generate BUNDLE" in card


def test_a_model_with_ngrams_has_both_figures() -> None:
    manifest = copy.deepcopy(MANIFEST)
    manifest["quality"]["es"]["mixed_bits_per_byte"] = 2.09876
    card = render_model_card(manifest)
    assert (
        "| same top token | tokens | bytes | with n-grams |\n|---|---|---|---|---|---|---|---|---|\n" in card
    )
    assert "| 20,000 | 68,931 | 2.0988 |" in card
    assert "`tinyedge eval --no-ngrams` measures the model alone" in card
    assert all(item.mark == "pass" for item in check_card(card, manifest))
    assert "n-grams" not in render_model_card(MANIFEST)


def test_what_was_not_recorded_is_not_in_the_card() -> None:
    card = render_model_card(MANIFEST)
    assert "training loss" not in card
    assert "None" not in card


def test_fp32_card_speaks_of_no_quantization() -> None:
    card = render_model_card(MANIFEST | {"precision": "fp32", "quantization": None})
    assert "| precision | fp32 |" in card
    assert "int8" not in card


def test_a_name_cannot_break_the_table() -> None:
    manifest = copy.deepcopy(MANIFEST)
    manifest["quality"] = {"a|b": manifest["quality"]["es"]}
    assert "| a\\|b | 2.1277" in render_model_card(manifest)


def test_a_strangers_text_has_no_effect_as_markup() -> None:
    manifest = copy.deepcopy(MANIFEST)
    manifest["training"]["recipe"] = "<script>x</script> [free](https://evil.example) `a`|b\n# c" + "d" * 5000
    card = render_model_card(manifest)
    (row,) = [line for line in card.splitlines() if line.startswith("| recipe |")]
    assert row.startswith(
        "| recipe | \\<script\\>x\\</script\\> \\[free\\](https:\\//evil.example) \\`a\\`\\|b \\# cd"
    )
    assert len(row) < 400
    assert "<script>" not in card


def test_the_share_of_unknown_bytes_is_in_the_card() -> None:
    manifest = copy.deepcopy(MANIFEST)
    assert "UNK" not in render_model_card(manifest)
    manifest["quality"]["es"]["unknown_bytes"] = 0.0123
    assert "Bytes behind UNK, each counted as 8 bits: es 1.23%." in render_model_card(manifest)


@pytest.mark.parametrize(
    ("openings", "prompt"),
    [
        ({"es": ["La casa de", "Uno"]}, "'La casa de'"),
        ({"es": ["L'aigua $HOME"]}, "'L'\"'\"'aigua $HOME'"),
        ({"es": ["-", "- pan"]}, "'Once upon a time'"),  # "-" would read standard input
        ({}, "'Once upon a time'"),
    ],
)
def test_the_card_suggests_an_opening_of_the_bundle(openings: dict[str, list[str]], prompt: str) -> None:
    card = render_model_card({**MANIFEST, "openings": openings})
    assert f"tinyedge generate BUNDLE --prompt {prompt}\n" in card
