"""Who may ask, for what, and who answers: the routes.

Puts the other modules of this folder together; knows no sockets and no signals.
"""

import asyncio
import contextlib
import functools
import ipaddress
import json
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from tinyedge import __version__
from tinyedge.bundle.bundle import bundle_digest
from tinyedge.runtime.content_filter import ContentFilter
from tinyedge.runtime.generator import Generator
from tinyedge.serve.connection import Exchange, Head, SlowClientError
from tinyedge.serve.engine import Engine, QueuedTask, ending
from tinyedge.serve.errors import ApiError
from tinyedge.serve.generation import GenerationStep, count_tokens, write
from tinyedge.serve.metrics import CONTENT_TYPE_LATEST, ServerMetrics
from tinyedge.serve.page import load_page
from tinyedge.serve.request_stats import Tally
from tinyedge.serve.requests import (
    MODEL_ID,
    Bounds,
    GenerationRequest,
    no_model,
    parse_chat,
    parse_completion,
)
from tinyedge.serve.responses import ResponseFormatter, failure_event
from tinyedge.serve.settings import Settings

JSON, EVENTS, TEXT, HTML = "application/json", "text/event-stream", "text/plain", "text/html; charset=utf-8"
MODELS = "/v1/models/"
OPEN = ("/", "/healthz", "/readyz")  # no key needed: they tell nothing, and the page has to ask for the key
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
GONE = 499  # what the metrics call a client that went before its answer was complete

Route = Callable[[bytes, Exchange], Awaitable[None]]


