"""A real server for the tests of this folder: one process for many tests, unless a test needs its own."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.serve.loopback import Server

if TYPE_CHECKING:
    from openai import OpenAI

CLIENT_SECONDS = 1.0  # short, so that the tests of slow clients are fast


@pytest.fixture(scope="session")
def server(micro_bundle: Path) -> Iterator[Server]:
    """A server with the smallest bundle, no key, and a short time limit for slow clients."""
    for package in ("h11", "prometheus_client"):
        pytest.importorskip(package, reason="the server needs the extra `serve`")
    with Server(micro_bundle, "--client-seconds", CLIENT_SECONDS, "--max-tokens", 4000) as process:
        yield process
        server_exit = process.stop()
    assert server_exit.code == 0
    assert server_exit.stderr == ""  # after everything that the tests did


class NotifyChannel:
    """Stands for systemd: receives the states that a service reports.

    Args:
        folder: Where its socket goes.
    """

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.socket.settimeout(60)

    def receive(self) -> bytes:
        """Return the next state."""
        return self.socket.recv(100)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[NotifyChannel]:
    channel = NotifyChannel(tmp_path)
    with channel.socket:
        yield channel


@pytest.fixture(scope="module")
def client(server: Server) -> "Iterator[OpenAI]":
    """The official client of OpenAI's API. Ignore its DeprecationWarning in each module that uses it."""
    openai = pytest.importorskip("openai", reason="the openai client is in the extra `dev`")
    with openai.OpenAI(
        base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0, timeout=60
    ) as client:
        yield client
