"""A model in ONNX Runtime alone: the engine that runs everywhere, and that export measures with.

Does not know the tokenizer, sampling or files: the bytes come from a bundle whose hashes were verified.
Shapes: H heads, W `head_width`, C context, V vocabulary, K candidates.
"""

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinyedge.bundle.expected_graph import cache_parts, cache_shape
from tinyedge.core.arrays import Integers, Logits
from tinyedge.core.config import ModelConfig
from tinyedge.core.engine import ONNXRUNTIME, EngineChoice
from tinyedge.core.errors import BundleError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime.decoder import (
    EXPORT_AGAIN_HINT,
    Decoder,
    Session,
    check_end,
    check_length,
    check_threads,
    make_not_finite_error,
)
from tinyedge.runtime.logprobs import find_largest
from tinyedge.runtime.ort import onnxruntime
from tinyedge.runtime.top_k import select_top_k

if TYPE_CHECKING:
    import numpy.typing as npt

    from tinyedge.ngram.mapped_file import NgramFile
    from tinyedge.ngram.table import NgramTable

FATAL_ONLY = 4  # onnxruntime's log severity: its errors are raised, and must not be logged as well
# A tensor stored in another file has that file's name under the key "location", in plain bytes in any
# serialization of the graph; weights contain these eight bytes by chance once in 10^12 models of 10 MB.
EXTERNAL_DATA_KEY = b"location"
MAX_REASON = 240  # characters of ONNX Runtime's message; some list every supported type
DYNAMIC = None  # an axis whose length is known only when the graph runs

Array: TypeAlias = "npt.NDArray[Any]"


