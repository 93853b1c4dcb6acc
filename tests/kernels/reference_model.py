"""A model and its decoder on the exact reference, with the interface of `tinyedge_kernels._kernels`.

They stand in for the extension where it is not built, and say what its results must be.
Shapes: V vocabulary, D d_model, A heads x head width, F feedforward, C context.
"""

import itertools
import math
import operator
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from tests.kernels import reference
from tests.kernels.reference import Floats, Int8, NotFiniteError
from tests.kernels.reference_ngrams import Ngrams, NgramsError  # noqa: F401  # parts of the package
from tinyedge.core.sampling import GREEDY_BELOW

Buffer: TypeAlias = bytes | bytearray | memoryview
Tensor: TypeAlias = tuple[Buffer, Buffer | None]
Number = TypeVar("Number", np.int8, np.float32)


def find_library() -> str | None:
    """Return a name where the extension's package returns a path."""
    return "libonnxruntime.so"


class KernelsError(Exception):
    """ONNX Runtime cannot be loaded; the reference never raises it."""


@dataclass(frozen=True)
class Config:
    """The shape of a model, in the order of the extension's tuple."""

    vocab_size: int
    d_model: int
    heads: int
    head_width: int
    layers: int
    feedforward: int
    context: int


@dataclass(frozen=True)
class Matrix:
    """An int8 or fp32 matrix of shape (inputs, outputs)."""

    values: Int8 | Floats
    scale: np.float32 | None
    """Scale of the int8 values; None for fp32."""

    def multiply(self, x: Floats) -> Floats:
        """Multiply rows (T, inputs).

        Raises:
            NotFiniteError: A value is NaN or infinite.
        """
        if self.scale is None:
            return require_finite(reference.multiply_fp32(x, self.values.astype(np.float32)))
        return require_finite(reference.multiply_int8(x, self.values.astype(np.int8), self.scale))

    def look_up(self, rows: Sequence[int]) -> Floats:
        """Return rows of an embedding."""
        found = self.values[list(rows)].astype(np.float32)
        return found if self.scale is None else found * self.scale


@dataclass(frozen=True)
class Block:
    """The weights of a transformer block."""

    qkv: Matrix
    out: Matrix
    linear1: Matrix
    linear2: Matrix
    norm1: tuple[Floats, Floats]
    norm2: tuple[Floats, Floats]


class Model:
    """The weights of a model."""

    def __init__(
        self,
        library: str,
        config: tuple[int, int, int, int, int, int, int],
        attention_scale: float,
        tensors: Sequence[Tensor],
        threads: int = 1,
        instructions: str = "",
        ngrams: Ngrams | None = None,
    ) -> None:
        """Read the tensors; `library` and `threads` are for the extension.

        Raises:
            ValueError: A tensor does not have the size that `config` requires.
        """
        self.library = library
        self.threads = threads
        self.ngrams = ngrams
        self.instructions = instructions or "plain"
        self.onnxruntime = "reference"
        self.config = shape = Config(*config)
        self.attention_scale = np.float32(attention_scale)
        reader = _TensorReader(tensors)
        attention = shape.heads * shape.head_width
        self.embedding = reader.read_matrix(shape.vocab_size, shape.d_model)
        self.positions = reader.read_floats(shape.context, shape.d_model)
        self.blocks = [
            Block(
                reader.read_matrix(shape.d_model, 3 * attention),
                reader.read_matrix(attention, shape.d_model),
                reader.read_matrix(shape.d_model, shape.feedforward),
                reader.read_matrix(shape.feedforward, shape.d_model),
                (reader.read_floats(shape.d_model), reader.read_floats(shape.d_model)),
                (reader.read_floats(shape.d_model), reader.read_floats(shape.d_model)),
            )
            for _ in range(shape.layers)
        ]
        self.output = reader.read_matrix(shape.d_model, shape.vocab_size)
        reader.require_end()

    def decoder(self) -> "Decoder":
        """Create a decoder for a new text."""
        return Decoder(self)


