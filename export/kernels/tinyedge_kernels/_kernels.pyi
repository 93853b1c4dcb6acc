"""Types of the extension; c/model_object.c, c/decoder_object.c and c/ngrams_object.c implement them.

V: vocabulary size.
"""

from collections.abc import Callable, Sequence
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

class NgramsError(Exception):
    """A table of n-grams has wrong content. The message continues a sentence that begins with its name."""

@final
class Ngrams:
    """A table of n-grams in memory. Any number of models and threads can share it."""

    def __init__(
        self,
        file: Buffer,
        checked: bytearray,
        check: Callable[[int], object],
        vocab_size: int,
        block_bytes: int,
        body: int,
        unigrams: int,
        levels: tuple[tuple[int, int, int, int, int], ...],
        weights: tuple[float, ...],
    ) -> None:
        """Read where the parts of the table are; `ngram/layout.py` of tinyedge describes them.

        Args:
            file: The table, aligned to 4 bytes. Both buffers are held and must not change otherwise.
            checked: For each block of the body, 1 if its bytes can be used.
            check: Called, with the GIL held, with the number of a block before its first use; it sets the
                block's byte in `checked`. What it raises, the decoder's method raises: nothing was fed then.
            vocab_size: Tokens, 1-65536.
            block_bytes: Size of a block; the last one may be shorter.
            body: Offset of the first block.
            unigrams: Offset of V float32, aligned to 4 bytes, as all offsets are to the size of their items.
            levels: For order 2, 3 and so on, 4 at most: the number of n-grams, and the offsets of 256 values
                of alpha, of row starts, tokens and codes.
            weights: Weight of the table by the number of matched tokens, 0-1; as many as the largest order.

        Raises:
            TypeError: An argument is of another type.
            ValueError: An offset is not aligned or a part not inside the file, or a number outside its range.
            NgramsError: A value of alpha is not 0 or 2^-29 to 1.
        """

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
        ngrams: Ngrams | None = None,
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
            ngrams: A table of V tokens that is mixed with the model: its decoders then use log probabilities
                instead of logits.

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

    With a table of n-grams, logits are log probabilities of the mixture, and methods but `feed` also raise
    what the table's `check` raises, and:
        NgramsError: The table is damaged. Nothing was fed.
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
            Their logits, and the logarithm; its error is a few ulp. With a table of n-grams, it is 0.
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
