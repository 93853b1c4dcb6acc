"""Text generation from a bundle. Needs numpy, onnxruntime and sentencepiece; never imports train or export.

Example::

    from tinyedge.runtime import Generator

    with Generator.load("bundle") as generator:
        for piece in generator.stream("My sister", max_tokens=20):
            print(piece.text, end="", flush=True)
"""

from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime.content_filter import ContentFilter
from tinyedge.runtime.generator import Completion, Generator, Piece, Timings

__all__ = ["Completion", "ContentFilter", "Generator", "Piece", "SamplingConfig", "Timings"]
