"""The mixture with a table of n-grams: exact bits, its definition, and tables with wrong content."""

import math
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.kernels import reference
from tests.kernels.models import Weights, make_random
from tests.kernels.reference_model import Model
from tests.kernels.reference_ngrams import Ngrams
from tests.kernels.tables import WEIGHTS, make_content, make_text, read_layout, write_part
from tinyedge.core.errors import BundleError
from tinyedge.ngram.layout import CODEBOOKS_OFFSET
from tinyedge.ngram.mapped_file import NgramFile
from tinyedge.ngram.mixture import mix
from tinyedge.ngram.table import NgramTable
from tinyedge.runtime.ngram_parts import list_parts

Loader = Callable[..., Any]

SHAPE = (400, 32, 2, 16, 1, 40, 24)


def native_table(kernels: Any, content: bytes | bytearray) -> Any:
    return kernels.Ngrams(*list_parts(NgramFile(bytes(content))))


def reference_table(content: bytes | bytearray) -> Ngrams:
    return Ngrams(*list_parts(NgramFile(bytes(content))))


def reference_of(weights: Weights, table: Ngrams | None) -> Model:
    return Model("", weights.config, weights.attention_scale, weights.tensors, ngrams=table)


def float_of(logits: bytes) -> reference.Floats:
    return np.frombuffer(logits, np.float32)


