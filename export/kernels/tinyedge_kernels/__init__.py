"""Native kernels of tinyedge, run by ONNX Runtime: a step of a small decoder-only transformer in one call.

In: the weights of a bundle and the path of ONNX Runtime's library. Out: logits, or the next token. Imports
nothing but its own extension: neither numpy nor ONNX Runtime's Python package.
"""

from tinyedge_kernels._kernels import Decoder, KernelsError, Model, NotFiniteError, drop_executed_code

__version__ = "0.1.0"  # that of tinyedge-lm
__all__ = ["Decoder", "KernelsError", "Model", "NotFiniteError", "drop_executed_code", "find_library"]


def find_library() -> str | None:
    """Find the library of the installed package onnxruntime, without importing that.

    Returns:
        Path of `libonnxruntime.so` with its version; None if the package is missing or holds no such file.
    """
    from importlib.util import find_spec
    from os import scandir

    spec = find_spec("onnxruntime")
    for folder in (spec and spec.submodule_search_locations) or ():
        try:
            with scandir(f"{folder}/capi") as entries:
                found = sorted(entry.path for entry in entries if entry.name.startswith("libonnxruntime.so"))
        except OSError:
            continue
        if found:
            return found[-1]
    return None
