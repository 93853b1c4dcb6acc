"""Runs the portable graph for the parity check, one text at a time.

In: the bytes of the graph. Out: logits. Does not know torch or files.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyedge.core.arrays import Logits
from tinyedge.core.config import ModelConfig
from tinyedge.export.onnx_model import cache_names
from tinyedge.runtime.ort import onnxruntime


class PortableDecoder:
    """An ONNX Runtime session of the portable graph, with the cache of one text."""

    def __init__(self, graph: bytes, config: ModelConfig) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._names = cache_names(config, "past_key_values")
        self._outputs = ["logits", *cache_names(config, "present")]
        self._empty = np.zeros((1, config.nhead, 0, config.head_dim), dtype=np.float32)
        self._cache = [self._empty] * len(self._names)

    def prefill(self, tokens: Sequence[int]) -> Logits:
        """Start a new text and return the logits (V,) after its last token."""
        self._cache = [self._empty] * len(self._names)
        return self._feed(tokens)

    def step(self, token: int) -> Logits:
        """Append a token and return the logits (V,) after it."""
        return self._feed([token])

    def _feed(self, tokens: Sequence[int]) -> Logits:
        past = self._cache[0].shape[2]
        end = past + len(tokens)
        feeds: dict[str, Any] = dict(zip(self._names, self._cache, strict=True))
        feeds["input_ids"] = np.array([tokens], dtype=np.int64)
        feeds["attention_mask"] = np.ones((1, end), dtype=np.int64)
        feeds["position_ids"] = np.arange(past, end)[None]
        logits, *self._cache = self._session.run(self._outputs, feeds)
        last: Logits = logits[0, -1]
        return last
