"""The model card: what an export writes passes; a card of another model, or without a section, does not."""

import copy
from typing import Any

import pytest

from tinyedge.check.card import LIMITS, check_card, find_sections
from tinyedge.check.item import ChecklistItem

MANIFEST: dict[str, Any] = {
    "parameters": 2_327_552,
    "precision": "int8",
    "target": "pi-zero-2w",
    "budgets": {"max_rss_mb": 400, "max_peak_mb": 512, "max_p95_ms": 250},
    "quality": {
        "en": {"fp32_bits_per_byte": 0.89, "bits_per_byte": 0.89157},
        "es": {"fp32_bits_per_byte": 0.81, "bits_per_byte": 0.81315},
    },
    "training": {"val_loss": 2.159033, "checkpoint_sha256": "ab" * 32},
}
CARD = """# A tiny language model (en, es), int8

A Transformer of 2,327,552 parameters, made for `pi-zero-2w`.

## Quality

| text | fp32 | this model |
|---|---|---|
| en | 0.8900 | 0.8916 |
| es | 0.8100 | 0.8132 |

## Training

| held-out loss, nats per token | 2.159 |

## Use

```
# Limits in a shell comment are no heading
tinyedge bench BUNDLE
```

400 MB of memory, 512 MB at the peak, a 95th percentile of 250 ms a response.

## Limits

### Of the text

A model this small completes text in the manner of what it was trained on. It knows nothing.

### Of the machine

It was measured on one board.
"""


def check(card: str, manifest: dict[str, Any] = MANIFEST) -> dict[str, ChecklistItem]:
    return {item.name.rpartition(" ")[2]: item for item in check_card(card, manifest)}


def test_a_card_that_agrees_passes() -> None:
    found = check(CARD)
    assert {name: item.mark for name, item in found.items()} == {
        "results": "pass",
        "requirements": "pass",
        "limits": "pass",
    }
    assert "en 0.8916, es 0.8132" in found["results"].found


@pytest.mark.parametrize(
    ("old", "new", "name", "expected"),
    [
        ("0.8916", "0.9001", "results", "has another figure than 0.8916 in the row of en"),
        ("| es | 0.8100 | 0.8132 |", "", "results", "lacks es 0.8132"),
        ("## Quality", "## Introduction", "results", "no heading of results"),
        ("2,327,552", "12,327,552", "results", "lacks 2,327,552 parameters"),
        (", int8", ", fp32", "results", "lacks int8"),
        ("| 2.159 |", "| 2.1 |", "results", "lacks 2.159"),
        ("| en | 0.8900 | 0.8916 |", "| en | 0.8916 | 0.9999 |", "results", "another figure than 0.8916"),
        ("| en | 0.8900 | 0.8916 |", "| en | 9.9 | 10.8916 |", "results", "another figure than 0.8916"),
        ("| en | 0.8900 | 0.8916 |", "| en | 0.8916 |", "results", "another figure than 0.8916"),
        ("| en |", "| zz |", "results", "lacks en 0.8916"),
        ("| this model |", "| another |", "results", "lacks en 0.8916"),
        ("| 2.159 |", "| -2.159 |", "results", "lacks 2.159"),
        ("| 2.159 |", "| 2.159.1 |", "results", "lacks 2.159"),
        ("400 MB", "1400 MB", "requirements", "lacks 400 MB"),
        ("400 MB", "-400 MB", "requirements", "lacks 400 MB"),
        ("400 MB", "\N{MINUS SIGN}400 MB", "requirements", "lacks 400 MB"),
        ("400 MB", "400 MB/s", "requirements", "lacks 400 MB"),
        ("250 ms", "250 msec", "requirements", "lacks 250 ms"),
        ("`pi-zero-2w`", "`x86-64`", "requirements", "lacks pi-zero-2w"),
        ("## Use", "## Introduction", "requirements", "no heading of use or requirements"),
        ("## Limits", "## Introduction", "limits", "no heading of limits"),
        (CARD.partition("### Of the text")[2], "\n\nNone.\n", "limits", "characters under a heading"),
    ],
)
def test_a_card_that_disagrees_or_lacks_a_section(old: str, new: str, name: str, expected: str) -> None:
    found = check(CARD.replace(old, new))
    assert {key: item.mark for key, item in found.items() if item.mark == "fail"} == {name: "fail"}
    assert expected in found[name].found


def test_the_figures_with_ngrams_have_a_column_of_their_own() -> None:
    manifest = copy.deepcopy(MANIFEST)
    for row, mixed in zip(manifest["quality"].values(), (0.87, 0.79), strict=True):
        row["mixed_bits_per_byte"] = mixed
    assert "lacks en 0.8700" in check(CARD, manifest)["results"].found
    card = CARD.replace("this model |\n|---", "this model | with n-grams |\n|---|---")
    card = card.replace("0.8916 |", "0.8916 | 0.8700 |").replace("0.8132 |", "0.8132 | 0.7900 |")
    item = check(card, manifest)["results"]
    assert item.mark == "pass"
    assert "en 0.8916, es 0.8132, en 0.8700 with n-grams, es 0.7900 with n-grams" in item.found
    swapped = card.replace("0.8916 | 0.8700", "0.8700 | 0.8916")
    assert "another figure than 0.8700 in the row of en" in check(swapped, manifest)["results"].found


def test_figures_of_two_texts_cannot_be_swapped() -> None:
    card = CARD.replace("0.8916", "x").replace("0.8132", "0.8916").replace("x |", "0.8132 |")
    assert check(card)["results"].found == (
        "has another figure than 0.8916 in the row of en; has another figure than 0.8132 in the row of es"
    )


def test_a_table_may_be_indented_and_omit_the_outer_pipes() -> None:
    quality = "text | fp32 | this model\n---|---|---\nen | 0.8900 | 0.8916\n  es | 0.8100 | 0.8132"
    table = CARD[CARD.index("| text") : CARD.index("\n\n## Training")]
    card = CARD.replace(table, quality)
    assert check(card)["results"].mark == "pass"
    assert check(card.replace("0.8900 | 0.8916", "0.8916 | 0.9999"))["results"].mark == "fail"


@pytest.mark.parametrize("figure", ["0.8916", "0.8916,", "10.8916", "-0.8916", "0.89161"])
def test_a_sentence_may_have_the_figures_where_there_is_no_table(figure: str) -> None:
    table = CARD[CARD.index("| text") : CARD.index("\n\n## Training")]
    card = CARD.replace(table, f"In en {figure} and in es 0.8132 bits per byte.")
    assert check(card)["results"].found.startswith(
        "lacks en" if figure.strip(",") != "0.8916" else "2,327,552"
    )


def test_a_pipe_in_the_name_of_a_text_is_escaped_in_the_card() -> None:
    manifest = copy.deepcopy(MANIFEST)
    manifest["quality"]["a|b"] = manifest["quality"].pop("en")
    assert check(CARD.replace("| en |", r"| a\|b |"), manifest)["results"].mark == "pass"


def test_the_card_of_an_earlier_model_is_found() -> None:
    manifest = copy.deepcopy(MANIFEST)
    manifest["quality"]["en"]["bits_per_byte"] = 0.7
    assert check(CARD, manifest)["results"].mark == "fail"


def test_a_section_ends_at_the_next_heading_of_its_level() -> None:
    (section,) = find_sections(CARD, LIMITS)
    assert section.startswith("Of the text")
    assert section.endswith("one board.")
    assert find_sections("# Limits\none\n# More\ntwo", LIMITS) == ["one"]
