"""How good a bundle is on texts, so that a fast but broken model cannot pass.

In: a bundle, text files by name. Out: bits per byte. Imported only where a text is given: it loads the model
into this process, which is not the one that is measured.
"""

from collections.abc import Mapping
from pathlib import Path

from tinyedge.bundle.bundle import Bundle
from tinyedge.runtime.generator import Generator
from tinyedge.runtime.session import BundleModel
from tinyedge.text.evaluate import Quality, evaluate, read_passages


def measure_quality(bundle: Bundle, texts: Mapping[str, Path]) -> tuple[Quality, ...]:
    """Of each text, by the protocol of `tinyedge.text.evaluate`, the stride half of the context.

    Raises BundleError or TokenizerError for the bundle, CorpusError for a text.
    """
    with Generator.of(bundle) as generator:
        model = BundleModel(generator.session)
        return tuple(
            evaluate(name, model, read_passages(path, generator.tokenizer)) for name, path in texts.items()
        )
