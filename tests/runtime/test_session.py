"""The session: step by step against one prefill, and graphs that do not match or do not run."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tinyedge.bundle.bundle import Bundle, load_bundle
from tinyedge.core.errors import BundleError, UsageError
from tinyedge.runtime.bundle_model import BundleModel
from tinyedge.runtime.session import MAX_REASON, OnnxRuntimeDecoder, OnnxRuntimeSession
from tinyedge.text.evaluate import LanguageModel, Passage, evaluate

TOKENS = [0, 57, 213, 9, 401, 77, 8, 999, 4, 12, 640, 31]


@pytest.fixture(scope="module")
def bundle(micro_bundle_fp32: Path) -> Bundle:
    return load_bundle(micro_bundle_fp32)


@pytest.fixture
def session(bundle: Bundle) -> OnnxRuntimeSession:
    return OnnxRuntimeSession(bundle.model, bundle.config)


@pytest.fixture
def decoder(session: OnnxRuntimeSession) -> OnnxRuntimeDecoder:
    return session.decoder()


def test_steps_equal_one_prefill_of_everything(decoder: OnnxRuntimeDecoder) -> None:
    prefilled = [decoder.prefill(TOKENS[:n]).copy() for n in range(1, len(TOKENS) + 1)]
    stepped = [decoder.prefill(TOKENS[:1]).copy()] + [decoder.step(token).copy() for token in TOKENS[1:]]
    assert decoder.position == len(TOKENS)
    assert stepped[0].shape == (1000,)
    np.testing.assert_allclose(stepped, prefilled, rtol=0, atol=1e-5)
    # The logits depend on the tokens, so the comparison is meaningful.
    assert np.ptp(prefilled, axis=0).max() > 1


def test_prefill_restarts_the_text(decoder: OnnxRuntimeDecoder) -> None:
    first = decoder.prefill(TOKENS[:3]).copy()
    decoder.step(5)
    np.testing.assert_array_equal(decoder.prefill(TOKENS[:3]), first)
    assert decoder.position == 3


def test_decoders_of_a_session_are_independent(session: OnnxRuntimeSession) -> None:
    alone = [session.decoder().prefill(text).copy() for text in (TOKENS[:4], TOKENS[4:9])]
    first, second = session.decoder(), session.decoder()
    first.prefill(TOKENS[:3])
    second.prefill(TOKENS[4:8])
    np.testing.assert_allclose(first.step(TOKENS[3]), alone[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(second.step(TOKENS[8]), alone[1], rtol=0, atol=1e-5)


def test_candidates_are_the_largest_logits(session: OnnxRuntimeSession) -> None:
    decoder = session.decoder(7)
    for token in TOKENS:
        logits = decoder.step(token)
        for count in (1, 7, 20, 1000):  # found by the graph, and more
            expected = np.argsort(-logits, kind="stable")[:count]
            assert decoder.largest(count) == (expected.tolist(), logits[expected].tolist())


def test_the_context_is_a_hard_limit(decoder: OnnxRuntimeDecoder) -> None:
    decoder.prefill([4] * 31)
    decoder.step(4)
    with pytest.raises(ValueError, match="33 tokens are outside the context, 1-32"):
        decoder.step(4)
    with pytest.raises(ValueError, match="33 tokens"):
        decoder.prefill([4] * 33)
    with pytest.raises(ValueError, match="0 tokens"):
        decoder.prefill([])


@pytest.mark.parametrize("threads", [0, -1, 65])
def test_threads_outside_their_range(bundle: Bundle, threads: int) -> None:
    with pytest.raises(UsageError, match=f"^threads {threads} is outside 1-64"):
        OnnxRuntimeSession(bundle.model, bundle.config, threads)


def test_threads_do_not_change_the_logits(bundle: Bundle, session: OnnxRuntimeSession) -> None:
    two = OnnxRuntimeSession(bundle.model, bundle.config, threads=2).decoder()
    np.testing.assert_allclose(two.prefill(TOKENS), session.decoder().prefill(TOKENS), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 1001}, r"output 'logits' tensor\(float\) \(1, 1, 1000\), expected .*\(1, 1, 1001\)"),
        ({"nhead": 4}, r"input 'past_key_values.0.key' .*\(1, 2, 32, 32\), expected .*\(1, 4, 32, 16\)"),
        ({"num_layers": 2}, "input 'past_key_values.1.key' missing, expected tensor"),
    ],
)
def test_a_graph_of_another_shape_is_rejected(bundle: Bundle, change: dict[str, int], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        OnnxRuntimeSession(bundle.model, dataclasses.replace(bundle.config, **change))


def test_bytes_that_are_not_a_graph_are_rejected(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="ONNX Runtime cannot load the model: ") as failure:
        OnnxRuntimeSession(b"not a graph", bundle.config)
    assert "\n" not in failure.value.message
    assert failure.value.hint


def test_a_long_message_of_onnx_runtime_is_cut(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object, **options: object) -> None:
        raise RuntimeError("Type Error: one of " + "tensor(float) " * 100 + "\nsecond line")

    monkeypatch.setattr("onnxruntime.InferenceSession", fail)
    with pytest.raises(
        BundleError, match="ONNX Runtime cannot load the model: Type Error: one of "
    ) as failure:
        OnnxRuntimeSession(bundle.model, bundle.config)
    reason = failure.value.message.partition("the model: ")[2]
    assert len(reason) == MAX_REASON
    assert reason.endswith("...")


def test_a_graph_with_external_data_never_reaches_onnx_runtime(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx = pytest.importorskip("onnx", reason="creating the graph needs tinyedge[train]")
    graph = onnx.load_model_from_string(bundle.model)
    onnx.external_data_helper.convert_model_to_external_data(graph, location="weights")
    onnx.save(graph, tmp_path / "model.onnx")
    assert (tmp_path / "weights").exists()
    monkeypatch.setattr("onnxruntime.InferenceSession", None)
    with pytest.raises(BundleError, match="stores data in other files"):
        OnnxRuntimeSession((tmp_path / "model.onnx").read_bytes(), bundle.config)


def test_logits_that_are_not_finite_are_an_error(bundle: Bundle) -> None:
    onnx = pytest.importorskip("onnx", reason="creating the graph needs tinyedge[train]")
    graph = onnx.load_model_from_string(bundle.model)
    table = next(tensor for tensor in graph.graph.initializer if tensor.name == "token_embedding")
    rows = onnx.numpy_helper.to_array(table).copy()
    rows[5] = np.nan
    table.CopyFrom(onnx.numpy_helper.from_array(rows, table.name))
    decoder = OnnxRuntimeSession(graph.SerializeToString(), bundle.config).decoder()
    decoder.step(4)
    with pytest.raises(BundleError, match="not finite"):
        decoder.step(5)
    assert decoder.position == 1


def test_a_graph_that_fails_at_run_time_is_an_error(decoder: OnnxRuntimeDecoder) -> None:
    with pytest.raises(BundleError, match="ONNX Runtime cannot run the model: "):
        decoder.step(1000)  # the embedding has no such row


def test_bundle_model_computes_as_the_device_does(session: OnnxRuntimeSession) -> None:
    model: LanguageModel = BundleModel(session)
    assert model.context == 32
    inputs = np.array(TOKENS, dtype=np.uint16)
    rows = model.logits(inputs, 4)
    assert rows.shape == (len(TOKENS) - 4, 1000)
    np.testing.assert_allclose(rows[0], session.decoder().prefill(TOKENS[:5]), rtol=0, atol=1e-5)
    np.testing.assert_allclose(rows[-1], session.decoder().prefill(TOKENS), rtol=0, atol=1e-5)
    assert model.logits(inputs[:1], 0).shape == (1, 1000)


def test_bundle_model_can_be_evaluated(session: OnnxRuntimeSession) -> None:
    tokens = np.array(TOKENS * 6, dtype=np.uint16)
    quality = evaluate("twelve tokens", BundleModel(session), [Passage(tokens, 100)])
    assert quality.tokens == 71
    assert quality.bits_per_byte > 0
