"""The first token after a prompt that ends with a word: the word is completed, or stays as it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.computed_decoder import ComputedDecoder
from tests.support.engines import ENGINES, use_engine
from tinyedge.core.config import ModelConfig
from tinyedge.core.sampling import SamplingConfig
from tinyedge.core.window import window_start
from tinyedge.runtime.generator import Generator
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, Tokenizer

GREEDY = SamplingConfig(temperature=0)


class LogitTable(ComputedDecoder):
    """A session that computes the logits of the last token from a table; it records what the model reads."""

    def __init__(self, config: ModelConfig, table: dict[tuple[int, ...], dict[int, float]]) -> None:
        super().__init__(config)
        self.table = table

    def compute(self, tokens: list[int]) -> np.ndarray:
        logits = np.full(self.config.vocab_size, -20.0, dtype=np.float32)
        for token, logit in self.table.get(tuple(tokens), {EOS_ID: 20.0}).items():
            logits[token] = logit
        return logits


@pytest.fixture(scope="module", params=ENGINES)
def generator(request: pytest.FixtureRequest, micro_bundle: Path) -> Generator:
    with use_engine(request.param):
        return Generator.load(micro_bundle)


@pytest.fixture(scope="module")
def words(generator: Generator) -> dict[str, int]:
    """The tokens that are exactly one piece, by their text."""
    return {text: token for token, text in enumerate(generator.tokenizer.spellings()) if text}


def make(generator: Generator, table: dict[tuple[int, ...], dict[int, float]]) -> tuple[Any, LogitTable]:
    session = LogitTable(generator.config, table)
    return Generator(generator.bundle, generator.tokenizer, session), session


def find_word_and_suffix(tokenizer: Tokenizer) -> tuple[int, int, int]:
    """Find a word of one piece, a piece that would be another token after it, and a piece of a new word."""
    spellings = tokenizer.spellings()
    for word, text in enumerate(spellings):
        if not (text[:1] == "▁" and text[1:].isalpha() and tokenizer.encode(text[1:]) == [word]):
            continue
        for suffix, ending in enumerate(spellings):
            is_suffix = ending.isalpha() and not ending.startswith("▁")
            if is_suffix and tokenizer.encode(text[1:] + ending)[-1] != suffix:
                return (
                    word,
                    suffix,
                    next(i for i, part in enumerate(spellings) if len(part) > 4 and i != word),
                )
    raise AssertionError("the vocabulary has no such word")


@pytest.mark.parametrize("sampling", [GREEDY, SamplingConfig(seed=1), SamplingConfig(seed=1, top_k=0)])
def test_a_finished_word_never_gets_a_piece_that_training_would_not_place_there(
    generator: Generator, sampling: SamplingConfig
) -> None:
    word, suffix, other = find_word_and_suffix(generator.tokenizer)
    text = generator.tokenizer.decode([word])
    table = {
        (BOS_ID,): {word: 10.0},
        (BOS_ID, word): {suffix: 20.0, other: 15.0},
    }
    made, _ = make(generator, table)
    assert made.generate(text, max_tokens=1, sampling=sampling).tokens == (other,)
    assert made.generate(text + " ", max_tokens=1, sampling=sampling).tokens == (other,)


@pytest.mark.parametrize("sampling", [GREEDY, SamplingConfig(seed=1), SamplingConfig(seed=1, top_k=0)])
def test_an_unfinished_word_is_completed(
    generator: Generator, words: dict[str, int], sampling: SamplingConfig
) -> None:
    doctor = words["▁doctor"]
    typed = generator.tokenizer.encode("doct")
    table = {
        (BOS_ID,): {doctor: 15.0, typed[0]: -5.0},
        (BOS_ID, doctor): {EOS_ID: 20.0},
    }
    made, session = make(generator, table)
    pieces = list(made.stream("doct", max_tokens=5, sampling=sampling, logprobs=1))
    assert "".join(piece.text for piece in pieces) == "or"
    assert [piece.token for piece in pieces] == [doctor, EOS_ID]
    assert [piece.overlap for piece in pieces] == [len(" doct"), 0]
    assert pieces[0].logprob == pytest.approx(0, abs=1e-6)
    assert session.tokens == [BOS_ID, doctor]


def test_a_finished_word_of_one_piece_costs_no_step_and_no_search(
    generator: Generator, words: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    word = next(  # another piece begins with it
        token
        for text, token in words.items()
        if text[1:].isalpha() and text[0] == "▁" and any(o.startswith(text) and o != text for o in words)
        if generator.tokenizer.encode(text[1:]) == [token]
    )
    made, session = make(generator, {(BOS_ID,): {word: 20.0}})
    monkeypatch.delattr(Tokenizer, "find_longer_pieces")
    for end in ("", "."):
        session.calls.clear()
        made.generate(generator.tokenizer.decode([word]) + end, max_tokens=1, sampling=GREEDY)
        assert session.calls == ["restart"]


def test_each_backed_up_token_costs_one_step(generator: Generator, words: dict[str, int]) -> None:
    begun = next(  # two pieces that are the beginning of one
        text[1:end]
        for text in words
        for end in range(2, len(text))
        if text[0] == "▁" and text[1:].isalpha() and len(generator.tokenizer.encode(text[1:end])) == 2
    )
    made, session = make(generator, {})
    made.generate(begun, max_tokens=1, sampling=GREEDY)
    assert session.calls == ["restart", "recompute", "recompute"]


def test_token_ids_are_not_healed(generator: Generator, words: dict[str, int]) -> None:
    typed = generator.encode_prompt("doct")
    made, session = make(generator, {tuple(typed): {words["▁doctor"]: 20.0}})
    assert made.generate(typed, max_tokens=1, sampling=GREEDY).tokens == (words["▁doctor"],)
    assert session.calls == ["restart"]


@pytest.mark.parametrize("length", range(28, 36))
def test_a_healed_text_continues_from_the_window_of_its_tokens(
    generator: Generator, words: dict[str, int], length: int
) -> None:
    """The replacement may have fewer tokens than what was typed, so that an earlier window applies."""
    prompt = ", " * (length - 3) + "doct"
    tokens = generator.encode_prompt(prompt)
    doctor = words["▁doctor"]

    class AlwaysDoctor(LogitTable):
        def compute(self, tokens: list[int]) -> np.ndarray:
            self.table = {tuple(tokens): {doctor: 20.0}}
            return super().compute(tokens)

    session = AlwaysDoctor(generator.config, {})
    made = Generator(generator.bundle, generator.tokenizer, session)
    completion = made.generate(prompt, max_tokens=2, sampling=GREEDY)
    assert completion.text == "or doctor"
    healed = [*tokens[: len(tokens) - len(generator.tokenizer.encode("doct"))], doctor]
    assert session.tokens == healed[window_start(len(healed), generator.config.max_seq_length) :]


def test_the_word_may_fill_the_window(generator: Generator) -> None:
    completion = generator.generate("z" * 500, max_tokens=3, sampling=GREEDY, ignore_eos=True)
    assert len(completion.tokens) == 3


@pytest.mark.parametrize("prompt", ["你好", "12", "é", "the₿", "a\u0301", "x" * 70, "captain\n", "3.", "—"])
def test_any_prompt_can_be_healed(generator: Generator, prompt: str) -> None:
    for seed in range(5):
        sampling = SamplingConfig(seed=seed, top_k=0, repetition_penalty=1.2)
        assert len(generator.generate(prompt, max_tokens=4, sampling=sampling, ignore_eos=True).tokens) == 4


@pytest.mark.parametrize("name", ["micro", "byte_fallback"])
def test_the_search_finds_every_longer_piece(
    name: str, generator: Generator, byte_fallback_model: bytes
) -> None:
    tokenizer = generator.tokenizer if name == "micro" else Tokenizer(byte_fallback_model)
    spellings = tokenizer.spellings()
    for token, text in enumerate(spellings):
        if not text or not text[-1].isalnum():
            continue
        expected = [
            other
            for other, longer in enumerate(spellings)
            if longer.startswith(text) and longer[len(text) :][:1].isalnum()
        ]
        assert tokenizer.find_longer_pieces([token]) == expected


@pytest.mark.parametrize("echo", [True, False])
def test_the_server_lists_the_part_of_a_healed_token_that_it_answers(
    generator: Generator, words: dict[str, int], echo: bool
) -> None:
    from tinyedge.serve.generation import generate_steps
    from tinyedge.serve.requests import GenerationRequest

    doctor = words["▁doctor"]
    made, _ = make(generator, {(BOS_ID,): {doctor: 20.0}, (BOS_ID, doctor): {words["▁la"]: 20.0}})
    request = GenerationRequest(
        kind="completion",
        prompts=("doct",),
        n=1,
        max_tokens=2,
        min_tokens=0,
        sampling=GREEDY,
        stop=(),
        ignore_eos=False,
        logprobs=1,
        echo=echo,
        stream=False,
        include_usage=False,
        continuous_usage=False,
    )
    steps = list(generate_steps(made, request, None))
    tokens = [token for step in steps for token in step.tokens][-2:]
    start = len("doct") if echo else 0
    assert [(token.text, token.offset) for token in tokens] == [("or", start), (" la", start + 2)]
    assert "".join(step.text for step in steps) == ("doct" if echo else "") + "or la"
