"""What threads divide: compared with the work of the pass, and with counts of the emulated board."""

import pytest

from tinyedge.core.config import PRESETS, ModelConfig
from tinyedge.fit.thread_split import SharedWork, split_pass
from tinyedge.fit.workload import pass_work

TINY, SMALL, BASE = (PRESETS[name] for name in ("tiny", "small", "base"))
WIDE = ModelConfig(16000, 512, 8, 6, 1024, 512)  # each product of a row has two pieces
NARROW = ModelConfig(d_model=96, nhead=8)


def count_forks(config: ModelConfig, rows: int, positions: int, threads: int = 4) -> int:
    return sum(part.forks for part in split_pass(config, rows, positions, threads)[1])


def find(parts: list[SharedWork], term: str) -> SharedWork:
    """The part with most of a term."""
    return max(parts, key=lambda part: part.work.get(term, 0.0))


@pytest.mark.parametrize(
    "config", [TINY, SMALL, BASE, WIDE, NARROW], ids=["tiny", "small", "base", "wide", "narrow"]
)
@pytest.mark.parametrize("rows", [1, 2, 5, 6, 20, 97, 128])
@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("is_mixed", [False, True])
def test_the_parts_are_the_work_of_the_pass(
    config: ModelConfig, rows: int, threads: int, is_mixed: bool
) -> None:
    serial, shared = split_pass(config, rows, 128, threads, is_mixed=is_mixed)
    for term, amount in pass_work(config, rows, 128, is_mixed=is_mixed).items():
        found = serial[term] + sum(part.work.get(term, 0.0) for part in shared)
        assert found == pytest.approx(amount, rel=1e-9, abs=1e-6), term
    assert min(serial.values()) >= 0
    assert all(min(part.work.values()) >= 0 and 1 < part.ways <= threads for part in shared)
    assert (threads == 1) == (not shared)
    assert serial["passes"] == 1


@pytest.mark.parametrize(
    ("config", "rows", "positions", "forks"),
    [
        (TINY, 1, 12, 1),  # the output alone: each product is smaller than two pieces
        (SMALL, 1, 90, 1),
        (WIDE, 1, 12, 6 * 4 + 1),
        (WIDE, 1, 90, 6 * 5 + 1),  # and the attention of many positions
        (TINY, 7, 7, 2 + 1),
        (SMALL, 20, 20, 3 + 1),
        (WIDE, 20, 20, 6 + 3 + 1),  # products of the last row
        (WIDE, 85, 85, 6 + 4 + 1),  # and its attention
    ],
)
def test_threads_wait_for_each_other_as_often_as_on_the_emulated_board(
    config: ModelConfig, rows: int, positions: int, forks: int
) -> None:
    assert count_forks(config, rows, positions) == forks


def test_with_a_table_the_output_is_a_product_like_any_other() -> None:
    """It is divided if a piece has 128 kB, and the mixture is the work of one thread."""
    serial, shared = split_pass(TINY, 1, 12, 3, is_mixed=True)
    output = find(shared, "mixed_products")
    assert output.ways == 8000 / 2672  # whole panels of 16 outputs
    assert output.work["mixed_lines"] == 8000 * 128 / 64
    assert serial["mixed_products"] == 0
    assert (serial["mixed_logits"], serial["ngram_tokens"]) == (8000, 1)
    few = ModelConfig(vocab_size=2000)
    assert split_pass(few, 1, 12, 4, is_mixed=True)[1] == []
    assert len(split_pass(few, 1, 12, 4)[1]) == 1


def test_pieces_are_as_large_as_the_kernels_make_them() -> None:
    output = find(split_pass(TINY, 1, 12, 3)[1], "output_products")
    assert output.ways == 8000 / 2688  # whole blocks of 64 rows
    rows = find(split_pass(TINY, 7, 7, 4)[1], "batched_products")
    assert rows.ways == 7 / 4  # three rows and four: not enough for a third thread
    attention = find(split_pass(WIDE, 1, 90, 4)[1], "attention")
    assert attention.ways == 8 / 4  # 360 kB are two pieces
    products = [part for part in split_pass(WIDE, 1, 12, 4)[1] if part.work.get("products")]
    assert [part.ways for part in products] == [4, 2, 4, 4]
