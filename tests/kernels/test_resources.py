"""Decoders in threads, memory, and the extension's own errors."""

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.kernels.models import Weights, make_random
from tests.kernels.reference_model import Tensor

Loader = Callable[..., Any]

MODELS = 200


def generate(decoder: Any, first: int, count: int) -> list[int]:
    """Draw a text."""
    points = np.random.default_rng(first)
    tokens = [first]
    for start in range(count):
        tokens.append(decoder.draw(tokens[-1:], start, 0.9, 40, 0.95, 0.0, points.random(), []))
    return tokens


@pytest.mark.parametrize("threads", [1, 3])
def test_texts_at_the_same_time_are_those_of_each_alone(load: Loader, threads: int) -> None:
    weights = make_random((1200, 80, 4, 24, 2, 100, 64), "int8", seed=1)
    model = load(weights, threads)
    alone = [generate(model.decoder(), first, 60) for first in range(6)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda first: generate(model.decoder(), first, 60), range(6)))
    assert together == alone


def test_a_decoder_refuses_a_second_thread(load: Loader) -> None:
    """Of two threads that use one decoder, each call succeeds or raises RuntimeError; nothing else."""
    weights = make_random((4000, 256, 4, 64, 2, 512, 64), "int8", seed=2)
    decoder, outcomes = load(weights).decoder(), set()
    tokens = [1] * 64
    expected = decoder.logits(tokens, 0)
    was_refused, is_late = threading.Event(), threading.Event()

    def use() -> None:
        while not (was_refused.is_set() or is_late.is_set()):  # calls meet sooner or later, on any machine
            try:
                outcomes.add(decoder.logits(tokens, 0) == expected)
            except RuntimeError as refusal:
                outcomes.add(type(refusal).__name__)
                was_refused.set()

    users = [threading.Thread(target=use) for _ in range(2)]
    for user in users:
        user.start()
    was_refused.wait(60)
    is_late.set()
    for user in users:
        user.join()
    assert outcomes == {True, "RuntimeError"}
    assert decoder.logits(tokens, 0) == expected


def test_other_threads_run_during_a_step(load: Loader) -> None:
    weights = make_random((4000, 256, 4, 64, 4, 1024, 128), "fp32", seed=3)
    decoder = load(weights).decoder()
    counted, done = 0, threading.Event()

    def compute() -> None:
        decoder.feed([1] * 128, 0)
        done.set()

    worker = threading.Thread(target=compute)
    worker.start()
    while not done.is_set():
        counted += 1
        done.wait(0.0005)
    worker.join()
    assert counted > 1


def test_memory_is_freed(load: Loader) -> None:
    """A model of 0.8 MB and a decoder, 200 times; failures to create them too."""
    weights = make_random((2000, 128, 4, 32, 2, 256, 128), "int8", seed=4)
    wrong = Weights(weights.config, weights.attention_scale, [*weights.tensors[:-1], (b"", None)])

    def use() -> None:
        model = load(weights)
        model.decoder().largest([1, 2], 0, 3)
        with pytest.raises(ValueError, match=r"\w"):
            load(wrong)

    process = psutil.Process()
    for _ in range(10):
        use()
    gc.collect()
    before = process.memory_info().rss
    for _ in range(MODELS):
        use()
    gc.collect()
    assert process.memory_info().rss - before < 20 * 2**20


def test_a_decoder_keeps_its_model(load: Loader) -> None:
    weights = make_random((100, 20, 2, 16, 1, 30, 8), "int8", seed=5)
    model = load(weights)
    expected = model.decoder().logits([1, 2], 0)
    decoder = model.decoder()
    del model
    gc.collect()
    assert decoder.logits([1, 2], 0) == expected


def test_tensors_may_be_any_buffers_and_can_go(load: Loader) -> None:
    """Views that are not aligned, as those into a file, and that change after the model is made."""
    weights = make_random((100, 20, 2, 16, 1, 30, 8), "mixed", seed=6)
    expected = load(weights).decoder().logits([1, 2], 0)
    for offset in (1, 2, 3):
        moved: list[bytearray] = []
        tensors: list[Tensor] = []
        for values, scale in weights.tensors:
            data = bytearray(offset + len(values))
            data[offset:] = values
            moved.append(data)
            tensors.append((memoryview(data)[offset:], scale))
        model = load(Weights(weights.config, weights.attention_scale, tensors))
        for data in moved:
            data[:] = bytes(len(data))
        assert model.decoder().logits([1, 2], 0) == expected


def test_a_library_that_is_none_is_a_kernels_error(kernels: Any, tmp_path: Path) -> None:
    weights = make_random((100, 20, 2, 16, 1, 30, 8), "int8", seed=7)
    text = tmp_path / "libonnxruntime.so.1"
    text.write_text("not a library")
    for path in (text, tmp_path / "missing.so", tmp_path):
        with pytest.raises(kernels.KernelsError, match=r"\w"):
            kernels.Model(str(path), weights.config, weights.attention_scale, weights.tensors)


@pytest.mark.parametrize("name", [b"caf\xe9", "ñ".encode() * 125], ids=["not UTF-8", "cut in a letter"])
def test_the_message_names_a_path_of_any_bytes(kernels: Any, tmp_path: Path, name: bytes) -> None:
    weights = make_random((100, 20, 2, 16, 1, 30, 8), "int8", seed=7)
    for shift in (b"", b"x"):
        path = b"/".join([bytes(tmp_path), name + shift, name, name])
        with pytest.raises(kernels.KernelsError, match="cannot be loaded"):
            kernels.Model(path, weights.config, weights.attention_scale, weights.tensors)


def test_the_properties_of_a_model(load: Loader, instruction_sets: list[str]) -> None:
    import onnxruntime

    model = load(make_random((100, 20, 2, 16, 1, 30, 8), "int8", seed=8))
    assert model.instructions == instruction_sets[0]
    assert model.onnxruntime == onnxruntime.__version__
