"""Parity from weights in torch to greedy tokens of the runtime, in one comparison."""

import numpy as np
import pytest

from tinyedge.core.config import ModelConfig
from tinyedge.core.window import window_start
from tinyedge.runtime.session import OnnxRuntimeSession

torch = pytest.importorskip("torch", reason="the reference needs tinyedge[train]")
pytest.importorskip("onnx", reason="the reference needs tinyedge[train]")


def test_greedy_tokens_beyond_the_context_equal_torch() -> None:
    from tinyedge.export.fused_graph import build_fused_graph
    from tinyedge.export.weights import Weights
    from tinyedge.train.model import TinyTransformer

    torch.manual_seed(3)
    config = ModelConfig(1000, d_model=64, nhead=2, num_layers=2, dim_feedforward=128, max_seq_length=32)
    model = TinyTransformer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(10)  # untrained logits are nearly flat; these are not
    decoder = OnnxRuntimeSession(build_fused_graph(Weights.from_model(model), {}), config).decoder()
    tokens, start = [0], 0
    logits = decoder.prefill(tokens)
    for _ in range(80):
        window = tokens[window_start(len(tokens), 32) :]
        with torch.no_grad():
            expected = model(torch.tensor([window]))[0, -1].numpy()
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-3)
        assert logits.argmax() == expected.argmax()
        tokens.append(int(expected.argmax()))
        if window_start(len(tokens), 32) > start:
            start = window_start(len(tokens), 32)
            logits = decoder.prefill(tokens[start:])
        else:
            logits = decoder.step(tokens[-1])
    assert len(set(tokens)) > 5
