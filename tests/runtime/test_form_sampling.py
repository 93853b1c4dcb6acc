"""Answers in a form, from a bundle: the same as if all other tokens had no probability, in both engines."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.engines import ENGINES, use_engine
from tinyedge.core.errors import UsageError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.forms.form import Form
from tinyedge.runtime.form_sampling import KEPT_FORMS, FormMatchers
from tinyedge.runtime.generator import Generator
from tinyedge.runtime.sampler import Sampler
from tinyedge.text.tokenizer import BOS_ID, EOS_ID

SCHEMA = {
    "type": "object",
    "properties": {
        "intent": {"enum": ["HassTurnOn", "HassTurnOff"]},
        "name": {"type": "string", "maxLength": 8},
        "level": {"type": "integer", "minimum": 0, "maximum": 100},
    },
    "required": ["intent", "name"],
}
COMMAND = Form.json_schema(SCHEMA)
WORDS = Form.regex("[a-z ]{5,30}[.]")
SAMPLINGS = [
    SamplingConfig(seed=1),
    SamplingConfig(temperature=0),
    SamplingConfig(seed=2, top_k=3, top_p=1.0),
    SamplingConfig(seed=3, top_k=0, min_p=0.02),
    SamplingConfig(seed=4, repetition_penalty=1.3),
    SamplingConfig(seed=5, temperature=0, logit_bias={20: 5.0}),
]
PROMPT = "The captain"


@pytest.fixture(scope="module")
def generator(json_bundle: Path) -> Iterator[Generator]:
    with Generator.load(json_bundle) as loaded:
        yield loaded


@pytest.mark.parametrize("form", [COMMAND, WORDS], ids=["json", "words"])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_tokens_are_those_of_a_mask_over_all_logits(
    generator: Generator, form: Form, sampling: SamplingConfig
) -> None:
    found = generator.generate(PROMPT, max_tokens=60, sampling=sampling, form=form)
    text, sampler = generator.prepare_form(form).begin(), Sampler(sampling, generator.config.vocab_size)
    decoder = generator.session.decoder()
    prompt = generator.encode_prompt(PROMPT)
    sampler.count_tokens(prompt)
    expected: list[int] = []
    while not text.is_final and len(expected) < min(60, generator.config.max_seq_length - len(prompt)):
        logits = decoder.prefill([*prompt, *expected])
        allowed = text.list_all()
        if len(allowed) == 1:  # nothing is drawn
            token = allowed[0]
            sampler.count_tokens([token])
        else:
            masked = np.full_like(logits, -np.inf)
            masked[allowed] = logits[allowed]
            token = sampler.sample(masked)
        expected.append(token)
        if token == EOS_ID:
            break
        text.push(token)
    assert list(found.tokens)[: len(expected)] == expected


def test_both_engines_give_the_same_answers(json_bundle: Path) -> None:
    answers = []
    for engine in ENGINES:
        with use_engine(engine), Generator.load(json_bundle) as loaded:
            answers.append(
                [
                    loaded.generate(PROMPT, max_tokens=80, sampling=sampling, form=form)
                    for sampling in SAMPLINGS
                    for form in (COMMAND, WORDS)
                ]
            )
    assert answers[0] == answers[1]


@pytest.mark.parametrize("prompt", ["", "The captain", "The captain ", "A line\n", [BOS_ID], "cap"])
def test_an_answer_has_the_form_and_nothing_else(generator: Generator, prompt: str | list[int]) -> None:
    for seed in range(4):
        sampling = SamplingConfig(seed=seed)
        answer = generator.generate(prompt, max_tokens=200, sampling=sampling, form=COMMAND)
        assert answer.finish_reason == "stop"
        value = json.loads(answer.text)
        assert answer.text[0] == "{"
        assert value["intent"] in ("HassTurnOn", "HassTurnOff")
        word = generator.generate(prompt, sampling=sampling, form=Form.choices(["sí", "no lo sé"]))
        assert (word.text in ("sí", "no lo sé"), word.finish_reason) == (True, "stop")


def test_an_answer_that_cannot_become_longer_ends_without_another_token(generator: Generator) -> None:
    answer = generator.generate(PROMPT, max_tokens=200, sampling=SamplingConfig(seed=1), form=COMMAND)
    assert answer.tokens[-1] != EOS_ID
    again = generator.generate(
        PROMPT, max_tokens=len(answer.tokens), sampling=SamplingConfig(seed=1), form=COMMAND
    )
    assert again == answer  # the last token is not one too many


def test_an_answer_that_max_tokens_cuts_says_so(generator: Generator) -> None:
    for count in (1, 5, 9):
        answer = generator.generate(PROMPT, max_tokens=count, sampling=SamplingConfig(seed=1), form=COMMAND)
        assert (answer.finish_reason, len(answer.tokens)) == ("length", count)


def test_an_answer_that_may_go_on_ends_where_the_model_ends_it(generator: Generator) -> None:
    answer = generator.generate(
        PROMPT,
        max_tokens=50,
        sampling=SamplingConfig(seed=1, logit_bias={EOS_ID: 100}),
        form=Form.regex("[a-z]{2}[a-z]*"),
    )
    assert (answer.finish_reason, answer.tokens[-1]) == ("stop", EOS_ID)
    assert re.fullmatch("[a-z]{2,}", answer.text)


def test_log_probabilities_are_those_of_the_model_alone(generator: Generator) -> None:
    sampling = SamplingConfig(seed=1)
    pieces = list(generator.stream(PROMPT, max_tokens=20, sampling=sampling, form=COMMAND, logprobs=3))
    plain = list(generator.stream(PROMPT, max_tokens=20, sampling=sampling, form=COMMAND))
    assert [piece.token for piece in pieces] == [piece.token for piece in plain]
    assert all(piece.logprob is not None and piece.logprob < 0 for piece in pieces)
    assert all(piece.top_logprobs[0][1] >= (piece.logprob or 0.0) for piece in pieces)


@pytest.mark.parametrize("fields", [{"stop": ["x"]}, {"min_tokens": 2}, {"ignore_eos": True}], ids=str)
def test_what_else_ends_a_text_cannot_be_used_with_a_form(
    generator: Generator, fields: dict[str, object]
) -> None:
    (name,) = fields
    with pytest.raises(UsageError, match=f"{name} cannot be used with a form") as failure:
        generator.stream(PROMPT, form=COMMAND, **fields)  # type: ignore[arg-type]
    assert failure.value.parameters == (name,)


def test_a_form_that_the_tokenizer_cannot_spell_is_refused_at_once(micro_bundle: Path) -> None:
    with (
        Generator.load(micro_bundle) as loaded,
        pytest.raises(UsageError, match=r"cannot spell: '\{' '\}'"),
    ):
        loaded.stream(PROMPT, form=Form.json_object())


def test_equal_forms_are_prepared_once_and_the_oldest_is_forgotten(generator: Generator) -> None:
    matchers = FormMatchers(generator.tokenizer)
    first = matchers.prepare(Form.regex("a"))
    assert matchers.prepare(Form.regex("a")) is first
    for number in range(KEPT_FORMS):
        matchers.prepare(Form.regex(f"b{{{number + 1}}}"))
    assert matchers.prepare(Form.regex("a")) is not first
