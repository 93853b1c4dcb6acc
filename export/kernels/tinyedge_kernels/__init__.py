"""Native kernels of tinyedge, run by ONNX Runtime: a step of a small decoder-only transformer in one call.

In: the weights of a bundle and the path of ONNX Runtime's library. Out: logits, or the next token. Imports
nothing but its own extension: neither numpy nor ONNX Runtime's Python package.

Raises:
    ImportError: An x86-64 CPU lacks instructions of which the extension is made, or it was made for another
        machine.
"""

from os import uname

__version__ = "0.1.0"  # that of tinyedge-lm
__all__ = [
    "Decoder",
    "KernelsError",
    "Model",
    "Ngrams",
    "NgramsError",
    "NotFiniteError",
    "drop_executed_code",
    "find_library",
    "time_adds",
    "time_chase",
    "time_products",
    "time_stream",
]

# x86-64-v3, as the kernel names it; every CPU with AVX2 of Intel and AMD has the others too.
X86_FEATURES = frozenset({"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe", "abm"})


def _require_features() -> None:
    """Raise ImportError if this x86-64 CPU would end the process with an illegal instruction."""
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123  # pathlib would be this package's slowest part
            flags = next((line for line in file if line.startswith("flags")), None)
    except OSError:
        return
    missing = X86_FEATURES.difference(flags.split()) if flags else None
    if missing:
        raise ImportError(
            f"the kernels need an x86-64 CPU with AVX2 and FMA; this one lacks {', '.join(sorted(missing))}"
        )


if uname().machine == "x86_64":
    _require_features()

from tinyedge_kernels._kernels import (  # noqa: E402  # then only
    Decoder,
    KernelsError,
    Model,
    Ngrams,
    NgramsError,
    NotFiniteError,
    drop_executed_code,
    time_adds,
    time_chase,
    time_products,
    time_stream,
)


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
