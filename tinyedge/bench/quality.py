"""Quality of a bundle on texts, so that a fast but broken model cannot pass.

In: a bundle, and text files by name. Out: bits per byte. Imported only if a text is given: it loads the model
in this process, which is not the measured one.
"""

from collections.abc import Mapping
from pathlib import Path

from tinyedge.bundle.bundle import Bundle
from tinyedge.runtime.bundle_model import BundleModel
from tinyedge.runtime.generator import Generator
from tinyedge.text.evaluate import Quality, evaluate, read_passages


def measure_quality(bundle: Bundle, texts: Mapping[str, Path]) -> tuple[Quality, ...]:
    """Measure the quality on each text as `tinyedge.text.evaluate` does, with a stride of half the context.

    Raises:
        BundleError: The model cannot be loaded.
        TokenizerError: The tokenizer cannot be loaded.
        CorpusError: A text cannot be read.
    """
    with Generator.of(bundle) as generator:
        model = BundleModel(generator.session)
        return tuple(
            evaluate(name, model, read_passages(path, generator.tokenizer)) for name, path in texts.items()
        )
