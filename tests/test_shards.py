"""Token files: every line BOS ... EOS, both sides apart, damage found."""

import json
from pathlib import Path

import numpy as np
import pytest

from tinyedge.corpus.split import draw_split
from tinyedge.errors import CorpusError
from tinyedge.shards import Shards, build_shards
from tinyedge.tokenizer import BOS_ID, EOS_ID, Tokenizer


def text(n: int) -> str:
    """A document that no other is a part of."""
    return f"The {'more and ' * n}men said that they would go to the house.\nShe was there with her dog.\n"


@pytest.fixture(scope="module")
def tokenizer(micro_bundle: Path) -> Tokenizer:
    return Tokenizer.load(micro_bundle / "tokenizer.model")


@pytest.fixture
def shards(tmp_path: Path, tokenizer: Tokenizer) -> Shards:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(map(text, range(40))))
    return build_shards(draw_split(path), tokenizer, tmp_path / "shards")


def test_lines_keep_their_borders_and_their_text(shards: Shards, tokenizer: Tokenizer) -> None:
    tokens = shards.training()
    assert isinstance(tokens, np.memmap)
    assert tokens.dtype == np.dtype("<u2")
    assert len(tokens) == shards.train_tokens
    lines = 2 * (40 - len(list(shards.validation_passages())))
    assert (tokens == BOS_ID).sum() == (tokens == EOS_ID).sum() == lines
    assert tokens[0] == BOS_ID
    assert set(tokens[1:][tokens[:-1] == EOS_ID].tolist()) == {BOS_ID}
    decoded = tokenizer.decode(tokens.tolist())
    assert decoded.count("\n") == lines
    assert decoded.startswith("The ")


def test_both_sides_add_up(shards: Shards, tmp_path: Path, tokenizer: Tokenizer) -> None:
    assert shards.train_bytes + shards.validation_bytes == sum(len(text(n)) for n in range(40))
    passages = list(shards.validation_passages("en"))
    assert 3 <= len(passages) <= 6  # a tenth of the bytes; documents differ in size
    assert sum(len(p.tokens) for p in passages) == shards.validation_tokens
    held = {tokenizer.decode(p.tokens.tolist()) for p in passages}
    assert not any(document in tokenizer.decode(shards.training().tolist()) for document in held)
    assert list(shards.validation_passages("es")) == []


@pytest.mark.parametrize("damage", ["cut", "missing", "index", "schema"])
def test_damage_is_found(shards: Shards, damage: str) -> None:
    folder = shards.folder
    match damage:
        case "cut":
            (folder / "train.bin").write_bytes((folder / "train.bin").read_bytes()[:-2])
        case "missing":
            (folder / "validation.bin").unlink()
        case "index":
            (folder / "shards.json").write_text('{"schema": "tinyedge.shards/1"}')
        case "schema":
            index = json.loads((folder / "shards.json").read_text()) | {"schema": "tinyedge.shards/0"}
            (folder / "shards.json").write_text(json.dumps(index))
    with pytest.raises(CorpusError, match=r"train\.bin|validation\.bin|shards\.json"):
        Shards.load(folder)


def test_a_failed_build_leaves_no_index(tmp_path: Path, tokenizer: Tokenizer, shards: Shards) -> None:
    split = draw_split(tmp_path / "corpus.txt")
    broken = tmp_path / "corpus.txt"
    broken.write_bytes(broken.read_bytes()[:-20] + b"\xff\n")
    with pytest.raises(CorpusError):
        build_shards(split, tokenizer, shards.folder)
    with pytest.raises(CorpusError, match="does not exist"):
        Shards.load(shards.folder)
