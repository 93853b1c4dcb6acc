"""Text generation from a bundle. Never imports train or export.

Needs sentencepiece, and the native kernels or numpy and onnxruntime.

Example::

    from tinyedge.runtime import Generator

    with Generator.load("bundle") as generator:
        for piece in generator.stream("My sister", max_tokens=20):
            print(piece.text, end="", flush=True)
"""

from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime.content_filter import ContentFilter
from tinyedge.runtime.generator import Generator
from tinyedge.runtime.pieces import Completion, Piece, Timings

__all__ = ["Completion", "ContentFilter", "Generator", "Piece", "SamplingConfig", "Timings"]