@pytest.mark.parametrize(
    ("vocab_size", "order", "weights"),
    [
        (3, 2, (0.5, 0.25)),
        (15, 3, (0.0, 0.9, 0.0)),
        (130, 4, WEIGHTS),
        (1003, 4, (1.0, 1.0, 1.0, 1.0)),
        (2063, 4, WEIGHTS),
        (400, 4, (0.0, 0.0, 0.0, 0.0)),
    ],
)
@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("spread", [1, 20])
def test_every_instruction_set_computes_the_bits_of_the_reference(
    kernels: Any,
    load: Loader,
    instruction_sets: list[str],
    vocab_size: int,
    order: int,
    weights: tuple[float, ...],
    precision: str,
    spread: float,
) -> None:
    model = make_random((vocab_size, *SHAPE[1:]), precision, seed=vocab_size, spread=spread)
    content = make_content(vocab_size, order, weights)
    tokens = make_text(vocab_size, 12)
    expected = reference_of(model, reference_table(content)).decoder()
    natives = [
        load(model, threads, name, native_table(kernels, content)).decoder()
        for threads, name in enumerate(instruction_sets, 1)
    ]
    few = sorted({0, vocab_size // 2, vocab_size - 1})
    count = min(vocab_size, 50)
    for at, token in enumerate(tokens):
        logits = expected.logits([token], at)
        largest, scores = expected.largest([], at + 1, count), expected.score([], at + 1, few)
        assert np.isfinite(float_of(logits)).all()
        for native in natives:
            assert native.logits([token], at) == logits
            assert native.largest([], at + 1, count) == largest
            assert native.score([], at + 1, few) == scores
            for point in (0.1, 0.9):
                drawn = expected.draw([], at + 1, 0.8, 40, 0.9, 0.01, point, [])
                assert native.draw([], at + 1, 0.8, 40, 0.9, 0.01, point, []) == drawn


@pytest.mark.parametrize("order", [2, 3, 4])
def test_it_is_the_mixture_that_the_table_is_evaluated_with(kernels: Any, load: Loader, order: int) -> None:
    model, content = make_random(SHAPE, "int8", seed=3), make_content(SHAPE[0], order)
    alone, mixed = load(model).decoder(), load(model, 1, "", native_table(kernels, content)).decoder()
    table, tokens = NgramTable(NgramFile(bytes(content))), make_text(SHAPE[0], SHAPE[6], seed=5)
    for at, token in enumerate(tokens):
        logits = float_of(alone.logits([token], at))
        expected = mix(logits, table, tokens[: at + 1])
        np.testing.assert_allclose(float_of(mixed.logits([token], at)), expected, rtol=1e-6, atol=1e-6)


def test_probabilities_add_up_to_1(kernels: Any, load: Loader) -> None:
    model = make_random(SHAPE, "fp32", seed=4)
    decoder = load(model, 1, "", native_table(kernels, make_content(SHAPE[0]))).decoder()
    for at, token in enumerate(make_text(SHAPE[0], 20)):
        logs = float_of(decoder.logits([token], at)).astype(np.float64)
        assert np.exp(logs).sum() == pytest.approx(1, abs=1e-6)
        assert decoder.score([], at + 1, [0])[1] == 0.0


def test_the_logarithm_is_within_half_a_unit_in_the_last_place() -> None:
    draw = np.random.default_rng(1)
    x = np.exp(draw.uniform(-87.3, 0, 20_000)).astype(np.float32).astype(np.float64)
    x = np.concatenate([x, [2.0**-126, 1.0, np.nextafter(np.float32(1), np.float32(0)), math.sqrt(0.5)]])
    exact = np.array([math.log(value) for value in x])
    assert np.abs(reference.log_of(x) - exact).max() <= 3e-15 * 88
    found, unit = reference.log_of(x).astype(np.float32), np.spacing(np.abs(exact).astype(np.float32))
    assert (np.abs(found - exact) <= 0.5001 * unit).all()


@pytest.mark.parametrize("length", [1, 15, 16, 1023, 1025, 5000])
def test_the_sum_of_exponentials_is_close(length: int) -> None:
    e = np.random.default_rng(length).uniform(0, 1, length).astype(np.float32)
    assert reference.add_exponentials(e) == pytest.approx(e.sum(dtype=np.float64), rel=5e-7)


def test_the_text_before_a_step_counts_however_it_came(kernels: Any, load: Loader) -> None:
    model, content = make_random(SHAPE, "int8", seed=6), make_content(SHAPE[0])
    native = load(model, 1, "", native_table(kernels, content))
    tokens = make_text(SHAPE[0], 12)
    expected = [native.decoder().logits(tokens[:end], 0) for end in range(1, 13)]
    decoder = native.decoder()
    decoder.feed(tokens[:7], 0)
    assert decoder.logits([], 7) == expected[6]
    decoder.feed([9, 9, 9, 9], 7)  # replaced below
    assert decoder.logits(tokens[7:9], 7) == expected[8]
    assert decoder.logits(tokens[9:], 9) == expected[11]
    assert decoder.logits(tokens[4:5], 4) == expected[4]  # a step that was fed before, asked again
    assert decoder.logits(tokens[11:], 11) == expected[11]  # what follows it was kept
    assert decoder.largest([], 12, 3) == decoder.largest([], 12, 3)


def test_blocks_are_checked_before_they_are_read_and_once(kernels: Any, load: Loader) -> None:
    model, file = make_random(SHAPE, "int8", seed=7), NgramFile(bytes(make_content(SHAPE[0])))
    calls: list[int] = []

    def check(block: int) -> None:
        assert not file.is_checked[block]
        calls.append(block)
        file.check(block)

    table = kernels.Ngrams(*list_parts(file)._replace(check=check))
    native = load(model, 1, "", table)
    assert not calls
    tokens = make_text(SHAPE[0], 12)
    first = native.decoder().logits(tokens, 0)
    read = len(calls)
    assert 0 < read < file.layout.blocks
    assert native.decoder().logits(tokens, 0) == first
    assert len(calls) == read


def test_a_damaged_block_is_an_error_and_nothing_was_fed(kernels: Any, load: Loader) -> None:
    content = make_content(SHAPE[0])
    content[read_layout(content).rows[0].offset + 8] ^= 1  # of token 2
    model = make_random(SHAPE, "int8", seed=8)
    decoder = load(model, 1, "", native_table(kernels, content)).decoder()
    decoder.feed([1, 5], 0)
    with pytest.raises(BundleError, match="is damaged between bytes"):
        decoder.draw([2], 2, 0.0, 1, 1.0, 0.0, 0.5, [])
    with pytest.raises(ValueError, match="start"):
        decoder.feed([2], 3)


def test_a_check_that_does_nothing_is_an_error_and_no_endless_loop(kernels: Any, load: Loader) -> None:
    file = NgramFile(bytes(make_content(SHAPE[0])))
    table = kernels.Ngrams(*list_parts(file)._replace(check=lambda block: None))
    decoder = load(make_random(SHAPE, "int8", seed=8), 1, "", table).decoder()
    with pytest.raises(RuntimeError, match="block 0 was not checked"):
        decoder.logits([1], 0)


def damage_row_start(content: bytearray) -> str:
    write_part(content, read_layout(content).rows[0].offset + 4, "<I", 0xFFFFFFF0)
    return "has an invalid row 1 of order 2"


def damage_row_order(content: bytearray) -> str:
    layout = read_layout(content)
    write_part(content, layout.rows[0].offset + 8, "<I", 0)
    return "has an invalid row 1 of order 2"


def damage_long_row(content: bytearray) -> str:
    layout = read_layout(content)
    write_part(content, layout.rows[0].offset + 4, "<2I", 0, layout.entries[0])
    return "has an invalid row 1 of order 2"


def damage_tokens(content: bytearray) -> str:
    layout = read_layout(content)
    first, end = struct.unpack_from("<2I", content, layout.rows[0].offset + 4)
    assert end - first > 1
    write_part(content, layout.tokens[0].offset + 2 * first, "<2H", 7, 7)
    return "has tokens in row 1 of order 2 that do not increase"


def damage_last_token(content: bytearray) -> str:
    layout = read_layout(content)
    (end,) = struct.unpack_from("<I", content, layout.rows[0].offset + 8)
    write_part(content, layout.tokens[0].offset + 2 * (end - 1), "<H", SHAPE[0])
    return "has tokens in row 1 of order 2 that do not increase"


def damage_sum(content: bytearray) -> str:
    layout = read_layout(content)
    first, end = struct.unpack_from("<2I", content, layout.rows[0].offset + 4)
    write_part(content, layout.codes[0].offset + first, f"<{end - first}B", *[255] * (end - first))
    return "has probabilities in row 1 of order 2 with a sum above 1"


def damage_unigrams(content: bytearray) -> str:
    write_part(content, read_layout(content).unigrams.offset + 12, "<f", 0.0)
    return "has probabilities of tokens that are not positive with a sum of 1"


def damage_unigrams_with_nan(content: bytearray) -> str:
    write_part(content, read_layout(content).unigrams.offset + 12, "<f", math.nan)
    return "has probabilities of tokens that are not positive with a sum of 1"


DAMAGES = [
    damage_row_start,
    damage_row_order,
    damage_long_row,
    damage_tokens,
    damage_last_token,
    damage_sum,
    damage_unigrams,
    damage_unigrams_with_nan,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_wrong_content_with_valid_hashes_is_an_error(
    kernels: Any, load: Loader, damage: Callable[[bytearray], str]
) -> None:
    content = make_content(SHAPE[0])
    message = damage(content)
    model = make_random(SHAPE, "int8", seed=9)
    decoder = load(model, 1, "", native_table(kernels, content)).decoder()
    expected = reference_of(model, reference_table(content)).decoder()
    with pytest.raises(kernels.NgramsError, match=f"^{message}$"):
        decoder.logits([1], 0)
    with pytest.raises(Exception, match=f"^{message}$"):
        expected.logits([1], 0)
    with pytest.raises(BundleError, match=message):
        mix(np.zeros(SHAPE[0], np.float32), NgramTable(NgramFile(bytes(content))), [1])


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.5, 1.5, 1e-30])
def test_an_invalid_codebook_is_an_error(kernels: Any, value: float) -> None:
    content = make_content(SHAPE[0])
    struct.pack_into("<f", content, CODEBOOKS_OFFSET + 40, value)
    with pytest.raises(kernels.NgramsError, match="has an invalid codebook"):
        native_table(kernels, content)


@pytest.mark.parametrize("seed", range(30))
def test_random_damage_is_an_error_or_a_distribution(kernels: Any, load: Loader, seed: int) -> None:
    draw = np.random.default_rng(seed)
    content = make_content(SHAPE[0])
    layout = read_layout(content)
    for _ in range(int(draw.integers(1, 60))):
        at = int(draw.integers(layout.rows[0].offset, layout.file_bytes))
        content[at] = int(draw.integers(256))
    write_part(content, layout.file_bytes - 1, "<B", int(draw.integers(256)))
    decoder = load(make_random(SHAPE, "int8", seed=seed), 1, "", native_table(kernels, content)).decoder()
    for at, token in enumerate(make_text(SHAPE[0], SHAPE[6], seed=seed)):
        try:
            logs = float_of(decoder.logits([token], at))
        except kernels.NgramsError:
            decoder.feed([token], at)
        else:
            assert np.exp(logs.astype(np.float64)).sum() == pytest.approx(1, abs=1e-6)


def test_decoders_in_threads_share_a_table(kernels: Any, load: Loader) -> None:
    model, content = make_random(SHAPE, "int8", seed=10), make_content(SHAPE[0])
    texts = [make_text(SHAPE[0], SHAPE[6], seed=seed) for seed in range(8)]

    def read(native: Any, text: list[int]) -> list[bytes]:
        decoder = native.decoder()
        return [decoder.logits([token], at) for at, token in enumerate(text)]

    alone = [read(load(model, 1, "", native_table(kernels, content)), text) for text in texts]
    for _ in range(5):
        native = load(model, 2, "", native_table(kernels, content))
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda text, native=native: read(native, text), texts)) == alone


