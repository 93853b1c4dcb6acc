"""A model that fails: an error for the client, a line in the log, and the server continues."""

import asyncio
import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tinyedge.core.errors import BundleError

pytest.importorskip("h11", reason="the server needs the extra `serve`")
pytest.importorskip("prometheus_client", reason="the server needs the extra `serve`")

from bench.serve.loopback import completion_request
from tinyedge.runtime import Generator as Model
from tinyedge.serve import app as module
from tinyedge.serve.app import App
from tinyedge.serve.connection import Connection
from tinyedge.serve.generation import generate_steps
from tinyedge.serve.settings import Settings

FIELDS = {"prompt": "The captain", "max_tokens": 5, "seed": 1}


async def send_requests(app: App, settings: Settings, *requests: bytes) -> list[bytes]:
    """Send each request on a new connection and return the answers."""
    connections: set[Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(app, settings, connections), "127.0.0.1", 0)
    answers = []
    for request in requests:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        answers.append(await reader.read())
        writer.close()
    server.close()
    assert await app.engine.close(0, 60)
    return answers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("steps", [0, 2])
def test_the_model_fails(
    micro_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stream: bool,
    steps: int,
) -> None:
    real: Callable[..., Any] = generate_steps

    def fail_once(*arguments: Any) -> Generator[Any, None, None]:
        monkeypatch.setattr(module, "generate_steps", real)
        for _, step in zip(range(steps), real(*arguments), strict=False):
            yield step
        raise BundleError("the model computed logits\nthat are not finite", "export it again")

    async def run() -> list[bytes]:
        settings = Settings(micro_bundle)
        app = App(settings)
        app.set_model(Model.load(micro_bundle), None)
        monkeypatch.setattr(module, "generate_steps", fail_once)
        requests = [completion_request({**FIELDS, "stream": stream}), completion_request(FIELDS)]
        requests.append(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return await send_requests(app, settings, *requests)

    failed, next_answer, metrics = asyncio.run(run())
    head, _, body = failed.partition(b"\r\n\r\n")
    if stream and steps:
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b'data: {"error": {"message": "the server failed' in body
        assert b"[DONE]" not in body
    else:
        assert head.startswith(b"HTTP/1.1 500 Internal Server Error")
        error = json.loads(body)["error"]
        assert (error["type"], error["code"]) == ("server_error", "internal_error")
        assert "logits" not in error["message"]
    assert next_answer.startswith(b"HTTP/1.1 200 ")
    assert b'tinyedge_errors_total{kind="internal"} 1.0' in metrics
    logged = capsys.readouterr().err
    assert logged == "error: a request failed: BundleError: the model computed logits that are not finite\n"


def test_an_unexpected_exception(
    micro_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any) -> None:
        raise KeyError("unexpected")

    async def run() -> list[bytes]:
        settings = Settings(micro_bundle)
        app = App(settings)
        app.set_model(Model.load(micro_bundle), None)
        monkeypatch.setattr(module, "count_tokens", fail)
        request = completion_request(FIELDS)
        return await send_requests(app, settings, request, request)

    assert all(answer.startswith(b"HTTP/1.1 500 ") for answer in asyncio.run(run()))
    assert capsys.readouterr().err.count("error: a request failed: KeyError") == 2


def test_not_ready_before_the_model_is_loaded(micro_bundle: Path) -> None:
    async def run() -> list[bytes]:
        settings = Settings(micro_bundle)
        rest = " HTTP/1.1\r\nHost: localhost\r\n\r\n"
        gets = [f"GET {path}{rest}".encode() for path in ("/healthz", "/readyz")]
        return await send_requests(App(settings), settings, *gets, completion_request(FIELDS))

    alive, ready, completion = asyncio.run(run())
    assert alive.startswith(b"HTTP/1.1 200 ")
    for answer in (ready, completion):
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in answer
