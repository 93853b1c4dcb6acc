"""A server whose model the kernels compute: its texts are those of the generator, also for many clients."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.serve.loopback import Server
from tests.support.engines import STAND_INS, use_package
from tests.support.packages import tinyedge_kernels
from tinyedge.core.engine import KERNELS, VARIABLE
from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime.generator import Generator

PROMPT = "The captain lost a sil"


@pytest.fixture(scope="module")
def server(micro_bundle: Path) -> Iterator[Server]:
    for package in ("h11", "prometheus_client"):
        pytest.importorskip(package, reason="the server needs the extra `serve`")
    paths = os.pathsep.join(filter(None, [str(STAND_INS), os.environ.get("PYTHONPATH")]))
    environment = {VARIABLE: KERNELS, "PYTHONPATH": paths}
    with Server(micro_bundle, "--parallel", 4, "--queue", 16, env=environment) as process:
        yield process
        assert process.stop().stderr == ""


@pytest.fixture(scope="module")
def generator(micro_bundle: Path) -> Generator:
    with use_package(tinyedge_kernels, {VARIABLE: KERNELS}):
        return Generator.load(micro_bundle)


def test_the_metrics_name_the_engine(server: Server) -> None:
    assert 'engine="kernels (python)"' in server.get("/metrics").body.decode()


def test_concurrent_clients_get_the_text_that_each_would_get_alone(
    server: Server, generator: Generator
) -> None:
    samplings = [SamplingConfig(seed=seed) for seed in range(12)]
    expected = [generator.generate(PROMPT, max_tokens=30, sampling=each).text for each in samplings]
    with ThreadPoolExecutor(12) as pool:
        texts = pool.map(lambda seed: server.complete(PROMPT, max_tokens=30, seed=seed).text, range(12))
        assert list(texts) == expected
    assert len(set(expected)) > 1


def test_settings_that_need_all_logits(server: Server, generator: Generator) -> None:
    sampling = SamplingConfig(seed=1, top_k=0, frequency_penalty=0.5)
    expected = generator.generate(PROMPT, max_tokens=10, sampling=sampling).text
    answer = server.complete(PROMPT, max_tokens=10, seed=1, top_k=0, frequency_penalty=0.5)
    assert answer.text == expected
    listed = server.complete(PROMPT, max_tokens=10, seed=1, logprobs=2, echo=True).json()
    assert len(listed["choices"][0]["logprobs"]["token_logprobs"]) > 10
