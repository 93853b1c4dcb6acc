"""The file: a round trip, only the blocks that are used are read, and damage is one clear error."""

import struct
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ngram.examples import VOCAB_SIZE, make_text, make_trie
from tinyedge.core.errors import BundleError
from tinyedge.core.hashes import hash_blake2b
from tinyedge.ngram.counts import count_ngrams
from tinyedge.ngram.estimate import estimate
from tinyedge.ngram.layout import BLOCK_BYTES, HASH_BYTES, HASHES_OFFSET, TableLayout
from tinyedge.ngram.lookup import distribution
from tinyedge.ngram.mapped_file import NgramFile
from tinyedge.ngram.scorer import TableScorer
from tinyedge.ngram.table import NgramTable
from tinyedge.ngram.trie import NgramTrie
from tinyedge.ngram.write import encode_table, make_codebook, write_table

TRIE = make_trie()
DATA = encode_table(TRIE, [0.1, 0.2, 0.3, 0.4])
LAYOUT = NgramFile(DATA).layout


def seal(data: bytes, layout: TableLayout = LAYOUT) -> bytes:
    """Return the data with hashes that fit it, as a hostile writer would."""
    sealed = bytearray(data)
    for block in range(layout.blocks):
        start = layout.body_offset + block * BLOCK_BYTES
        digest = hash_blake2b(memoryview(data)[start : start + BLOCK_BYTES], HASH_BYTES)
        offset = HASHES_OFFSET + HASH_BYTES * block
        sealed[offset : offset + HASH_BYTES] = bytes.fromhex(digest)
    return bytes(sealed)


def patch(offset: int, content: bytes) -> bytes:
    return DATA[:offset] + content + DATA[offset + len(content) :]


def make_large_trie() -> NgramTrie:
    """Return a trie that needs many blocks."""
    text = np.random.default_rng(0).integers(4, 2000, 40000).astype(np.uint16)
    return estimate(count_ngrams([text], 2000))


def use_everything(table: NgramTable) -> None:
    """Ask for every distribution of up to three tokens that the text has."""
    text = make_text().tolist()
    for end in range(1, len(text), 3):
        distribution(table, text[max(0, end - 3) : end])


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "ngrams.bin"
    root = write_table(path, TRIE, [0.1, 0.2, 0.3, 0.4])
    table = NgramTable(NgramFile.open(path, root))
    assert (table.file.root, table.order, table.vocab_size) == (root, 4, VOCAB_SIZE)
    assert table.weights == pytest.approx((0.1, 0.2, 0.3, 0.4))
    np.testing.assert_allclose(table.unigrams, TRIE.levels[0].alphas, rtol=1e-6)
    for order in range(2, 5):
        level = table.level(order)
        parents = np.repeat(np.arange(len(level.rows) - 1), np.diff(level.rows))
        alphas = level.codebook[level.codes]
        np.testing.assert_array_equal(parents, TRIE.levels[order - 1].parents)
        np.testing.assert_array_equal(level.tokens, TRIE.levels[order - 1].ngrams & np.uint64(0x7FFF))
        assert (alphas <= TRIE.levels[order - 1].alphas).all()
        np.testing.assert_allclose(alphas, TRIE.levels[order - 1].alphas, rtol=0.05, atol=1e-9)


def test_the_same_trie_gives_the_same_bytes() -> None:
    assert encode_table(make_trie(), [0.1, 0.2, 0.3, 0.4]) == DATA


def test_only_the_blocks_that_are_used_are_read(tmp_path: Path) -> None:
    trie = make_large_trie()
    path = tmp_path / "ngrams.bin"
    root = write_table(path, trie, [0.1] * 4)
    table = NgramTable(NgramFile.open(path, root))
    layout = table.layout
    assert layout.blocks > 20
    assert table.file.touched_bytes == layout.body_offset
    distribution(table, [4, 5, 6])
    one = table.file.touched_bytes
    assert layout.body_offset < one <= layout.body_offset + 14 * BLOCK_BYTES < layout.file_bytes
    distribution(table, [4, 5, 6])
    assert table.file.touched_bytes == one
    TableScorer(table)
    assert table.file.touched_bytes == layout.file_bytes


def test_damage_outside_the_used_blocks_is_not_noticed_and_inside_it_is() -> None:
    data = bytearray(encode_table(make_large_trie()))
    data[-65] ^= 1  # in the last block: codes of four tokens, of contexts that begin with the largest tokens
    table = NgramTable(NgramFile(bytes(data)))
    distribution(table, [4, 5])
    with pytest.raises(BundleError, match=r"ngrams\.bin is damaged between bytes \d+ and \d+"):
        table.level(4)


