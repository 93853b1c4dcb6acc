"""The template of conversations: their tokens, and which of these are learned and scored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyedge.core.arrays import Logits, TokenIds
from tinyedge.core.errors import CorpusError
from tinyedge.text.evaluate import tokenize_conversation
from tinyedge.text.pair_quality import evaluate_pairs
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, TextStream, Tokenizer
from tinyedge.text.turns import encode_turns
from tinyedge.text.windows import mask_completions, split_completions


@pytest.fixture(scope="module")
def tokenizer(micro_bundle: Path) -> Tokenizer:
    return Tokenizer.load(micro_bundle / "tokenizer.model")


def test_bos_ends_a_prompt_and_eos_a_completion(tokenizer: Tokenizer) -> None:
    ask, answer = tokenizer.encode("two dogs"), tokenizer.encode("one man")
    assert encode_turns(tokenizer, ["two dogs"]) == [BOS_ID, *ask, BOS_ID]
    pair = [BOS_ID, *ask, BOS_ID, *answer, EOS_ID]
    assert encode_turns(tokenizer, ["two  \n dogs ", "one man"]) == pair
    assert encode_turns(tokenizer, ["two dogs", "one man", "one man"]) == [*pair, BOS_ID, *answer, BOS_ID]


def test_training_tokenizes_a_conversation_as_inference_does(tokenizer: Tokenizer) -> None:
    turns = ("two dogs", "one man", "dogs", "men")
    passage = tokenize_conversation(turns, tokenizer)
    assert passage.tokens.tolist() == encode_turns(tokenizer, turns)
    assert passage.bytes == len("one man") + 1 + len("men") + 1
    assert passage.is_conversation


def test_no_text_is_encoded_as_bos(tokenizer: Tokenizer) -> None:
    for text in ("<s>", "</s>", "\x00", "<s> two <s>"):
        assert BOS_ID not in tokenizer.encode(text)
        assert EOS_ID not in tokenizer.encode(text)


def test_only_completions_with_their_eos_are_scored() -> None:
    tokens = np.array([0, 10, 11, 0, 12, 13, 1, 0, 14, 0, 15, 1], dtype=np.uint16)
    first, second = split_completions(tokens, 64)
    assert (first.inputs.tolist(), first.first, first.targets.tolist()) == (
        [0, 10, 11, 0, 12, 13],
        3,
        [12, 13, 1],
    )
    assert (second.inputs.tolist(), second.first, second.targets.tolist()) == (
        tokens[:-1].tolist(),
        9,
        [15, 1],
    )
    masked = tokens[1:][mask_completions(tokens)].tolist()
    assert masked == [12, 13, 1, 15, 1]


def test_the_mask_restarts_with_each_conversation() -> None:
    tokens = np.array([0, 10, 0, 11, 1, PAD_ID, 0, 12, 0, 13, 1, PAD_ID, PAD_ID], dtype=np.uint16)
    assert tokens[1:][mask_completions(tokens)].tolist() == [11, 1, 13, 1]


def test_a_conversation_longer_than_the_context_has_no_window() -> None:
    tokens = np.array([0, 10, 0, 11, 1], dtype=np.uint16)
    assert len(list(split_completions(tokens, 4))) == 1
    assert list(split_completions(tokens, 3)) == []


def test_an_answer_begins_without_the_space_of_its_first_piece(tokenizer: Tokenizer) -> None:
    prompt = encode_turns(tokenizer, ["two dogs"])
    stream = TextStream(tokenizer, prompt)
    answer = "".join(stream.push(token) for token in tokenizer.encode("one man"))
    assert answer == "one man"
    after_word = TextStream(tokenizer, prompt[:-1])
    assert "".join(after_word.push(token) for token in tokenizer.encode("one man")) == " one man"


class Scripted:
    """Answers each prompt with given tokens: the likeliest next token is the next one of the script."""

    context = 64

    def __init__(self, vocab_size: int, scripts: dict[tuple[int, ...], list[int]]) -> None:
        self._vocab_size = vocab_size
        self._scripts = scripts

    def logits(self, inputs: TokenIds, first: int) -> Logits:
        rows = np.zeros((len(inputs) - first, self._vocab_size), dtype=np.float32)
        rows[:, BOS_ID] = 20.0  # never part of an answer, however likely
        tokens = inputs.tolist()
        for prompt, script in self._scripts.items():
            if tuple(tokens[: len(prompt)]) == prompt:
                for row, place in enumerate(range(first, len(tokens))):
                    said = place - len(prompt) + 1
                    rows[row, script[said] if said < len(script) else EOS_ID] = 10.0
        return rows


def make_model(tokenizer: Tokenizer, answers: dict[str, list[int]]) -> Any:
    scripts = {tuple(encode_turns(tokenizer, [prompt])): ids for prompt, ids in answers.items()}
    return Scripted(tokenizer.vocab_size, scripts)


def test_exact_matches_are_of_text_and_token_accuracy_is_of_tokens(tokenizer: Tokenizer) -> None:
    right, wrong = tokenizer.encode("one man"), tokenizer.encode("two men")
    (_, (other_pieces, _)) = tokenizer.find_segmentations(["one man"], 2)[0]
    model = make_model(tokenizer, {"dogs": right, "men": wrong, "man": list(other_pieces)})
    found = evaluate_pairs(
        "test", model, tokenizer, [(prompt, "one man") for prompt in ("dogs", "men", "man")]
    )
    assert tokenizer.decode(other_pieces) == "one man"
    assert found.exact == pytest.approx(2 / 3)
    assert (found.n, found.too_long) == (3, 0)
    assert 1 / 3 < found.token_accuracy < 1
    (failure,) = found.failures
    assert (failure.prompt, failure.completion, failure.answer) == ("men", "one man", "two men")


def test_a_perfect_model_is_exact_and_needs_few_bits(tokenizer: Tokenizer) -> None:
    model = make_model(tokenizer, {"dogs": tokenizer.encode("one man")})
    found = evaluate_pairs("test", model, tokenizer, [("dogs", "one man")] * 3)
    assert (found.exact, found.token_accuracy, found.n, found.failures) == (1.0, 1.0, 3, ())
    # BOS takes nearly all probability in the script: each token costs its distance of 10 nats.
    tokens = len(tokenizer.encode("one man")) + 1
    assert found.bits_per_completion == pytest.approx(tokens * 10 / np.log(2), rel=0.01)


def test_pairs_that_are_too_long_are_counted_and_not_judged(tokenizer: Tokenizer) -> None:
    model = make_model(tokenizer, {"dogs": tokenizer.encode("men")})
    long = ("dogs " * 70, "men")
    assert evaluate_pairs("test", model, tokenizer, [("dogs", "men"), long]).too_long == 1
    with pytest.raises(CorpusError, match="1 are longer than the context of 64 tokens"):
        evaluate_pairs("test", model, tokenizer, [long])