class App:
    """Answers requests. `load` gives it the model; until then it is not ready."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.engine = Engine(settings.parallel, settings.queue, settings.max_seconds)
        self._metrics = ServerMetrics(lambda: self.engine.depth, lambda: self.engine.active)
        self._page = load_page()
        self._generator: Generator | None = None
        self._words: ContentFilter | None = None
        self._loaded_at = 0
        self._digest = ""
        self.ending = False
        self._routes: dict[str, tuple[str, Route]] = {
            "/": ("GET", self._show_page),
            "/healthz": ("GET", self._say_alive),
            "/readyz": ("GET", self._say_ready),
            "/metrics": ("GET", self._show_metrics),
            "/v1/models": ("GET", self._list_models),
            "/v1/completions": ("POST", functools.partial(self._complete, parse_completion)),
            "/v1/chat/completions": ("POST", functools.partial(self._complete, parse_chat)),
        }

    def load(self, generator: Generator, words: ContentFilter | None) -> None:
        """From now on it is ready. words: that no answer shows."""
        self._words = words
        bundle = generator.bundle
        self._digest = bundle_digest(bundle)
        self._metrics.identify(__version__, self._digest, str(bundle.manifest["precision"]))
        self._loaded_at = int(time.time())
        self._generator = generator

    @property
    def generator(self) -> Generator:
        """The model. Raises ApiError (503) where there is none, or will be none."""
        if self.ending:
            raise ending()
        if self._generator is None:
            raise ApiError(503, "the model is being loaded", code="loading", retry_after=1)
        return self._generator

    # What a connection asks

    def admit(self, head: Head) -> None:
        """Host, key, path, method and media type, in this order."""
        host = head.headers.get("host", "")
        if not self._knows(_without_port(host), head.address):
            hint = "start the server with --allow-host for each name it is reached by"
            raise ApiError(
                403,
                f"the Host {host[:100]!a} is not one of this server: {hint}",
                code="host_not_allowed",
            )
        if head.path not in OPEN and not self._has_key(head):
            raise ApiError(401, "pass the API key: Authorization: Bearer KEY", code="invalid_api_key")
        method, _ = self._route(head.path)
        methods = ("GET", "HEAD") if method == "GET" else (method,)
        if head.method not in methods:
            allow = ", ".join(methods)
            raise ApiError(405, f"{head.path} takes {allow}", code="method_not_allowed", allow=allow)
        # A page of another site can make a browser send anything but this without asking first.
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if method == "POST" and kind != JSON:
            raise ApiError(415, f"the Content-Type must be {JSON}", code="unsupported_media_type")

    async def answer(self, head: Head, body: bytes, exchange: Exchange) -> None:
        """Calls the route; what it does not know how to say becomes a 500 and a line on stderr."""
        endpoint = MODELS + "{id}" if head.path.startswith(MODELS) else head.path
        _, route = self._route(head.path)
        status = GONE
        try:
            await route(body, exchange)
            status = exchange.status
        except asyncio.CancelledError:
            self._metrics.errors.labels("disconnect").inc()
            raise
        except SlowClientError:
            self._metrics.errors.labels("slow_client").inc()
            raise
        except Exception as failure:
            error = _explained(failure)
            status = error.status
            self._metrics.errors.labels(error.kind).inc()
            raise error from None
        finally:
            self._metrics.requests.labels(endpoint, str(status)).inc()

    def refused(self, error: ApiError) -> None:
        """A request that did not get as far as a route."""
        self._metrics.errors.labels(error.kind).inc()
        self._metrics.requests.labels("none", str(error.status)).inc()

    def _knows(self, host: str, address: str) -> bool:
        return host in LOOPBACK_NAMES or host in self._settings.allowed_hosts or host == _in_url(address)

    def _has_key(self, head: Head) -> bool:
        scheme, _, given = head.headers.get("authorization", "").partition(" ")
        return self._settings.api_key is None or (
            scheme.lower() == "bearer" and self._settings.is_key(given.strip())
        )

    def _route(self, path: str) -> tuple[str, Route]:
        found = self._routes.get(path)
        if found is None and path.startswith(MODELS):
            found = ("GET", functools.partial(self._show_model, path.removeprefix(MODELS)))
        if found is None:
            known = ", ".join(self._routes)
            raise ApiError(404, f"there is no {path[:100]!a} here, only {known}", code="unknown_url")
        return found

    # The routes

    async def _show_page(self, body: bytes, exchange: Exchange) -> None:
        await exchange.send(200, HTML, self._page.html, [("Content-Security-Policy", self._page.policy)])

    async def _say_alive(self, body: bytes, exchange: Exchange) -> None:
        await exchange.send(200, TEXT, b"ok\n")

    async def _say_ready(self, body: bytes, exchange: Exchange) -> None:
        assert self.generator
        await exchange.send(200, TEXT, b"ready\n")

    async def _show_metrics(self, body: bytes, exchange: Exchange) -> None:
        text = await asyncio.to_thread(self._metrics.text) if self._metrics.may_wait else self._metrics.text()
        await exchange.send(200, CONTENT_TYPE_LATEST, text)

    async def _list_models(self, body: bytes, exchange: Exchange) -> None:
        await exchange.send(200, JSON, json.dumps({"object": "list", "data": [self._model()]}).encode())

    async def _show_model(self, name: str, body: bytes, exchange: Exchange) -> None:
        if name != MODEL_ID:
            raise no_model(name)
        await exchange.send(200, JSON, json.dumps(self._model()).encode())

    def _model(self) -> dict[str, Any]:
        generator = self.generator
        return {
            "id": MODEL_ID,
            "object": "model",
            "created": self._loaded_at,
            "owned_by": "tinyedge",
            "bundle": self._digest,
            "precision": generator.bundle.manifest["precision"],
            "context_length": generator.config.max_seq_length,
        }

    async def _complete(
        self, parse: Callable[[bytes, Bounds], GenerationRequest], body: bytes, exchange: Exchange
    ) -> None:
        arrived = time.perf_counter()
        generator = self.generator
        order = parse(body, Bounds(generator.config.vocab_size, self._settings.max_tokens))
        prompt_tokens = count_tokens(generator, order)
        answer = ResponseFormatter(order, prompt_tokens, self._digest[:16])
        tally = Tally(arrived, prompt_tokens)
        run = self.engine.submit(lambda: write(generator, order, self._words), live=order.stream)
        try:
            if order.stream:
                await self._stream(run, answer, tally, exchange)
            else:
                await self._collect(run, answer, tally, exchange)
        finally:
            self.engine.cancel(run)
            tally.close(self._metrics)
        if run.expired:
            self._metrics.errors.labels("timeout").inc()

    async def _collect(
        self, run: QueuedTask[GenerationStep], answer: ResponseFormatter, tally: Tally, exchange: Exchange
    ) -> None:
        steps: list[GenerationStep] = []
        while (batch := await run.batch()) is not None:
            tally.note(batch)
            steps += batch
        if run.cut_short:
            raise ending()
        tally.complete = True
        await exchange.send(200, JSON, answer.whole(steps, tally.timings()))

    async def _stream(
        self, run: QueuedTask[GenerationStep], answer: ResponseFormatter, tally: Tally, exchange: Exchange
    ) -> None:
        try:
            while (batch := await run.batch()) is not None:
                tally.note(batch)
                if not exchange.status:  # not before there is something: until then an error has a status
                    exchange.begin(200, EVENTS, [("X-Accel-Buffering", "no")])
                await exchange.write(answer.events(batch))
            if run.cut_short:
                raise ending()
        except SlowClientError:
            raise
        except Exception as failure:
            if not exchange.status:
                raise
            error = _explained(failure)
            self._metrics.errors.labels(error.kind).inc()
            await exchange.write(failure_event(error))
            return
        if not exchange.status:  # the time was up before the first token
            exchange.begin(200, EVENTS)
        tally.complete = True
        await exchange.write(answer.end(tally.timings()))


def _explained(failure: Exception) -> ApiError:
    """A failure as an answer; one that nobody foresaw gets a line on stderr."""
    if isinstance(failure, ApiError):
        return failure
    if os.environ.get("TINYEDGE_DEBUG"):
        traceback.print_exception(failure)
    line = " ".join(f"{type(failure).__name__}: {failure}".split())
    print(f"error: a request failed: {line}", file=sys.stderr, flush=True)
    return ApiError(500, "the server failed; its log says why", code="internal_error")


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdecimal() else host.lower()


def _in_url(address: str) -> str:
    """An address as it stands in a Host header."""
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address):
            return str(found.ipv4_mapped or f"[{found}]")
    return address
