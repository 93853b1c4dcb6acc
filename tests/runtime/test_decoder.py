"""What both engines promise about a text in progress, and how their numbers compare."""

import random
from pathlib import Path

import numpy as np
import pytest

from tests.kernels import reference_model
from tests.kernels.reference import NotFiniteError
from tests.support.engines import ENGINES, make_package, use_engine, use_package
from tinyedge.bundle.bundle import load_bundle
from tinyedge.core.errors import BundleError, UsageError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime.bundle_model import BundleModel
from tinyedge.runtime.decoder import Session
from tinyedge.runtime.engine import open_session
from tinyedge.runtime.generator import Generator
from tinyedge.runtime.logprobs import log_softmax
from tinyedge.runtime.top_k import select_top_k

TOKENS = [0, 57, 213, 9, 401, 77, 8, 999, 4, 12, 640, 31]
PROMPTS = ("The teacher found a silver key", "El maestro", "The captain, ", "una llave de plata")
BANNED = (0, 2, 3)
# How far the logits of the engines may be apart. Int8: ONNX Runtime quantizes all rows of a prompt with one
# scale, the kernels each row with its own, and an activation that is rounded the other way moves by a step of
# its 8 bits. On 30 random texts the largest difference was 0.1, where logits spread over 10.
TOLERANCES = {"fp32": 1e-5, "int8": 0.3}
MIN_COMMON = 20  # of 40 greedy tokens in int8; at least 28 were equal


def open_bundle(folder: Path, engine: str) -> Session:
    bundle = load_bundle(folder)
    with use_engine(engine):
        return open_session(bundle.model, bundle.config, weights=bundle.weights, name="the model")


@pytest.fixture(scope="module", params=ENGINES)
def session(request: pytest.FixtureRequest, micro_bundle_fp32: Path) -> Session:
    return open_bundle(micro_bundle_fp32, request.param)


def test_tokens_one_by_one_give_the_logits_of_all_at_once(session: Session) -> None:
    whole, stepped = session.decoder(), session.decoder()
    stepped.restart(TOKENS[:1])
    for length in range(1, len(TOKENS) + 1):
        np.testing.assert_allclose(stepped.logits(), whole.prefill(TOKENS[:length]), rtol=0, atol=1e-5)
        assert stepped.position == whole.position == length
        if length < len(TOKENS):
            stepped.append(TOKENS[length])


def test_tokens_may_be_appended_before_anything_is_asked(session: Session) -> None:
    decoder, expected = session.decoder(), session.decoder().prefill(TOKENS).copy()
    decoder.restart(TOKENS[:4])
    for token in TOKENS[4:]:
        decoder.append(token)
    np.testing.assert_allclose(decoder.logits(), expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(decoder.logits(), decoder.logits())


def test_reports_are_about_the_same_logits(session: Session) -> None:
    decoder = session.decoder(4)
    logits = decoder.prefill(TOKENS).copy()
    ordered = np.argsort(-logits, kind="stable")
    for count in (1, 4, 64, 1000):
        ids, values = decoder.largest(count)
        assert ids == ordered[:count].tolist()
        assert values == logits[ids].tolist()
    scores, total = decoder.score([5, 999, 0])
    assert scores == logits[[5, 999, 0]].tolist()
    assert np.array(scores) - total == pytest.approx(log_softmax(logits)[[5, 999, 0]], abs=1e-12)


def test_an_earlier_step_can_be_asked_again_and_the_text_stays(session: Session) -> None:
    decoder = session.decoder()
    expected = [session.decoder().prefill(TOKENS[:length]).copy() for length in range(1, 13)]
    for first in (3, 11, 1):
        decoder.restart(TOKENS[:11])
        for length in (first, 5, 11):
            decoder.recompute(length, TOKENS[length - 1])
            np.testing.assert_allclose(decoder.logits(), expected[length - 1], rtol=0, atol=1e-5)
            assert decoder.position == 11
        decoder.recompute(first, TOKENS[first - 1])
        decoder.append(TOKENS[11])
        np.testing.assert_allclose(decoder.logits(), expected[11], rtol=0, atol=1e-5)


@pytest.mark.parametrize("is_read", [False, True])
def test_a_text_continues_from_where_it_was_cut(session: Session, is_read: bool) -> None:
    decoder, expected = session.decoder(), session.decoder().prefill([*TOKENS[:4], 7]).copy()
    decoder.restart(TOKENS)
    if is_read:
        decoder.largest(1)
    decoder.truncate(4)
    assert decoder.step(7) == pytest.approx(expected, abs=1e-5)
    assert decoder.position == 5


def test_the_limits_of_a_text(session: Session) -> None:
    decoder = session.decoder()
    with pytest.raises(ValueError, match="33 tokens are outside the context, 1-32"):
        decoder.restart([4] * 33)
    with pytest.raises(ValueError, match="0 tokens"):
        decoder.restart([])
    decoder.restart([4] * 32)
    with pytest.raises(ValueError, match="33 tokens"):
        decoder.append(4)
    for length in (0, 33):
        with pytest.raises(ValueError, match=f"{length} is outside 1-32, the tokens of the text"):
            decoder.truncate(length)
        with pytest.raises(ValueError, match="outside 1-32"):
            decoder.recompute(length, 4)


def test_threads_outside_their_range(micro_bundle: Path) -> None:
    bundle = load_bundle(micro_bundle)
    for engine in ENGINES:
        with use_engine(engine), pytest.raises(UsageError, match=r"^threads 65 is outside 1-64"):
            open_session(bundle.model, bundle.config, 65, weights=bundle.weights)


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingConfig(temperature=0),
        SamplingConfig(),
        SamplingConfig(top_p=1.0, min_p=0.2),
        SamplingConfig(temperature=3, top_k=900),
    ],
)
def test_a_draw_is_that_of_the_python_sampler(session: Session, sampling: SamplingConfig) -> None:
    decoder = session.decoder(sampling.candidates + len(BANNED))
    numbers = random.Random(1)
    decoder.restart(TOKENS)
    ids, values = decoder.largest(sampling.candidates + len(BANNED))
    for _ in range(50):
        point = numbers.random()
        expected = select_top_k(ids, values, sampling, point, BANNED)
        assert decoder.draw(sampling, point, BANNED) == expected