WRONG_ARGUMENTS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"file": 5}, TypeError),
    ({"checked": None}, TypeError),
    ({"checked": bytearray(1)}, ValueError),
    ({"vocab_size": 0}, ValueError),
    ({"vocab_size": 65537}, ValueError),
    ({"vocab_size": 40000}, ValueError),
    ({"block_bytes": 0}, ValueError),
    ({"block_bytes": 1}, ValueError),
    ({"body": -1}, ValueError),
    ({"body": 1 << 40}, ValueError),
    ({"unigrams": 0}, ValueError),
    ({"unigrams": 1 << 62}, ValueError),
    ({"levels": ()}, TypeError),
    ({"levels": [(1, 64, 4096, 4096, 4096)]}, TypeError),
    ({"levels": ((1, 64, 4096),) * 3}, TypeError),
    ({"levels": ((1 << 32, 64, 4096, 4096, 4096),) * 3}, ValueError),
    ({"levels": ((1, 64, 4096, 4097, 4096),) * 3}, ValueError),
    ({"weights": (0.5,)}, TypeError),
    ({"weights": (0.5, 0.5, 0.5, 1.5)}, ValueError),
    ({"weights": (0.5, 0.5, 0.5, math.nan)}, ValueError),
]


@pytest.mark.parametrize(("changes", "error"), WRONG_ARGUMENTS, ids=str)
def test_parts_that_are_not_in_the_file_are_refused(
    kernels: Any, changes: dict[str, Any], error: type[Exception]
) -> None:
    parts = list_parts(NgramFile(bytes(make_content(SHAPE[0]))))
    with pytest.raises(error):
        kernels.Ngrams(*parts._replace(**changes))


def test_memory_that_is_not_aligned_is_refused(kernels: Any) -> None:
    parts = list_parts(NgramFile(bytes(make_content(SHAPE[0]))))
    shifted = memoryview(b"x" + bytes(parts.file))[1:]
    with pytest.raises(ValueError, match="not aligned to 4 bytes"):
        kernels.Ngrams(*parts._replace(file=shifted))


def test_a_model_takes_a_table_of_its_vocabulary_only(kernels: Any, load: Loader) -> None:
    with pytest.raises(ValueError, match="ngrams has 399 tokens, the vocabulary has 400"):
        load(make_random(SHAPE, "int8", seed=1), 1, "", native_table(kernels, make_content(399)))
    with pytest.raises(TypeError, match="ngrams is 5, not a table of n-grams"):
        load(make_random(SHAPE, "int8", seed=1), 1, "", 5)
