"""From a bundle to text, with numpy, onnxruntime and sentencepiece alone. Never imports train or export.

from tinyedge.runtime import Generator

generator = Generator.load(Path("bundle"))
print(generator.generate("My sister", max_tokens=20).text)
"""

from tinyedge.runtime.generator import Completion, GeneratedToken, Generator
from tinyedge.runtime.sampler import SamplingConfig

__all__ = ["Completion", "GeneratedToken", "Generator", "SamplingConfig"]
