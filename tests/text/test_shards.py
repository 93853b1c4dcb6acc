"""Token files: every line is BOS ... EOS, training and held-out text are separate, damage is detected."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.split import SplitDocument, draw_split
from tinyedge.text import shards as shards_module
from tinyedge.text.shards import Shards, build_shards
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, Tokenizer


def make_document(n: int) -> str:
    """Return a text that is not part of any other document."""
    return f"The {'more and ' * n}men said that they would go to the house.\nShe was there with her dog.\n"


@pytest.fixture(scope="module")
def tokenizer(micro_bundle: Path) -> Tokenizer:
    return Tokenizer.load(micro_bundle / "tokenizer.model")


@pytest.fixture
def shards(tmp_path: Path, tokenizer: Tokenizer) -> Shards:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(map(make_document, range(40))))
    return build_shards(draw_split(path), tokenizer, tmp_path / "shards")


def test_lines_keep_their_boundaries_and_their_text(shards: Shards, tokenizer: Tokenizer) -> None:
    tokens = shards.training()[:]
    assert tokens.dtype == np.dtype("<u2")
    assert len(tokens) == len(shards.training()) == shards.train_tokens
    lines = 2 * (40 - len(list(shards.validation_passages())))
    assert (tokens == BOS_ID).sum() == (tokens == EOS_ID).sum() == lines
    assert tokens[0] == BOS_ID
    assert set(tokens[1:][tokens[:-1] == EOS_ID].tolist()) == {BOS_ID}
    decoded = tokenizer.decode(tokens.tolist())
    assert decoded.count("\n") == lines
    assert decoded.startswith("The ")


def test_training_and_held_out_text_add_up(shards: Shards, tmp_path: Path, tokenizer: Tokenizer) -> None:
    assert shards.train_bytes + shards.validation_bytes == sum(len(make_document(n)) for n in range(40))
    passages = list(shards.validation_passages("en"))
    assert 3 <= len(passages) <= 6  # a tenth of the bytes; documents differ in size
    assert sum(len(p.tokens) for p in passages) == shards.validation_tokens
    held_out = {tokenizer.decode(p.tokens.tolist()) for p in passages}
    assert not any(document in tokenizer.decode(shards.training()[:].tolist()) for document in held_out)
    assert list(shards.validation_passages("es")) == []


def test_bytes_behind_unk_are_counted_also_for_an_earlier_index(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(make_document(n) + f"He wrote 漢字{'語' * n} there.\n" for n in range(40)))
    shards = build_shards(draw_split(path), tokenizer, tmp_path / "shards")
    counted = [(p.bytes, p.unknown_bytes) for p in shards.validation_passages()]
    assert all(6 <= unknown < size for size, unknown in counted)
    assert shards.unknown_byte_shares["all"] == sum(u for _, u in counted) / sum(b for b, _ in counted)
    index = json.loads((shards.folder / "shards.json").read_text())
    for entry in index["validation"]:
        del entry["unknown_bytes"]
    (shards.folder / "shards.json").write_text(json.dumps(index))
    with pytest.raises(CorpusError, match="earlier version"):
        Shards.load(shards.folder)
    again = Shards.load(shards.folder, tokenizer)
    assert [(p.bytes, p.unknown_bytes) for p in again.validation_passages()] == counted


def test_slices_equal_those_of_an_array(shards: Shards) -> None:
    file, array = shards.training(), np.fromfile(shards.folder / "train.bin", dtype="<u2")
    size = len(array)
    for index in (slice(0, 5), slice(7, 8), slice(size - 3, size), slice(size - 3, size + 9), slice(4, 4)):
        assert np.array_equal(file[index], array[index])


def test_a_file_that_is_truncated_while_open_is_an_error(shards: Shards) -> None:
    file = shards.training()
    os.truncate(shards.folder / "train.bin", 100)
    assert len(file[0:50]) == 50
    with pytest.raises(CorpusError, match=r"train\.bin was truncated"):
        file[40:60]


def test_threads_write_the_same_tokens_as_one_loop(
    shards: Shards, tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinyedge.text.shards.BATCH_CHARS", 300)  # a few documents per batch
    split = draw_split(tmp_path / "corpus.txt")
    build_shards(split, tokenizer, shards.folder)
    lines = {"train.bin": split.training_lines(), "validation.bin": split.held_out_lines()}
    for name, expected in lines.items():
        ids = [token for line in expected for token in tokenizer.encode_line(line)]
        assert (shards.folder / name).read_bytes() == np.array(ids, dtype="<u2").tobytes()


def test_reading_does_not_run_far_ahead_of_the_threads(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinyedge.text.shards.BATCH_CHARS", 1)  # one document per batch
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2})
    read = 0

    def documents() -> Iterator[SplitDocument]:
        nonlocal read
        for read in range(1, 101):
            yield SplitDocument("en", [make_document(read)], [])

    for done, (_, training, _) in enumerate(
        shards_module._tokenize_documents(documents(), tokenizer), start=1
    ):
        assert training.bytes == len(make_document(done)) + 1
        assert read <= done + 2 * 3
    assert done == read == 100


@pytest.mark.parametrize("damage", ["cut", "missing", "index", "schema"])
def test_damage_is_detected(shards: Shards, damage: str) -> None:
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


def test_a_failed_build_leaves_no_valid_index(tmp_path: Path, tokenizer: Tokenizer, shards: Shards) -> None:
    split = draw_split(tmp_path / "corpus.txt")
    broken = tmp_path / "corpus.txt"
    broken.write_bytes(broken.read_bytes()[:-20] + b"\xff\n")
    with pytest.raises(CorpusError):
        build_shards(split, tokenizer, shards.folder)
    with pytest.raises(CorpusError, match="is incomplete"):
        Shards.load(shards.folder)


def test_an_interrupted_build_is_repeated(tmp_path: Path, tokenizer: Tokenizer, shards: Shards) -> None:
    split = draw_split(tmp_path / "corpus.txt")
    first = next(split.documents())
    before = {path.name: path.read_bytes() for path in shards.folder.iterdir()}

    def interrupt() -> Iterator[SplitDocument]:
        yield first
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(split), "documents", lambda self: interrupt())
        with pytest.raises(KeyboardInterrupt):
            build_shards(split, tokenizer, shards.folder)
    with pytest.raises(CorpusError):
        Shards.load(shards.folder)
    build_shards(split, tokenizer, shards.folder)
    assert {path.name: path.read_bytes() for path in shards.folder.iterdir()} == before


@pytest.mark.parametrize("name", ["train.bin", "validation.bin", "shards.json"])
def test_files_of_others_are_not_replaced(
    tmp_path: Path, tokenizer: Tokenizer, shards: Shards, name: str
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / name).write_bytes(b'{"shards": []}')
    with pytest.raises(CorpusError, match=f"{name} was not written by tinyedge"):
        build_shards(draw_split(tmp_path / "corpus.txt"), tokenizer, folder)
    assert [path.name for path in folder.iterdir()] == [name]
