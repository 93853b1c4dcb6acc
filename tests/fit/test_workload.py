"""Amounts of work: the passes are those of the generator, the amounts are checked by hand."""

from pathlib import Path

import pytest

from tinyedge.core.config import ModelConfig
from tinyedge.fit.workload import (
    FRESH_BLOCKS,
    KEPT_LINES,
    MIXTURE_CORE_TERMS,
    MIXTURE_DRAM_TERMS,
    answer_work,
    pass_work,
    passes,
    read_lines,
)

SHAPE = ModelConfig(
    vocab_size=1000, d_model=64, nhead=2, num_layers=3, dim_feedforward=128, max_seq_length=32
)


def test_a_pass_for_the_prompt_and_one_for_each_later_token() -> None:
    assert list(passes(32, 5, 4)) == [(5, 5), (1, 6), (1, 7), (1, 8)]


def test_the_window_slides_to_its_last_half() -> None:
    assert list(passes(32, 31, 4)) == [(31, 31), (1, 32), (17, 17), (1, 18)]
    assert list(passes(32, 40, 2)) == [(24, 24), (1, 25)]  # the prompt alone is longer than the context


def test_passes_are_those_of_the_generator(micro_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinyedge.runtime import Generator
    from tinyedge.runtime.session import OnnxRuntimeDecoder

    seen = []
    feed = OnnxRuntimeDecoder._feed

    def watched(self: OnnxRuntimeDecoder, tokens, places):  # type: ignore[no-untyped-def]
        feed(self, tokens, places)
        seen.append((tokens.shape[1], self.position))

    monkeypatch.setattr(OnnxRuntimeDecoder, "_feed", watched)
    with Generator.load(micro_bundle) as generator:
        # They end in a full stop: a word that may be unfinished costs steps that `fit` does not count.
        for prompt in (
            "The.",
            "The teacher found a wooden boat near the river, and the sailor opened it." * 2,
        ):
            seen.clear()
            done = generator.generate(prompt, max_tokens=40, ignore_eos=True)
            assert seen == list(passes(generator.config.max_seq_length, done.prompt_tokens, 40))


def test_one_row_multiplies_with_every_weight_but_the_embeddings() -> None:
    work = pass_work(SHAPE, rows=1, positions=9)
    blocks = 3 * (4 * 64 * 64 + 2 * 64 * 128)
    assert work["products"] == blocks
    assert work["output_products"] == 64 * 1000
    assert work["weight_lines"] == 0  # 132 kB: the cache holds them all
    assert work["attention"] == 3 * 64 * 9
    assert work["scores"] == 3 * 2 * 9
    assert work["cache_lines"] == 3 * 64 * 9 * 2 * 4 / 64
    assert not any(amount for name, amount in work.items() if name.startswith(("batched", "chunk", "part")))


def test_weights_that_the_cache_cannot_hold_are_loaded_in_each_pass() -> None:
    blocks, upper_plane, bounds = 2 * (4 * 128 * 128 + 2 * 128 * 256), 8000 * 64, 8000 * 8
    lines = (blocks + upper_plane + bounds) / 64
    assert read_lines(ModelConfig()) == lines
    assert pass_work(ModelConfig(), rows=1, positions=9)["weight_lines"] == pytest.approx(lines - KEPT_LINES)


def test_the_last_block_and_the_output_are_computed_for_the_last_row_only() -> None:
    work = pass_work(SHAPE, rows=6, positions=6)
    after_attention = 64 * 64 + 2 * 64 * 128
    block = 3 * 64 * 64 + after_attention
    assert work["products"] == 64 * 64 + after_attention  # the queries of the last row
    assert work["batched_products"] == 6 * (2 * block + 2 * 64 * 64)
    assert work["batched_scores"] == 2 * (2 * (1 + 2 + 3 + 4 + 5 + 6) + 6)
    assert work["attention"] == work["cache_lines"] == 0
    assert work["part_lines"] == 3 * block / 64 * 6 / 12


def test_weights_are_met_again_by_each_chunk_of_rows() -> None:
    block = 4 * 64 * 64 + 2 * 64 * 128
    long = ModelConfig(**{**SHAPE.to_dict(), "max_seq_length": 512})
    found = [pass_work(long, rows=rows, positions=rows)["chunk_lines"] for rows in (96, 97, 193)]
    assert found == [0, 3 * block / 64, 2 * 3 * block / 64]


def test_inputs_and_heads_are_padded() -> None:
    narrow = ModelConfig(d_model=96, nhead=8)  # heads 12 wide, 16 in the cache
    work = pass_work(narrow, rows=1, positions=1)
    assert work["attention"] == 2 * 8 * 16
    assert work["output_products"] == 8000 * 128
    assert work["products"] == 2 * (3 * 128 * 128 + 96 * 128 + 256 * 128 + 96 * 256)


def test_a_table_of_ngrams_takes_the_place_of_the_upper_planes() -> None:
    config = ModelConfig()
    alone, mixed = (pass_work(config, rows=6, positions=6, is_mixed=is_mixed) for is_mixed in (False, True))
    for term in ("logits", "output_products", "wide_output_products", "logit_lines"):
        assert mixed[term] == 0
    assert mixed["mixed_products"] == alone["output_products"] == 8000 * 128
    assert mixed["mixed_logits"] == alone["logits"] == 8000
    assert mixed["mixed_logit_lines"] == 2 * 8000 * 4 / 64  # logits, and probabilities of single tokens
    assert mixed["ngram_tokens"] == 1  # of six rows, one is mixed: the last, which a token is drawn from
    assert mixed["ngram_blocks"] == FRESH_BLOCKS
    assert mixed["mixed_lines"] == 8000 * 128 / 64
    assert mixed["weight_lines"] == 2 * (4 * 128 * 128 + 2 * 128 * 256) / 64  # nothing is kept
    changed = {term for term in alone if alone[term] != mixed[term]} - {"weight_lines"}
    assert changed <= {*MIXTURE_CORE_TERMS, *MIXTURE_DRAM_TERMS, "logits", "output_products", "logit_lines"}
    assert not any(alone[term] for term in (*MIXTURE_CORE_TERMS, *MIXTURE_DRAM_TERMS))


def test_weights_that_the_cache_holds_are_not_loaded_with_a_table_either() -> None:
    work = pass_work(SHAPE, rows=1, positions=9, is_mixed=True)
    assert work["weight_lines"] == work["mixed_lines"] == 0
    assert work["mixed_logit_lines"] == 2 * 1000 * 4 / 64


def test_every_pass_of_an_answer_is_mixed() -> None:
    assert [work["ngram_tokens"] for work in answer_work(SHAPE, 31, 4, is_mixed=True)] == [1, 1, 1, 1]
    assert [work["ngram_tokens"] for work in answer_work(SHAPE, 31, 4)] == [0, 0, 0, 0]


def test_an_answer_starts_once() -> None:
    assert [work["answers"] for work in answer_work(SHAPE, 31, 4)] == [1, 0, 0, 0]


def test_block_parameters_do_not_depend_on_the_vocabulary() -> None:
    assert SHAPE.block_parameters == 3 * (4 * 64 * 64 + 2 * 64 * 128 + 4 * 64)
    larger = ModelConfig(vocab_size=32000, max_seq_length=512)
    assert larger.block_parameters == ModelConfig().block_parameters
