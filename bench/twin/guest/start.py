"""`start.py BUNDLE`: what `tinyedge generate` does until its first token, part by part, to be counted.

Marks are set at the beginning and after each part. Prints the names of the parts, as JSON. A module counts
for the first part that needs it. The garbage collector is paused, as in a start.
"""

import gc
import os

os.getsid(0)  # the cost of a mark
os.getsid(0)
gc.disable()

import json  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

PROMPT = "Once upon a time"


def run_parts(folder: Path) -> Iterator[str]:
    """Run each part, and then yield its name."""
    import typer  # noqa: F401

    yield "importing typer, and what it needs of Python"
    import sentencepiece  # noqa: F401

    yield "importing sentencepiece"
    from tinyedge.core.engine import ONNXRUNTIME, VARIABLE

    if os.environ.get(VARIABLE) == ONNXRUNTIME:
        import numpy  # noqa: F401

        yield "importing numpy"
        import tinyedge.runtime.session

        yield "importing ONNX Runtime, its telemetry off"
    import tinyedge.cli.generate
    import tinyedge.cli.main  # noqa: F401
    from tinyedge.bundle.bundle import load_bundle
    from tinyedge.runtime.content_filter import ContentFilter
    from tinyedge.runtime.engine import import_engine, open_session
    from tinyedge.runtime.generator import Generator
    from tinyedge.text.tokenizer import Tokenizer

    import_engine()
    yield "importing tinyedge, and what else it needs of Python"
    ContentFilter.load(None)
    yield "the filter's word list"
    bundle = load_bundle(folder)
    yield "the bundle: hashes, scan of the graph, manifest"
    session = open_session(
        bundle.model, bundle.config, 1, "model", weights=bundle.weights, ngrams=bundle.ngrams
    )
    yield "ONNX Runtime and the weights: the session"
    tokenizer = Tokenizer(bundle.tokenizer, "tokenizer", bundle.manifest["tokenizer"]["sha256"])
    yield "the tokenizer"
    for _ in Generator(bundle, tokenizer, session).stream(PROMPT, max_tokens=1):
        pass
    yield "the first token"


names = []
for name in run_parts(Path(sys.argv[1])):
    os.getsid(0)
    names.append(name)
print(json.dumps(names))
