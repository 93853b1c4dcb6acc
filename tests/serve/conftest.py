"""A real server for the tests of this folder: one process for many tests, unless a test needs its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.serve.loopback import Server

CLIENT_SECONDS = 1.0  # short, so that the tests of slow clients are


@pytest.fixture(scope="session")
def server(micro_bundle: Path) -> Iterator[Server]:
    """A server with the smallest bundle, no key, and little patience with slow clients."""
    for package in ("h11", "prometheus_client"):
        pytest.importorskip(package, reason="the server needs the extra `serve`")
    with Server(micro_bundle, "--client-seconds", CLIENT_SECONDS, "--max-tokens", 4000) as one:
        yield one
        end = one.stop()
    assert end.code == 0
    assert end.stderr == ""  # of all that the tests did to it