@given(st.integers(0, len(DATA) - 1), st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_a_changed_bit_is_refused_wherever_it_is(byte: int, bit: int) -> None:
    data = bytearray(DATA)
    data[byte] ^= 1 << bit
    with pytest.raises(BundleError):
        TableScorer(NgramTable(NgramFile(bytes(data), NgramFile(DATA).root)))


@given(st.integers(0, len(DATA) - 1), st.binary(min_size=1, max_size=8))
@settings(max_examples=300, deadline=None)
def test_hostile_content_with_valid_hashes_gives_an_answer_or_one_error(at: int, content: bytes) -> None:
    table_or_error: NgramTable | BundleError
    try:
        table_or_error = NgramTable(NgramFile(seal(patch(min(at, len(DATA) - len(content)), content))))
        use_everything(table_or_error)
    except BundleError as error:
        table_or_error = error
    if isinstance(table_or_error, BundleError):
        assert table_or_error.message.startswith("ngrams.bin ")
        assert table_or_error.hint


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has 0 bytes, its header alone needs 3136"),
        (DATA[:-1], f"has {len(DATA) - 1} bytes, {len(DATA)} expected"),
        (DATA + b"\0", f"has {len(DATA) + 1} bytes, {len(DATA)} expected"),
        (patch(0, b"x"), "is not a table of n-grams"),
        (patch(8, b"\2"), "has version 2, this version reads 1"),
        (patch(12, b"\5"), "has order 5"),
        (patch(12, b"\0"), "has order 0"),
        (patch(16, b"\0\0\0\0"), "and 0 tokens"),
        (patch(16, b"\xff\xff\xff\xff"), "and 4294967295 tokens"),
        (patch(20, b"\xff\xff\xff\xff"), f"has {len(DATA)} bytes"),
        (patch(32, struct.pack("<f", 1.5)), "has an invalid header"),
        (patch(32, struct.pack("<f", float("nan"))), "has an invalid header"),
    ],
)
def test_a_damaged_header_is_refused_at_open(data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=f"^ngrams.bin .*{message}"):
        NgramFile(data)


def first_row(order: int) -> tuple[int, int]:
    """Return the index of the context with the most continuations, and of the first of these."""
    parents = TRIE.levels[order - 1].parents
    context = int(np.bincount(parents).argmax())
    return context, int(np.searchsorted(parents, context))


ROW, FIRST = first_row(3)
ROW_START = LAYOUT.rows[1].offset + 4 * ROW
FIRST_TOKEN = LAYOUT.tokens[1].offset + 2 * FIRST


@pytest.mark.parametrize(
    ("offset", "content", "message"),
    [
        (ROW_START, struct.pack("<I", FIRST + 1000), "has an invalid row"),
        (ROW_START + 4, struct.pack("<I", 0xFFFFFFFF), "has an invalid row"),
        (FIRST_TOKEN, struct.pack("<H", VOCAB_SIZE), "has tokens in row"),
        (FIRST_TOKEN, DATA[FIRST_TOKEN + 2 : FIRST_TOKEN + 4], "has tokens in row"),
        (LAYOUT.codes[1].offset + FIRST, b"\xff" * 4, "with a sum above 1"),
        (LAYOUT.unigrams.offset, struct.pack("<f", 0.0), "probabilities of tokens"),
        (LAYOUT.unigrams.offset, struct.pack("<f", float("nan")), "probabilities of tokens"),
        (64 + 1024, struct.pack("<f", -1.0), "has an invalid codebook"),
        (64 + 1024, struct.pack("<f", float("nan")), "has an invalid codebook"),
    ],
)
def test_wrong_content_with_valid_hashes_is_refused_where_it_is_used(
    offset: int, content: bytes, message: str
) -> None:
    table = NgramTable(NgramFile(seal(patch(offset, content))))
    with pytest.raises(BundleError, match=message):
        table.unigrams, table.row(3, ROW)
    with pytest.raises(BundleError):
        TableScorer(table)


def test_another_root_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ngrams.bin"
    root = write_table(path, TRIE, [0.1] * 4)
    write_table(path, TRIE, [0.2] * 4)
    with pytest.raises(BundleError, match=f"{path} has root .* {root} expected"):
        NgramFile.open(path, root)


def test_a_file_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ngrams.bin"
    with pytest.raises(BundleError, match="does not exist"):
        NgramFile.open(path)
    path.touch()
    with pytest.raises(BundleError, match="is empty"):
        NgramFile.open(path)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_rounding_goes_down_and_by_less_than_a_tenth_of_the_value(alphas: list[float]) -> None:
    values = np.array(alphas)
    codebook = make_codebook(values).astype(np.float64)
    assert len(codebook) == 256
    assert codebook[0] == 0
    assert (np.diff(codebook) >= 0).all()
    rounded = codebook[np.searchsorted(codebook, values, side="right") - 1]
    assert (rounded <= values).all()
    assert (rounded >= 0.88 * np.where(values < 2.0**-29, 0, values) - 1e-7 * values).all()


@given(st.lists(st.integers(1, 255), min_size=1, max_size=300), st.randoms())
@settings(deadline=None)
def test_the_sum_of_a_row_is_exact_in_any_order(codes: list[int], random: Random) -> None:
    values = make_codebook(np.array([2.0**-29, 1 / 300])).tolist()
    row = [values[code] for code in codes]
    exact = float(sum(map(Fraction, row)))
    random.shuffle(row)
    assert Fraction(sum(row)) == Fraction(exact) == sum(map(Fraction, row))
    assert float(np.array(row, dtype=np.float32).sum(dtype=np.float64)) == exact