class Decoder:
    """One text in progress."""

    def __init__(self, model: Model) -> None:
        """Create an empty text."""
        shape = model.config
        self._model = model
        self._fed = 0  # positions whose keys and values are known
        self._end = 0  # tokens that the state is about
        self._text: list[int] = []
        self._state: Floats | None = None  # (1, D), of the last token
        cache = (shape.layers, shape.context, shape.heads, shape.head_width)
        self._keys, self._values = np.zeros(cache, np.float32), np.zeros(cache, np.float32)

    def feed(self, tokens: Sequence[int], start: int) -> None:
        """Compute the state after `tokens`, which stand at the positions from `start`.

        Raises:
            ValueError: A token is outside the vocabulary, a position outside the context or beyond the text,
                or there are neither tokens nor a state.
            NotFiniteError: A value is NaN or infinite.
        """
        shape = self._model.config
        self._check_tokens(tokens)
        _require("start", start, 0, self._fed)
        _require("the number of tokens", start + len(tokens), 0, shape.context)
        if not tokens:
            if self._state is None or start != self._end:
                raise ValueError(f"no tokens were given, and there is no result of {start} earlier ones")
            return
        fed, self._fed = self._fed, start  # a step that fails keeps what is before it
        self._state = None
        with np.errstate(all="ignore"):  # what is not finite becomes an error
            self._state = self._compute_state(tokens, start)
        self._end = start + len(tokens)
        self._text[start : self._end] = tokens
        self._fed = max(fed, self._end)

    def logits(self, tokens: Sequence[int], start: int) -> bytes:
        """Feed tokens and return the logits, V float32."""
        return bytes(self._compute(tokens, start).logs.tobytes())

    def largest(self, tokens: Sequence[int], start: int, count: int) -> tuple[list[int], list[float]]:
        """Feed tokens and return the `count` largest logits, largest first; of equals, the lowest ids first.

        Raises:
            ValueError: As `feed`, or `count` is outside 1-V.
        """
        _require("count", count, 1, self._model.config.vocab_size)
        found = self._compute(tokens, start)
        ids = np.argsort(-found.numbers, kind="stable")[:count]
        ids = ids[np.lexsort((ids, -found.logs[ids]))]  # different numbers may have the same logarithm
        return ids.tolist(), found.logs[ids].tolist()

    def score(self, tokens: Sequence[int], start: int, ids: Sequence[int]) -> tuple[list[float], float]:
        """Feed tokens and return the logits of `ids`, and the logarithm of the sum of all e^logit.

        Raises:
            ValueError: As `feed`, or an id is outside the vocabulary, or there are more than V.
        """
        _require("the number of ids", len(ids), 0, self._model.config.vocab_size)
        self._check_tokens(ids)
        logits = self._compute(tokens, start).logs
        total = 0.0 if self._model.ngrams else reference.log_sum_exp(logits)
        return logits[list(ids)].tolist(), total

    def draw(
        self,
        tokens: Sequence[int],
        start: int,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        point: float,
        banned: Sequence[int],
    ) -> int:
        """Feed tokens and draw one from the `top_k` most likely that are not banned.

        Args:
            tokens: As for `feed`.
            start: As for `feed`.
            temperature: Divisor of the logits; below 1e-5 the draw is greedy.
            top_k: Number of candidates, at least 1.
            top_p: Share of the probability that remains.
            min_p: Share of the highest probability that a candidate needs.
            point: Uniform in [0, 1).
            banned: Tokens that must not be drawn.

        Raises:
            ValueError: As `feed`, or a setting is outside its range.
        """
        size = self._model.config.vocab_size
        _require("temperature", temperature, 0, 1e9)
        _require("top_k", top_k, 1, (1 << 31) - 1)
        for name, share in (("top_p", top_p), ("min_p", min_p), ("point", point)):
            _require(name, share, 0, 1)
        _require("the number of banned tokens", len(banned), 0, size - 1)
        self._check_tokens(banned)
        is_greedy = temperature < GREEDY_BELOW
        count = min(size, (1 if is_greedy else top_k) + len(banned))
        ids, values = self.largest(tokens, start, count)
        pairs = [pair for pair in zip(ids, values, strict=True) if pair[0] not in banned]
        if is_greedy:
            return pairs[0][0]
        weights = _compute_weights([value for _, value in pairs[:top_k]], temperature, top_p, min_p)
        cumulative = list(itertools.accumulate(weights))
        at = bisect_right(cumulative, point * cumulative[-1])
        return pairs[min(at, len(cumulative) - 1)][0]

    def _check_tokens(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            _require("token", operator.index(token), 0, self._model.config.vocab_size - 1)

    def _compute(self, tokens: Sequence[int], start: int) -> reference.Mixture:
        """Compute the mixture; without a table, its numbers and logarithms are the logits."""
        table = self._model.ngrams
        if table:  # before the tokens are fed, which an error prevents
            self._check_tokens(tokens)
            found = table.find([*self._text[:start], *tokens][-3:])
        self.feed(tokens, start)
        assert self._state is not None
        with np.errstate(all="ignore"):
            logits: Floats = self._model.output.multiply(self._state)[0]
            return reference.mix(logits, *found) if table else reference.Mixture(logits, logits)

    def _compute_state(self, tokens: Sequence[int], start: int) -> Floats:
        model, end = self._model, start + len(tokens)
        x = model.embedding.look_up(tokens) + model.positions[start:end]
        for layer, block in enumerate(model.blocks):
            rows = (len(tokens), 3, model.config.heads, model.config.head_width)
            queries, keys, values = np.moveaxis(block.qkv.multiply(x).reshape(rows), 1, 0)
            self._keys[layer, start:end], self._values[layer, start:end] = keys, values
            if layer == len(model.blocks) - 1:  # nothing else reads the other rows
                x, queries = x[-1:], queries[-1:]
            attended = reference.attend(
                queries, self._keys[layer, :end], self._values[layer, :end], model.attention_scale
            )
            x = reference.add_and_norm(x, block.out.multiply(attended.reshape(len(x), -1)), *block.norm1)
            active = reference.gelu(block.linear1.multiply(x))
            x = reference.add_and_norm(x, block.linear2.multiply(active), *block.norm2)
        return x


class _TensorReader:
    """Reads tensors in order, and checks their sizes."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors: Iterator[Tensor] = iter(tensors)

    def read_matrix(self, rows: int, columns: int) -> Matrix:
        values, scale = self._take()
        if scale is None:
            return Matrix(_read_array(values, np.float32, (rows, columns)), None)
        factor = np.float32(_read_array(scale, np.float32, ()))
        if not 0 <= factor < np.inf:
            raise ValueError(f"scale {factor} is negative or not finite")
        return Matrix(_read_array(values, np.int8, (rows, columns)), factor)

    def read_floats(self, *shape: int) -> Floats:
        values, scale = self._take()
        if scale is not None:
            raise ValueError("positions and norms are fp32")
        return _read_array(values, np.float32, shape)

    def require_end(self) -> None:
        if next(self._tensors, None) is not None:
            raise ValueError("there are more tensors than the configuration requires")

    def _take(self) -> Tensor:
        tensor = next(self._tensors, None)
        if tensor is None:
            raise ValueError("there are fewer tensors than the configuration requires")
        return tensor


def _read_array(data: Buffer, kind: type[Number], shape: tuple[int, ...]) -> npt.NDArray[Number]:
    raw = bytes(data)
    size = math.prod(shape) * np.dtype(kind).itemsize
    if len(raw) != size:
        raise ValueError(f"a tensor has {len(raw)} bytes, its shape requires {size}")
    return np.frombuffer(raw, kind).reshape(shape)


def _require(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, outside {low:g}-{high:g}")


def require_finite(values: Floats) -> Floats:
    """Return `values`. Raise NotFiniteError if one is NaN or infinite."""
    if not np.isfinite(values).all():
        raise NotFiniteError("a step met NaN or infinity")
    return values


def _compute_weights(logits: Sequence[float], temperature: float, top_p: float, min_p: float) -> list[float]:
    """Apply temperature, top_p and min_p to logits, largest first, in the sampler's order of operations."""
    differences = np.array(logits) - logits[0]
    weights: list[float] = reference.exp_double(differences / temperature).tolist()
    if top_p < 1:
        cumulative = list(itertools.accumulate(weights))
        del weights[bisect_left(cumulative, top_p * cumulative[-1]) + 1 :]
    return [weight for weight in weights if weight >= min_p]
