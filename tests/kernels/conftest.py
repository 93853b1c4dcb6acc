"""The built extension and what it runs on; without them, its tests are skipped with the reason."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kernels.models import Weights, make_random, read_bundle

SETS = ("avx512-vnni", "avx-vnni", "avx2", "dotprod", "neon", "plain")
TINY = (50, 12, 2, 8, 1, 10, 8)


@pytest.fixture(scope="session")
def kernels() -> Any:
    """The module `tinyedge_kernels._kernels`."""
    try:
        return importlib.import_module("tinyedge_kernels._kernels")
    except ImportError as failure:
        pytest.skip(f"tinyedge_kernels is not built: {failure}")


@pytest.fixture(scope="session")
def library(kernels: Any) -> str:
    """Path of ONNX Runtime's library in its installed package."""
    found: str | None = importlib.import_module("tinyedge_kernels").find_library()
    return found or pytest.skip("the package onnxruntime has no libonnxruntime.so")


@pytest.fixture(scope="session")
def load(kernels: Any, library: str) -> Callable[..., Any]:
    """A function that loads weights into the extension: for some threads, an instruction set and a table."""

    def load_weights(
        weights: Weights, threads: int = 1, instructions: str = "", ngrams: object | None = None
    ) -> Any:
        settings = (threads, instructions, ngrams)
        tensors = list(weights.tensors)
        return kernels.Model(library, weights.config, weights.attention_scale, tensors, *settings)

    return load_weights


@pytest.fixture(scope="session")
def instruction_sets(load: Callable[..., Any]) -> list[str]:
    """The instruction sets that this CPU has; "plain" is always one of them."""
    tiny, found = make_random(TINY, "int8", seed=0), []
    for name in SETS:
        try:
            assert load(tiny, 1, name).instructions == name
            found.append(name)
        except ValueError:
            assert name != "plain"
    return found


@pytest.fixture(scope="session")
def micro(micro_bundle: Path) -> Weights:
    """The weights of the int8 micro bundle."""
    return read_bundle(micro_bundle)


@pytest.fixture(scope="session")
def micro_fp32(micro_bundle_fp32: Path) -> Weights:
    """The weights of the fp32 micro bundle."""
    return read_bundle(micro_bundle_fp32)
