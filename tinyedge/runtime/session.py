"""A model in ONNX Runtime: token ids in, logits out.

Does not know the tokenizer, sampling or files: the bytes come from a bundle whose hashes were verified. A
`Session` is a loaded graph and is immutable; a `Decoder` is one text in progress, with its own cache. So any
number of threads can share a session, each with its own decoder.
Shapes: H heads, W `head_width`, C context, V vocabulary, K candidates.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinyedge.bundle.expected_graph import cache_parts, cache_shape
from tinyedge.core.arrays import Integers, Logits, TokenIds
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import BundleError
from tinyedge.core.settings import require_range
from tinyedge.runtime.ort import onnxruntime

if TYPE_CHECKING:
    import numpy.typing as npt

MAX_THREADS = 64
FATAL_ONLY = 4  # onnxruntime's log severity: its errors are raised, and must not be logged as well
# A tensor stored in another file has that file's name under the key "location", in plain bytes in any
# serialization of the graph; weights contain these eight bytes by chance once in 10^12 models of 10 MB.
EXTERNAL_DATA_KEY = b"location"
MAX_REASON = 240  # characters of ONNX Runtime's message; some list every supported type
DYNAMIC = None  # an axis whose length is known only when the graph runs
EXPORT_AGAIN_HINT = "export the bundle again with: tinyedge export"

Array: TypeAlias = "npt.NDArray[Any]"


class Session:
    """A loaded graph."""

    def __init__(self, model: bytes, config: ModelConfig, threads: int = 1, name: str = "the model") -> None:
        """Load a graph and check it.

        Args:
            model: Content of the ONNX file.
            config: Shape of the model, which the graph must match.
            threads: CPU cores used to compute a token, 1-64; a model this small is fastest on one or two.
            name: Name of the model in error messages.

        Raises:
            BundleError: ONNX Runtime cannot load the graph, or its inputs and outputs do not match `config`.
            UsageError: `threads` is outside its range.
        """
        self.config = config
        self.name = name
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

    def decoder(self, candidates: int = 1) -> "Decoder":
        """Create a decoder for a new text, which reports the `candidates` largest logits of each step."""
        return Decoder(self, candidates)

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


class Decoder:
    """One text in progress. Used by one thread at a time.

    The next step overwrites `logits`, `top_logits` and `top_ids`: copy the values that must be kept.
    """

    logits: Logits
    """(V,) logits after the last token."""
    top_logits: Logits
    """(K,) the largest logits, largest first."""
    top_ids: Integers
    """(K,) token ids of `top_logits`; of equal logits, the lowest id comes first."""

    def __init__(self, session: Session, candidates: int = 1) -> None:
        """Allocate the cache and bind the inputs and outputs.

        Args:
            session: The loaded graph.
            candidates: K, the number of largest logits to report; limited to 1-V.
        """
        config = session.config
        self.config = config
        self._session = session
        self._position = 0
        self._logits = np.empty((1, 1, config.vocab_size), dtype=np.float32)
        count = min(max(1, candidates), config.vocab_size)
        top_logits, top_ids = (
            np.empty((1, 1, count), dtype=np.float32),
            np.empty((1, 1, count), dtype=np.int64),
        )
        self.logits = self._logits[0, 0]
        self.top_logits = top_logits[0, 0]
        self.top_ids = top_ids[0, 0]
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
        _bind_array(self._binding.bind_output, "logits", self._logits)
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
        return self._position

    def prefill(self, tokens: "Sequence[int] | TokenIds") -> Logits:
        """Restart the text with `tokens`, in one pass, and return the logits (V,) after the last of them.

        Raises:
            ValueError: There are no tokens, or more than the context.
            BundleError: The model cannot be run or computes logits that are not finite.
        """
        self._position = 0
        return self._feed(np.array([tokens], dtype=np.int64), np.arange(len(tokens), dtype=np.int64)[None])

    def step(self, token: int) -> Logits:
        """Append one token and return the logits (V,) after it.

        Raises:
            ValueError: The context is full.
            BundleError: The model cannot be run or computes logits that are not finite.
        """
        self._input_ids[0, 0] = token
        self._position_ids[0, 0] = self._position
        return self._feed(self._input_ids, self._position_ids)

    def recompute(self, length: int, token: int) -> Logits:
        """Return the logits (V,) after the first `length` tokens again; the text keeps all its tokens.

        Args:
            length: Number of tokens.
            token: The last of them, which the cache does not hold.

        Raises:
            ValueError: The text has fewer tokens.
            BundleError: The model cannot be run or computes logits that are not finite.
        """
        position = self._position
        self.truncate(length)
        self._position = length - 1
        try:
            return self.step(token)
        finally:
            self._position = position

    def truncate(self, length: int) -> None:
        """Forget all tokens after the first `length`; the next step replaces them.

        Raises:
            ValueError: The text has fewer tokens.
        """
        if not 0 < length <= self._position:
            raise ValueError(f"{length} is outside 1-{self._position}, the tokens of the text")
        self._position = length

    def _feed(self, tokens: Integers, position_ids: Integers) -> Logits:
        end = self._position + tokens.shape[1]
        if not self._position < end <= self.config.max_seq_length:
            raise ValueError(f"{end} tokens are outside the context, 1-{self.config.max_seq_length}")
        if self._bound_input_ids is not tokens:
            _bind_array(self._binding.bind_input, "input_ids", tokens)
            _bind_array(self._binding.bind_input, "position_ids", position_ids)
            self._bound_input_ids = tokens
        self._seqlens_k[0] = end - 1
        self._total_length[...] = end
        self._session.run(self._binding)
        # If the hidden state is not finite, no logit is, and neither is the largest.
        if not math.isfinite(self.top_logits[0]):
            raise BundleError(
                f"{self._session.name} computed logits that are not finite numbers",
                f"check the training of the model, then {EXPORT_AGAIN_HINT}",
            )
        self._position = end
        return self.logits


class BundleModel:
    """A session as `text.evaluate` evaluates it: as on the device, by a prefill and then step by step."""

    def __init__(self, session: Session) -> None:
        self._decoder = session.decoder()

    @property
    def context(self) -> int:
        """Maximum number of tokens that the model sees."""
        return self._decoder.config.max_seq_length

    def logits(self, inputs: TokenIds, first: int) -> Logits:
        """Compute the logits after each of the tokens `inputs[first:]`, given all tokens before it.

        Args:
            inputs: Token ids, at most `context`.
            first: Index of the first token whose logits are returned.

        Returns:
            (len(inputs) - first, V).
        """
        rows = np.empty((len(inputs) - first, self._decoder.config.vocab_size), dtype=np.float32)
        rows[0] = self._decoder.prefill(inputs[: first + 1])
        for row, token in enumerate(inputs[first + 1 :], 1):
            rows[row] = self._decoder.step(int(token))
        return rows


def _bind_array(bind: Any, name: str, value: Array) -> None:
    bind(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)


def _create_options(threads: int) -> Any:
    """Create session options for little memory and no busy waiting."""
    require_range("threads", threads, 1, MAX_THREADS, whole=True)
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
