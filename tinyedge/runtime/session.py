"""One model in ONNX Runtime with its KV cache: token ids in, logits out.

Knows no tokenizer, no sampling and no file: the bytes come from a bundle whose hashes were checked.
Shapes: S new tokens, P tokens in the cache, H heads, D/H width of a head, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from tinyedge.config import ModelConfig
from tinyedge.errors import BundleError, UsageError
from tinyedge.evaluate import Ids, Logits

MAX_THREADS = 64
FATAL_ONLY = 4  # onnxruntime's log severity: an error reaches the user as ours
# A tensor kept in another file says where under the key "location", in plain bytes however else the file is
# written; eight bytes that weights hold by chance once in 10^12 models of 10 MB.
EXTERNAL_DATA = b"location"
DYNAMIC = None  # an axis whose length is known only when the graph runs
EXPORT_AGAIN = "export the bundle again with: tinyedge export"

Cache = list[npt.NDArray[np.float32]]


class Session:
    """A loaded graph and what it has been fed so far.

    model: the ONNX file. config: what the graph must look like. threads: cores for one token; a model this
    small is fastest on one or two. name: what errors call the model.
    """

    def __init__(self, model: bytes, config: ModelConfig, threads: int = 1, name: str = "the model") -> None:
        self.config = config
        self.name = name
        options = _options(threads)
        if EXTERNAL_DATA in model:
            raise BundleError(f"{name} keeps data in other files, a bundle's model is one file", EXPORT_AGAIN)
        try:
            self._session = onnxruntime.InferenceSession(
                model, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as failure:  # onnxruntime's exceptions have no common base of their own
            raise self._failed("load", failure) from None
        self._session._model_bytes = None  # onnxruntime keeps them for a reload: 2 MB of 70 (int8), 9 of 88
        self._check()
        self._inputs = [node.name for node in self._session.get_inputs()]
        # In the order of the inputs, whatever the order in the graph: an output feeds the next step's input.
        self._outputs = ["logits", *(past.replace("past_key_values", "present") for past in self._inputs[1:])]
        self._empty = np.zeros((1, config.nhead, 0, config.head_dim), dtype=np.float32)
        self.reset()

    @property
    def position(self) -> int:
        """How many tokens the cache holds: P."""
        return self._position

    def reset(self) -> None:
        """Forgets everything fed so far."""
        self._position = 0
        self._cache: Cache = [self._empty] * (len(self._inputs) - 1)

    def prefill(self, tokens: Sequence[int] | Ids) -> Logits:
        """Starts over with `tokens`, one pass for all; the logits (V,) after the last of them.

        Raises ValueError where there is none, or more than the context.
        """
        self.reset()
        return self._feed(np.array([tokens], dtype=np.int64))

    def step(self, token: int) -> Logits:
        """Appends one token; the logits (V,) after it. Raises ValueError where the context is full."""
        return self._feed(np.array([[token]], dtype=np.int64))

    def _feed(self, input_ids: npt.NDArray[np.int64]) -> Logits:
        end = self._position + input_ids.shape[1]
        if not self._position < end <= self.config.max_seq_length:
            raise ValueError(f"{end} tokens are outside the context, 1-{self.config.max_seq_length}")
        feeds = dict(zip(self._inputs, (input_ids, *self._cache), strict=True))
        try:
            logits, *cache = self._session.run(self._outputs, feeds)
        except Exception as failure:
            raise self._failed("run", failure) from None
        if np.shape(logits) != (1, self.config.vocab_size) or np.shape(cache[0])[2:3] != (end,):
            raise BundleError(f"{self.name} does not compute what it declares", EXPORT_AGAIN)
        last: Logits = logits[0]
        # A sum is finite only if all its terms are: one pass, where isfinite().all() takes two.
        if not np.isfinite(last.sum()):
            raise BundleError(
                f"{self.name} computed logits that are not finite numbers",
                f"check its training, then {EXPORT_AGAIN}",
            )
        self._cache, self._position = cache, end
        return last

    def _failed(self, verb: str, failure: Exception) -> BundleError:
        reason = str(failure).strip().partition("\n")[0]
        return BundleError(f"ONNX Runtime cannot {verb} {self.name}: {reason}", EXPORT_AGAIN)

    def _check(self) -> None:
        """Compares names, types and shapes of the graph's inputs and outputs with the config."""
        heads = [1, self.config.nhead, DYNAMIC, self.config.head_dim]
        layers = [f"{i}.{part}" for i in range(self.config.num_layers) for part in ("key", "value")]
        inputs: dict[str, tuple[str, list[int | None]]] = {"input_ids": ("tensor(int64)", [1, DYNAMIC])}
        outputs: dict[str, tuple[str, list[int | None]]] = {
            "logits": ("tensor(float)", [1, self.config.vocab_size])
        }
        inputs |= {f"past_key_values.{layer}": ("tensor(float)", heads) for layer in layers}
        outputs |= {f"present.{layer}": ("tensor(float)", heads) for layer in layers}
        for kind, expected, nodes in (
            ("input", inputs, self._session.get_inputs()),
            ("output", outputs, self._session.get_outputs()),
        ):
            found = {node.name: (node.type, [_length(axis) for axis in node.shape]) for node in nodes}
            for name in sorted(expected.keys() | found.keys()):
                if expected.get(name) != found.get(name):
                    raise BundleError(
                        f"{self.name} has {kind} {name!r} {_describe(found.get(name))},"
                        f" expected {_describe(expected.get(name))}",
                        EXPORT_AGAIN,
                    )


class BundleModel:
    """A session as `tinyedge.evaluate` judges it: the device's own path, prefill and then step by step."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def context(self) -> int:
        """Positions the model sees at most."""
        return self._session.config.max_seq_length

    def logits(self, inputs: Ids, first: int) -> Logits:
        """Logits after each of the tokens inputs[first:], given all before: (len(inputs) - first, V)."""
        rows = [self._session.prefill(inputs[: first + 1])]
        rows += [self._session.step(int(token)) for token in inputs[first + 1 :]]
        return np.stack(rows)


def _options(threads: int) -> Any:
    """Little memory, no busy waiting. Raises UsageError for a number of threads that can't work."""
    if not 1 <= threads <= MAX_THREADS:
        raise UsageError(f"--threads {threads} is outside 1-{MAX_THREADS}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # never guessed: the guess ignores cgroup quotas
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # the arena keeps what the longest prefill once needed
    options.enable_mem_pattern = (
        False  # patterns are cached per shape, and the cache has a new one each token
    )
    options.log_severity_level = FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave the cores to others
    options.add_session_config_entry("session.load_model_format", "ONNX")  # its own format is not checked
    # x86 without VNNI sums int8 products in 16 bits that overflow: take the exact kernel. ARM ignores it.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _length(axis: int | str | None) -> int | None:
    return axis if isinstance(axis, int) else DYNAMIC


def _describe(tensor: tuple[str, list[int | None]] | None) -> str:
    if tensor is None:
        return "missing"
    kind, shape = tensor
    return f"{kind} ({', '.join('any' if axis is DYNAMIC else str(axis) for axis in shape)})"
