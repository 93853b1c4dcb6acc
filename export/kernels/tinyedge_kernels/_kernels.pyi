"""Types of the extension; c/model_object.c and c/decoder_object.c implement them. V: vocabulary size."""

from collections.abc import Sequence
from typing import TypeAlias, final

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Contiguous bytes; any object with the buffer protocol serves."""

def drop_executed_code() -> None:
    """Drop the pages of code that this process has executed so far from its memory.

    The kernel reads them from their files again when they run.
    """

def time_adds(turns: int, /) -> tuple[int, int]:
    """Time additions, each of which needs the one before it: one cycle each.

    The GIL is released while this and the other timed loops run; Ctrl-C is noticed when they end.

    Args:
        turns: Groups of 512 additions, 1-65536.

    Returns:
        Nanoseconds, number of additions.

    Raises:
        ValueError: An argument is outside its range.
    """

def time_stream(lines: int, turns: int, /) -> tuple[int, int]:
    """Time reading fresh memory in its order, 16 bytes at a time; it was read once before.

    Args:
        lines: Lines of 64 bytes, a power of two, 16-524288.
        turns: How often all of them are read, 1-65536.

    Returns:
        Nanoseconds, sum of the words that were read: word i of the memory is i.

    Raises:
        ValueError: An argument is outside its range.
        MemoryError: There is not enough memory.
    """

def time_chase(lines: int, turns: int, seed: int, /) -> tuple[int, int]:
    """Time following a random cycle through fresh memory that visits each line once.

    Args:
        lines: Lines of 64 bytes, a power of two, 16-524288.
        turns: How often the cycle is followed, 1-65536.
        seed: Chooses the cycle, from 0 on.

    Returns:
        Nanoseconds, number of loads until the cycle's start was reached for the `turns`-th time.

    Raises:
        ValueError: An argument is outside its range.
        MemoryError: There is not enough memory.
    """

def time_products(turns: int, /) -> tuple[int, int, str]:
    """Time products of a row of 128 activations with 64 x 128 int8 weights, in the first cache.

    Args:
        turns: Number of products, 1-65536.

    Returns:
        Nanoseconds, sum of the outputs of a product, name of the instruction set.

    Raises:
        ValueError: An argument is outside its range.
        MemoryError: There is not enough memory.
    """

class KernelsError(Exception):
    """ONNX Runtime cannot be loaded or used; the message says what it says."""

class NotFiniteError(Exception):
    """A step of the model met NaN or infinity."""

@final
class Model:
    """Packed weights. Any number of decoders and threads can share it."""

    def __init__(
        self,
        library: str,
        config: tuple[int, int, int, int, int, int, int],
        attention_scale: float,
        tensors: Sequence[tuple[Buffer, Buffer | None]],
        threads: int = 1,
        instructions: str = "",
    ) -> None:
        """Pack the weights and open ONNX Runtime; the buffers can be freed afterwards.

        Args:
            library: Path of ONNX Runtime's library, 1.20 or later; see `find_library`.
            config: vocab_size, d_model, heads, head_width, layers, feedforward, context, each 1-65536;
                head_width is the width in the cache, a multiple of 8; d_model is at most 1024 with an int8
                output.
            attention_scale: Factor of the scores.
            tensors: Values and scale of token_embedding, position_embedding, for each block qkv, out,
                linear1, linear2, norm1.scale, norm1.bias, norm2.scale, norm2.bias, then of output; matrices
                as (inputs, outputs). A scale is the 4 bytes of a float32 for int8 values, None for fp32 ones.
            threads: Threads that compute, the caller's included, 1-64.
            instructions: Name of the instruction set: avx512-vnni, avx-vnni, avx2, dotprod, neon or plain;
                "" takes the best one.

        Raises:
            ValueError: An argument is outside its range, a tensor does not have the size that `config`
                requires, or this CPU lacks the instructions.
            KernelsError: ONNX Runtime cannot be loaded or used.
            MemoryError: There is not enough memory.
        """

    @property
    def instructions(self) -> str:
        """Name of the instruction set that computes."""

    @property
    def onnxruntime(self) -> str:
        """Version of ONNX Runtime's library."""

    def decoder(self) -> Decoder:
        """Create a decoder for a new text."""

@final
class Decoder:
    """One text in progress, for one thread at a time; the GIL is released while it computes.

    Each method first feeds `tokens` at the positions from `start`, which is at most the number of positions
    that were fed. Later positions are kept: feed them again if an earlier token has changed. With no tokens,
    the last result is used again; it must be that of the first `start` tokens.

    Each method raises:
        ValueError: A token is outside the vocabulary, a position is outside the context, `start` is beyond
            what was fed, another argument is outside its range, or there is no result to use again.
        NotFiniteError: A number is NaN or infinite. If feeding failed, `start` and later are forgotten.
        RuntimeError: Another thread is in this decoder.
        KernelsError: ONNX Runtime failed.
    """

    def feed(self, tokens: Sequence[int], start: int) -> None:
        """Feed tokens."""

    def logits(self, tokens: Sequence[int], start: int) -> bytes:
        """Feed tokens and return the logits after the last one: V float32."""

    def largest(self, tokens: Sequence[int], start: int, count: int) -> tuple[list[int], list[float]]:
        """Feed tokens and return the `count` largest logits, largest first, of equals the lowest id first.

        Args:
            tokens: New tokens; may be empty.
            start: Position of the first of them.
            count: 1-V.

        Returns:
            Ids and logits.
        """

    def score(self, tokens: Sequence[int], start: int, ids: Sequence[int]) -> tuple[list[float], float]:
        """Feed tokens and return some logits and the logarithm of the sum of all e^logit.

        A logit minus that is the logarithm of a probability.

        Args:
            tokens: New tokens; may be empty.
            start: Position of the first of them.
            ids: Tokens whose logits are returned, at most V.

        Returns:
            Their logits, and the logarithm; its error is a few ulp.
        """

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
        """Feed tokens and choose the next one, which is not fed.

        Args:
            tokens: New tokens; may be empty.
            start: Position of the first of them.
            temperature: Divisor of the logits; 0 takes the largest.
            top_k: Number of candidates, at least 1.
            top_p: Share of their probability that remains, 0-1.
            min_p: Share of the highest probability that a candidate needs, 0-1.
            point: Uniform in [0, 1).
            banned: Tokens that must not be chosen, fewer than V.
        """
