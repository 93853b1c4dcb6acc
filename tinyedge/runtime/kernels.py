"""A model in the native kernels of the package tinyedge_kernels, which run inside ONNX Runtime's library.

In: the weights of a verified bundle. Out: a session. Needs neither numpy nor ONNX Runtime's Python package,
whose imports take longer than a short answer. This module can be imported where the kernels are installed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import tinyedge_kernels

from tinyedge import __version__
from tinyedge.core.arrays import Logits
from tinyedge.core.config import ModelConfig
from tinyedge.core.engine import KERNELS, EngineChoice
from tinyedge.core.errors import BundleError, EngineError
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
from tinyedge.runtime.weights import list_tensors

if TYPE_CHECKING:
    from tinyedge.ngram.mapped_file import NgramFile

LIBRARY = "libonnxruntime.so"

# None: a folder of that name is left over from an uninstalled package.
if (found := getattr(tinyedge_kernels, "__version__", None)) != __version__:
    raise ImportError(f"its version is {found}, that of tinyedge is {__version__}")

Result = TypeVar("Result")


class KernelsSession(Session):
    """Packed weights."""

    def __init__(
        self,
        weights: Mapping[str, memoryview],
        config: ModelConfig,
        threads: int = 1,
        name: str = "the model",
        reason: str = "it was asked for",
        ngrams: "NgramFile | None" = None,
    ) -> None:
        """Pack the weights.

        Args:
            weights: Content of the model's tensors by name, as the scan of the bundle found them.
            config: Shape of the model, which they match.
            threads: CPU cores used to compute a token, 1-64.
            name: Name of the model in error messages.
            reason: Why this engine was chosen.
            ngrams: A table of the model's vocabulary that is mixed with it; None for the model alone.

        Raises:
            BundleError: A scale of the weights is negative or not finite, or the table is damaged.
            EngineError: The kernels cannot run here.
            UsageError: `threads` is outside its range.
        """
        check_threads(threads)
        self.config = config
        self.name = name
        self._ngrams = ngrams
        shape = (config.vocab_size, config.d_model, config.nhead, config.head_width, config.num_layers)
        sizes = (*shape, config.dim_feedforward, config.max_seq_length)
        library = find_library()
        try:
            tensors = list_tensors(weights, config)
            self._model = tinyedge_kernels.Model(
                library,
                sizes,
                config.head_dim**-0.5,
                tensors,
                threads,
                ngrams=_open_table(ngrams) if ngrams is not None else None,
            )
        except KeyError as failure:
            raise EngineError(f"{name} does not store {failure} as plain bytes", EXPORT_AGAIN_HINT) from None
        except tinyedge_kernels.KernelsError as failure:
            raise EngineError(
                f"the kernels cannot use ONNX Runtime: {failure}", "install another version of onnxruntime"
            ) from None
        except ValueError as failure:  # the configuration is in its ranges: it is about what the file stores
            raise BundleError(
                f"{name} is not a valid model of a bundle: {failure}", EXPORT_AGAIN_HINT
            ) from None
        self.engine = EngineChoice(KERNELS, self._model.instructions, reason)

    def decoder(self, candidates: int = 1) -> "KernelsDecoder":
        """Create a decoder for a new text. The number of candidates does not matter here."""
        return KernelsDecoder(self.config, self._model.decoder(), self.name, self._ngrams)


class KernelsDecoder(Decoder):
    """One text in progress. Tokens wait until something is asked about them: one call then does both."""

    def __init__(
        self,
        config: ModelConfig,
        native: "tinyedge_kernels.Decoder",
        name: str,
        ngrams: "NgramFile | None" = None,
    ) -> None:
        self.config = config
        self._ngrams = ngrams
        self._native = native
        self._name = name
        self._tokens: list[int] = []
        self._read = 0  # number of tokens whose keys and values the kernels hold
        self._start = self._end = 0  # the tokens that the next call reads; the next report is about the last

    @property
    def position(self) -> int:
        """Number of tokens in the text."""
        return len(self._tokens)

    def restart(self, tokens: Sequence[int]) -> None:
        """Restart the text with `tokens`."""
        check_end(len(tokens), 0, self.config)
        self._tokens = list(tokens)
        self._start, self._end, self._read = 0, len(tokens), 0

    def append(self, token: int) -> None:
        """Append one token."""
        end = len(self._tokens) + 1
        check_end(end, end - 1, self.config)
        self._tokens.append(token)
        self._start, self._end = self._read, end

    def truncate(self, length: int) -> None:
        """Forget all tokens after the first `length`."""
        check_length(length, len(self._tokens))
        del self._tokens[length:]
        self._read = min(self._read, length)
        self._start, self._end = self._read, length

    def recompute(self, length: int, token: int) -> None:
        """Report about the first `length` tokens; the kernels keep those after them."""
        check_length(length, len(self._tokens))
        self._start, self._end = min(self._read, length - 1), length

    def logits(self) -> Logits:
        """Return the logits (V,); needs numpy."""
        import numpy as np

        return np.frombuffer(self._run(self._native.logits), dtype=np.float32)

    def largest(self, count: int) -> tuple[list[int], list[float]]:
        """Return the largest logits."""
        found: tuple[list[int], list[float]] = self._run(self._native.largest, count)
        return found

    def score(self, tokens: Sequence[int]) -> tuple[list[float], float]:
        """Return the logits of a few tokens, and the logarithm of the sum of all exponentials."""
        found: tuple[list[float], float] = self._run(self._native.score, list(tokens))
        return found

    def draw(self, sampling: SamplingConfig, point: float, banned_ids: Collection[int]) -> int:
        """Select the next token, in the kernels."""
        temperature = 0.0 if sampling.greedy else sampling.temperature
        settings = (temperature, sampling.candidates, sampling.top_p, sampling.min_p)
        token: int = self._run(self._native.draw, *settings, point, list(banned_ids))
        return token

    def _run(self, compute: Callable[..., Result], *arguments: object) -> Result:
        """Call a function of the kernels with the tokens that wait and the place of the first of them.

        Raises:
            BundleError: The model cannot be run or computes numbers that are not finite. The text then ends
                before the tokens that waited. Or the table of n-grams is damaged; they still wait then.
        """
        try:
            found = compute(self._tokens[self._start : self._end], self._start, *arguments)
        except tinyedge_kernels.NgramsError as failure:
            assert self._ngrams
            raise self._ngrams.make_error(str(failure)) from None
        except (tinyedge_kernels.NotFiniteError, tinyedge_kernels.KernelsError) as failure:
            del self._tokens[self._start :]
            self._read = self._end = self._start
            if isinstance(failure, tinyedge_kernels.NotFiniteError):
                raise make_not_finite_error(self._name) from None
            raise BundleError(f"ONNX Runtime cannot run {self._name}: {failure}", EXPORT_AGAIN_HINT) from None
        self._read = max(self._read, self._end)
        self._start = self._end
        return found


def _open_table(ngrams: "NgramFile") -> "tinyedge_kernels.Ngrams":
    """Describe a mapped table to the kernels.

    Raises:
        BundleError: It is damaged.
    """
    from tinyedge.runtime.ngram_parts import list_parts  # most bundles have no table

    try:
        return tinyedge_kernels.Ngrams(*list_parts(ngrams))
    except tinyedge_kernels.NgramsError as failure:
        raise ngrams.make_error(str(failure)) from None


def find_library() -> str:
    """Return the path of ONNX Runtime's library in its installed package, without importing the package.

    Raises:
        EngineError: There is none.
    """
    found = tinyedge_kernels.find_library()
    if found is None:
        raise EngineError(f"no package onnxruntime with {LIBRARY} is installed", "pip install onnxruntime")
    return found