class OnnxRuntimeSession(Session):
    """A loaded graph."""

    def __init__(
        self,
        model: bytes,
        config: ModelConfig,
        threads: int = 1,
        name: str = "the model",
        reason: str = "it was asked for",
        ngrams: "NgramFile | None" = None,
    ) -> None:
        """Load a graph and check it.

        Args:
            model: Content of the ONNX file.
            config: Shape of the model, which the graph must match.
            threads: CPU cores used to compute a token, 1-64.
            name: Name of the model in error messages.
            reason: Why this engine was chosen.
            ngrams: A table of the model's vocabulary that is mixed with it; None for the model alone.

        Raises:
            BundleError: ONNX Runtime cannot load the graph, or its inputs and outputs do not match `config`.
            UsageError: `threads` is outside its range.
        """
        self.config = config
        self.name = name
        self.engine = EngineChoice(ONNXRUNTIME, None, reason)
        self.table = _open_table(ngrams) if ngrams is not None else None
        options = _create_options(threads)
        if EXTERNAL_DATA_KEY in model:
            raise BundleError(
                f"{name} stores data in other files; the model of a bundle is one file", EXPORT_AGAIN_HINT
            )
        try:
            self._session = onnxruntime.InferenceSession(
                model, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as failure:  # onnxruntime's exceptions have no common base of their own
            raise self._make_error("load", failure) from None
        # onnxruntime keeps the bytes for a reload: 2 MB of the process's 60 MB (int8), 9 MB of 75 MB (fp32).
        self._session._model_bytes = None
        self._check_graph()

    def decoder(self, candidates: int = 1) -> "OnnxRuntimeDecoder":
        """Create a decoder for a new text; each step finds the `candidates` largest logits."""
        return OnnxRuntimeDecoder(self, candidates)

    def create_binding(self) -> Any:
        """Create a binding, which assigns memory to the inputs and outputs of a decoder."""
        return self._session.io_binding()

    def run(self, binding: Any) -> None:
        """Compute one step in the bound memory.

        Raises:
            BundleError: ONNX Runtime reports an error.
        """
        try:
            self._session.run_with_iobinding(binding)
        except Exception as failure:
            raise self._make_error("run", failure) from None

    def _make_error(self, verb: str, failure: Exception) -> BundleError:
        reason = str(failure).strip().partition("\n")[0]
        if len(reason) > MAX_REASON:
            reason = reason[: MAX_REASON - 3] + "..."
        return BundleError(f"ONNX Runtime cannot {verb} {self.name}: {reason}", EXPORT_AGAIN_HINT)

    def _check_graph(self) -> None:
        """Compare names, types and shapes of the graph's inputs and outputs with the config."""
        integers, small, floats = "tensor(int64)", "tensor(int32)", "tensor(float)"
        cache: tuple[str, list[int | None]] = (floats, list(cache_shape(self.config)))
        inputs: dict[str, tuple[str, list[int | None]]] = {
            "input_ids": (integers, [1, DYNAMIC]),
            "position_ids": (integers, [1, DYNAMIC]),
            "seqlens_k": (small, [1]),
            "total_sequence_length": (small, []),
            "top_k": (integers, [1]),
        }
        outputs: dict[str, tuple[str, list[int | None]]] = {
            "logits": (floats, [1, 1, self.config.vocab_size]),
            "top_logits": (floats, [1, 1, DYNAMIC]),
            "top_ids": (integers, [1, 1, DYNAMIC]),
        }
        for part in cache_parts(self.config):
            inputs[f"past_key_values.{part}"] = outputs[f"present.{part}"] = cache
        for kind, expected, nodes in (
            ("input", inputs, self._session.get_inputs()),
            ("output", outputs, self._session.get_outputs()),
        ):
            found = {
                node.name: (node.type, [_get_axis_length(axis) for axis in node.shape]) for node in nodes
            }
            for name in sorted(expected.keys() | found.keys()):
                if expected.get(name) != found.get(name):
                    raise BundleError(
                        f"{self.name} has {kind} {name!r} {_describe(found.get(name))},"
                        f" expected {_describe(expected.get(name))}",
                        EXPORT_AGAIN_HINT,
                    )


class OnnxRuntimeDecoder(Decoder):
    """One text in progress. It computes at once: what it reports, and its errors, are those of the last step.

    An error for numbers that are not finite depends on the largest logit, and sees no more than that. In an
    fp32 product, a hidden state that is not finite makes every logit NaN or infinite. In an int8 product, one
    activation that is NaN or infinite spoils all rows, and DynamicQuantizeMatMul may then compute ordinary
    numbers (onnxruntime 1.32.0). The kernels check each row that they quantize; here nothing does, but
    `tinyedge check` finds weights that are not finite, the usual cause.
    """

    def __init__(self, session: OnnxRuntimeSession, candidates: int = 1) -> None:
        """Allocate the cache and bind the inputs and outputs.

        Args:
            session: The loaded graph.
            candidates: K, the number of largest logits that a step finds; limited to 1-V.
        """
        config = session.config
        self.config = config
        self._session = session
        self._tokens: list[int] = []
        self._mixed: Logits | None = None  # log probabilities, with a table
        self._all_logits = np.empty((1, 1, config.vocab_size), dtype=np.float32)
        # With a table, the largest logits say nothing but whether they are finite.
        count = 1 if session.table else min(max(1, candidates), config.vocab_size)
        top_logits, top_ids = (
            np.empty((1, 1, count), dtype=np.float32),
            np.empty((1, 1, count), dtype=np.int64),
        )
        self._logits: Logits = self._all_logits[0, 0]
        self._top_logits: Logits = top_logits[0, 0]
        self._top_ids: Integers = top_ids[0, 0]
        self._input_ids, self._position_ids = (
            np.zeros((1, 1), dtype=np.int64),
            np.zeros((1, 1), dtype=np.int64),
        )
        self._seqlens_k, self._total_length = np.zeros(1, dtype=np.int32), np.zeros((), dtype=np.int32)
        top_k = np.array([count], dtype=np.int64)
        # The binding stores addresses only: the arrays must live as long as this object.
        self._buffers: list[Array] = [top_k, top_logits, top_ids]
        self._binding = session.create_binding()
        _bind_array(self._binding.bind_input, "seqlens_k", self._seqlens_k)
        _bind_array(self._binding.bind_input, "total_sequence_length", self._total_length)
        _bind_array(self._binding.bind_input, "top_k", top_k)
        _bind_array(self._binding.bind_output, "logits", self._all_logits)
        _bind_array(self._binding.bind_output, "top_logits", top_logits)
        _bind_array(self._binding.bind_output, "top_ids", top_ids)
        for part in cache_parts(config):
            cache = np.zeros(cache_shape(config), dtype=np.float32)
            self._buffers.append(cache)
            _bind_array(self._binding.bind_input, f"past_key_values.{part}", cache)
            _bind_array(self._binding.bind_output, f"present.{part}", cache)
        self._bound_input_ids: Array | None = None  # the array that is bound as input_ids

    @property
    def position(self) -> int:
        """Number of tokens in the cache."""
        return len(self._tokens)

    def restart(self, tokens: Sequence[int]) -> None:
        """Restart the text with `tokens`, in one pass."""
        self._tokens = []
        self._feed(np.array([tokens], dtype=np.int64), np.arange(len(tokens), dtype=np.int64)[None])

    def append(self, token: int) -> None:
        """Append one token."""
        self._input_ids[0, 0] = token
        self._position_ids[0, 0] = len(self._tokens)
        self._feed(self._input_ids, self._position_ids)

    def truncate(self, length: int) -> None:
        """Forget all tokens after the first `length`."""
        check_length(length, len(self._tokens))
        del self._tokens[length:]

    def recompute(self, length: int, token: int) -> None:
        """Compute the step of the last of the first `length` tokens again."""
        kept = self._tokens
        check_length(length, len(kept))
        self._tokens = kept[: length - 1]
        try:
            self.append(token)
        finally:
            self._tokens = kept

    def logits(self) -> Logits:
        """Return the logits (V,), which the next step overwrites."""
        return self._logits if self._mixed is None else self._mixed

    def largest(self, count: int) -> tuple[list[int], list[float]]:
        """Return the largest logits; up to K of them were found by the graph."""
        if self._mixed is None and count <= len(self._top_ids):
            return self._top_ids[:count].tolist(), self._top_logits[:count].tolist()
        logits = self.logits()
        ids = find_largest(logits, count)
        return ids.tolist(), logits[ids].tolist()

    def score(self, tokens: Sequence[int]) -> tuple[list[float], float]:
        """Return the logits of a few tokens, and the logarithm of the sum of all exponentials."""
        if self._mixed is not None:
            return self._mixed[list(tokens)].tolist(), 0.0
        wide = self._logits.astype(np.float64)
        highest = wide.max()
        return self._logits[list(tokens)].tolist(), float(highest + np.log(np.exp(wide - highest).sum()))

    def draw(self, sampling: SamplingConfig, point: float, banned_ids: Collection[int]) -> int:
        """Select the next token from the logits that the graph found."""
        ids, values = self.largest(sampling.candidates + len(banned_ids))
        return select_top_k(ids, values, sampling, point, banned_ids)

    def _feed(self, tokens: Integers, position_ids: Integers) -> None:
        end = len(self._tokens) + tokens.shape[1]
        check_end(end, len(self._tokens), self.config)
        if self._bound_input_ids is not tokens:
            _bind_array(self._binding.bind_input, "input_ids", tokens)
            _bind_array(self._binding.bind_input, "position_ids", position_ids)
            self._bound_input_ids = tokens
        self._seqlens_k[0] = end - 1
        self._total_length[...] = end
        self._session.run(self._binding)
        if not math.isfinite(self._top_logits[0]):
            raise make_not_finite_error(self._session.name)
        text = self._tokens + tokens[0].tolist()
        if self._session.table:
            self._mixed = _mix(self._logits, self._session.table, text)
        self._tokens = text


def _open_table(ngrams: "NgramFile") -> "NgramTable":
    from tinyedge.ngram.table import NgramTable  # most bundles have none

    return NgramTable(ngrams)


def _mix(logits: Logits, table: "NgramTable", text: Sequence[int]) -> Logits:
    from tinyedge.ngram.mixture import mix

    return mix(logits, table, text)


def _bind_array(bind: Any, name: str, value: Array) -> None:
    bind(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)


def _create_options(threads: int) -> Any:
    """Create session options for little memory and no busy waiting."""
    check_threads(threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # explicit: onnxruntime's default ignores cgroup quotas
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # the arena keeps the memory of the longest prefill
    options.enable_mem_pattern = False  # patterns are cached per shape, and shapes rarely repeat
    options.log_severity_level = FATAL_ONLY
    # The exported graph is already optimized: looking for optimizations would only slow down the start.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Idle threads leave the cores to other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Otherwise onnxruntime would also load its own format, which the bundle's checks do not understand.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return options


def _get_axis_length(axis: int | str | None) -> int | None:
    return axis if isinstance(axis, int) else DYNAMIC


def _describe(tensor: tuple[str, list[int | None]] | None) -> str:
    if tensor is None:
        return "missing"
    kind, shape = tensor
    return f"{kind} ({', '.join('any' if axis is DYNAMIC else str(axis) for axis in shape)})"
