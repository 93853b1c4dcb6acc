"""The choice of the engine: the native kernels where they are installed, otherwise ONNX Runtime alone.

In: the model of a verified bundle. Out: a session, which knows its engine and the reason for it. Both engines
run the same bundles. The environment variable TINYEDGE_ENGINE can choose one; then there is no other.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tinyedge.bundle.onnx_scan import check_graph
from tinyedge.core.config import ModelConfig
from tinyedge.core.engine import ONNXRUNTIME, PACKAGE, VARIABLE, read_choice
from tinyedge.core.errors import EngineError
from tinyedge.host.affinity import default_threads
from tinyedge.host.gc_pause import pause_gc
from tinyedge.runtime.decoder import Session

if TYPE_CHECKING:  # imported when it is chosen: only one of the engines is
    from tinyedge.ngram.mapped_file import NgramFile
    from tinyedge.runtime.kernels import KernelsSession
    from tinyedge.runtime.session import OnnxRuntimeSession

Opened = TypeVar("Opened")


def open_session(
    model: bytes,
    config: ModelConfig,
    threads: int | None = None,
    name: str = "the model",
    *,
    weights: Mapping[str, memoryview] | None = None,
    engine: str | None = None,
    ngrams: "NgramFile | None" = None,
) -> Session:
    """Load a model.

    Args:
        model: Content of the ONNX file.
        config: Shape of the model, which the graph must match.
        threads: CPU cores used to compute a token, 1-64; None for the default of `generate` and `serve`.
        name: Name of the model in error messages.
        weights: Content of the graph's tensors by name, where the graph was scanned already.
        engine: KERNELS or ONNXRUNTIME; None leaves the choice to the environment and to what is installed.
        ngrams: A table that is mixed with the model: its decoders then report log probabilities instead of
            logits. None for the model alone.

    Raises:
        BundleError: The model cannot be loaded, or the table is of another vocabulary.
        EngineError: The chosen engine is unknown, or cannot run here.
        UsageError: `threads` is outside its range.
    """
    cores = default_threads() if threads is None else threads
    if ngrams is not None and ngrams.layout.vocab_size != config.vocab_size:
        raise ngrams.make_error(
            f"has {ngrams.layout.vocab_size} tokens, the model's vocabulary has {config.vocab_size}"
        )

    def open_kernels(reason: str) -> Session:
        session_class = import_kernels()
        content = check_graph(model, Path(name)).weights if weights is None else weights
        return session_class(content, config, cores, name, reason, ngrams)

    def open_onnxruntime(reason: str) -> Session:
        return import_onnxruntime()(model, config, cores, name, reason, ngrams)

    return choose(open_kernels, open_onnxruntime, engine)


def choose(
    open_kernels: Callable[[str], Opened],
    open_onnxruntime: Callable[[str], Opened],
    engine: str | None = None,
) -> Opened:
    """Open something in the engine of this process.

    Args:
        open_kernels: Opens it in the kernels, or raises EngineError; its argument is the reason for them.
        open_onnxruntime: Opens it in ONNX Runtime; its argument is the reason.
        engine: As in `open_session`.

    Raises:
        EngineError: The chosen engine is unknown, or cannot run here.
    """
    reason = "the caller chooses it"
    if engine is None:
        engine = read_choice()
        reason = f"{VARIABLE} chooses it"
    if engine == ONNXRUNTIME:
        return open_onnxruntime(reason)
    try:
        return open_kernels(reason if engine else f"{PACKAGE} is installed")
    except EngineError as failure:
        if engine:
            raise EngineError(
                f"{VARIABLE} is {engine}, which cannot run here: {failure.message}",
                f"{failure.hint}; or run without {VARIABLE}, in ONNX Runtime alone",
            ) from None
        return open_onnxruntime(failure.message)


def import_engine() -> None:
    """Import the engine of this process, so that loading a bundle does not have to.

    What is imported until then is excluded from later garbage collections: a complete one in the middle of an
    answer took 10 ms on the device, modelled.

    Raises:
        EngineError: The environment chooses an unknown engine, or one that is not installed.
    """
    with pause_gc():
        choose(lambda reason: bool(import_kernels()), lambda reason: bool(import_onnxruntime()))


def import_kernels() -> "type[KernelsSession]":
    """Import the kernels' session.

    Raises:
        EngineError: The kernels are not installed, or their library cannot be loaded.
    """
    try:
        from tinyedge.runtime.kernels import KernelsSession
    except ImportError as failure:
        if failure.name == PACKAGE and isinstance(failure, ModuleNotFoundError):
            raise EngineError(f"{PACKAGE} is not installed", "install its wheel, tinyedge-kernels") from None
        raise EngineError(
            f"{PACKAGE} cannot be loaded: {failure}", "install the wheel of tinyedge-kernels for this machine"
        ) from None
    return KernelsSession


def import_onnxruntime() -> "type[OnnxRuntimeSession]":
    """Import the session of ONNX Runtime."""
    from tinyedge.runtime.session import OnnxRuntimeSession

    return OnnxRuntimeSession
