"""Finds the engine that bundles run in on this machine, by computing a token of a blank model in it.

    python -m tinyedge.runtime.probe

Prints the EngineChoice as JSON, or to standard error a line with the reason and one with the way out.
`tinyedge doctor` runs it as a process of its own: a native library that crashes ends only that.
"""

import json
import struct
import sys

from tinyedge.bundle.expected_graph import EMBEDDING
from tinyedge.core.config import ModelConfig
from tinyedge.core.engine import ONNXRUNTIME, EngineChoice
from tinyedge.core.errors import TinyEdgeError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime.engine import choose, import_kernels
from tinyedge.runtime.weights import NORMS

CONFIG = ModelConfig(
    vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
)
FLOAT_BYTES = 4


def probe() -> EngineChoice:
    """Return the engine of this process; the kernels have computed a token then.

    Raises:
        EngineError: The environment chooses an engine that is unknown or cannot run here.
    """

    def try_kernels(reason: str) -> EngineChoice:
        session = import_kernels()(make_blank_weights(CONFIG), CONFIG, name="a blank model", reason=reason)
        decoder = session.decoder()
        decoder.restart([0])
        decoder.draw(SamplingConfig(temperature=0), 0.0, ())
        return session.engine

    return choose(try_kernels, lambda reason: EngineChoice(ONNXRUNTIME, None, reason))


def make_blank_weights(config: ModelConfig) -> dict[str, memoryview]:
    """Return the weights of an int8 model whose matrices are zero, by name."""
    vocab_size, width, attention = config.vocab_size, config.d_model, config.nhead * config.head_width
    matrices = {EMBEDDING: vocab_size * width, "output": width * vocab_size}
    floats = {"position_embedding": config.max_seq_length * width}
    for layer in range(config.num_layers):
        block = f"blocks.{layer}"
        matrices |= {f"{block}.qkv": width * 3 * attention, f"{block}.out": attention * width}
        matrices |= {f"{block}.linear{number}": width * config.dim_feedforward for number in (1, 2)}
        floats |= {f"{block}.{name}": width for name in NORMS}
    one = struct.pack("<f", 1.0)
    return {
        **{name: memoryview(bytes(size)) for name, size in matrices.items()},
        **{f"{name}.scale": memoryview(one) for name in matrices},
        **{name: memoryview(bytes(FLOAT_BYTES * size)) for name, size in floats.items()},
    }


def main() -> int:
    """Print the engine. Return 0, or 1 after an error."""
    try:
        print(json.dumps(probe()._asdict()))
    except TinyEdgeError as failure:
        return _fail(failure.message, failure.hint)
    except Exception as failure:  # a broken package may raise anything
        return _fail(repr(failure), "install tinyedge again")
    return 0


def _fail(*lines: str) -> int:
    print(*(" ".join(line.split()) for line in lines), sep="\n", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