class FailingDecoder(reference_model.Decoder):
    """The kernels, which fail as soon as token 5 is fed."""

    failure: Exception

    def feed(self, tokens: "list[int]", start: int) -> None:  # type: ignore[override]
        if 5 in tokens:
            raise self.failure
        super().feed(tokens, start)


class FailingModel(reference_model.Model):
    def decoder(self) -> reference_model.Decoder:
        return FailingDecoder(self)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (NotFiniteError(), "the model computed logits that are not finite numbers"),
        (reference_model.KernelsError("no memory"), "ONNX Runtime cannot run the model: no memory"),
    ],
)
def test_a_failure_of_the_kernels_is_an_error_of_the_bundle(
    micro_bundle: Path, failure: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FailingDecoder, "failure", failure, raising=False)
    bundle = load_bundle(micro_bundle)
    with use_package(make_package(Model=FailingModel), {}):
        decoder = open_session(bundle.model, bundle.config, weights=bundle.weights).decoder()
        decoder.restart([0, 4])
        before = decoder.largest(3)
        decoder.append(5)
        with pytest.raises(BundleError, match=message):
            decoder.draw(SamplingConfig(), 0.5, ())
        assert decoder.position == 2  # the text ends before the step that failed
        decoder.recompute(2, 4)
        assert decoder.largest(3) == before


def generate(bundle: Path, engine: str, prompt: str) -> tuple[int, ...]:
    with use_engine(engine):
        generator = Generator.load(bundle)
    greedy = SamplingConfig(temperature=0)
    return generator.generate(prompt, max_tokens=40, sampling=greedy, ignore_eos=True).tokens


@pytest.mark.parametrize("prompt", PROMPTS)
def test_both_engines_write_the_same_greedy_text_in_fp32(micro_bundle_fp32: Path, prompt: str) -> None:
    onnxruntime, kernels = (generate(micro_bundle_fp32, engine, prompt) for engine in ENGINES)
    assert kernels == onnxruntime


@pytest.mark.parametrize("prompt", PROMPTS)
def test_both_engines_begin_the_same_greedy_text_in_int8(micro_bundle: Path, prompt: str) -> None:
    onnxruntime, kernels = (generate(micro_bundle, engine, prompt) for engine in ENGINES)
    assert kernels[:MIN_COMMON] == onnxruntime[:MIN_COMMON]


@pytest.mark.parametrize("precision", TOLERANCES)
def test_both_engines_compute_nearly_the_same_logits(micro_bundle: Path, precision: str) -> None:
    folder = micro_bundle.with_name(f"micro_bundle_{precision}")
    models = [BundleModel(open_bundle(folder, engine)) for engine in ENGINES]
    tokens = np.array(TOKENS, dtype=np.uint16)
    for first in (0, len(TOKENS) - 1):  # one by one, all at once
        onnxruntime, kernels = (model.logits(tokens, first) for model in models)
        np.testing.assert_allclose(kernels, onnxruntime, rtol=0, atol=TOLERANCES[precision])
        assert np.ptp(onnxruntime) > 9
