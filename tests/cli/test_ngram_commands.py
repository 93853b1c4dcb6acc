"""`eval` and `verify` of a bundle with n-grams."""

import json
from pathlib import Path

import pytest

from tests.support.ngram_bundle import write_ngram_bundle
from tests.support.program import tinyedge
from tinyedge.core.files import sha256_file


@pytest.fixture
def mixed_bundle(micro_bundle: Path, tmp_path: Path) -> Path:
    return write_ngram_bundle(micro_bundle, tmp_path / "mixed")


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "a.txt"
    path.write_text("The teacher found a silver key near the river for Marina.\n" * 5)
    return f"en={path}"


def test_eval_measures_with_the_ngrams_or_without(mixed_bundle: Path, micro_bundle: Path, text: str) -> None:
    values = [
        json.loads(tinyedge("eval", bundle, "--text", text, *options, "--json").stdout)
        for bundle, options in (
            (mixed_bundle, ()),
            (mixed_bundle, ("--no-ngrams",)),
            (micro_bundle, ()),
            (micro_bundle, ("--no-ngrams",)),
        )
    ]
    assert [value["ngrams"] for value in values] == [True, False, False, False]
    mixed, alone, *others = (value["results"][0]["bits_per_byte"] for value in values)
    assert mixed != alone
    assert others == [alone, alone]


def test_eval_says_in_its_table_what_it_measured(mixed_bundle: Path, text: str) -> None:
    sentence = "the model is mixed with the bundle's n-grams"
    assert sentence in tinyedge("eval", mixed_bundle, "--text", text).stdout
    assert sentence not in tinyedge("eval", mixed_bundle, "--text", text, "--no-ngrams").stdout


def test_verify_lists_the_ngrams_and_finds_a_damaged_block(mixed_bundle: Path) -> None:
    file = mixed_bundle / "ngrams.bin"
    listed = json.loads(tinyedge("verify", mixed_bundle, "--json").stdout)["files"][-1]
    manifest = json.loads((mixed_bundle / "manifest.json").read_text())
    assert listed == {"name": "ngrams.bin", "sha256": sha256_file(file), **manifest["ngrams"]}
    assert "ngrams.bin" in tinyedge("verify", mixed_bundle).stdout
    with file.open("r+b") as content:
        content.seek(-1, 2)
        content.write(b"\xff")
    done = tinyedge("verify", mixed_bundle)
    assert done.returncode == 1
    assert "ngrams.bin is damaged between bytes" in done.stderr
