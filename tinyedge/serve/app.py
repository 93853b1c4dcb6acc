"""The routes of the server: who may send which request, and how it is answered.

In: requests from a `Connection`. Out: answers, and metrics about them. Connects the other modules of this
folder; does not know sockets or signals.
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
from typing import TYPE_CHECKING, Any

from tinyedge import __version__
from tinyedge.runtime.content_filter import ContentFilter
from tinyedge.runtime.generator import Generator
from tinyedge.serve.connection import ResponseWriter, SlowClientError
from tinyedge.serve.engine import Engine, QueuedTask, make_shutdown_error
from tinyedge.serve.errors import ApiError
from tinyedge.serve.generation import GenerationStep, count_tokens, generate_steps, prepare_form
from tinyedge.serve.metrics import CONTENT_TYPE_LATEST, ServerMetrics
from tinyedge.serve.page import load_page
from tinyedge.serve.request_head import RequestHead
from tinyedge.serve.request_stats import RequestStats
from tinyedge.serve.requests import (
    MODEL_ID,
    GenerationRequest,
    RequestLimits,
    make_unknown_model_error,
    parse_chat,
    parse_completion,
)
from tinyedge.serve.response_api import ResponseApiFormatter, parse_response
from tinyedge.serve.responses import ResponseFormatter
from tinyedge.serve.served_model import ServedModel
from tinyedge.serve.settings import Settings

if TYPE_CHECKING:  # few servers need it
    from tinyedge.serve.home_commands import HomeCommands

JSON, TEXT, HTML = "application/json", "text/plain", "text/html; charset=utf-8"
TEMPLATE_HEADER = "X-Tinyedge-Template"  # of an answer to messages: how they became a prompt
EVENT_STREAM = "text/event-stream"
MODELS_PREFIX = "/v1/models/"
HEALTH_PATHS = ("/healthz", "/readyz", "/health")
# Paths without a key: they reveal nothing, and the page must be able to ask for the key.
PUBLIC_PATHS = ("/", *HEALTH_PATHS)
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
# nginx's status for a client that disconnected before its answer was complete; in the metrics only.
CLIENT_CLOSED_REQUEST = 499

Route = Callable[[bytes, ResponseWriter], Awaitable[None]]
AnyFormatter = ResponseFormatter | ResponseApiFormatter


class App:
    """Answers requests. It is not ready until `set_model` is called.

    Set `is_shutting_down` to reject all further requests for the model.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.engine = Engine(settings.parallel, settings.queue, settings.max_seconds)
        self._metrics = ServerMetrics(lambda: self.engine.depth, lambda: self.engine.active)
        self._page = load_page()
        self._model: ServedModel | None = None
        self._commands = _load_commands(settings.home) if settings.home else None
        self.is_shutting_down = False
        self._routes: dict[str, tuple[str, Route]] = {
            "/": ("GET", self._show_page),
            "/healthz": ("GET", self._report_alive),
            "/readyz": ("GET", self._report_ready),
            "/health": ("GET", self._report_health),
            "/metrics": ("GET", self._show_metrics),
            "/v1/models": ("GET", self._list_models),
            "/v1/completions": ("POST", functools.partial(self._complete, parse_completion)),
            "/v1/chat/completions": ("POST", functools.partial(self._complete, parse_chat)),
            "/v1/responses": ("POST", functools.partial(self._complete, parse_response)),
        }

    def set_model(self, generator: Generator, content_filter: ContentFilter | None) -> None:
        """Set the model and the filter of its answers; from now on, the server is ready.

        Of a model that was set before, requests that arrived earlier finish with it, also those that wait.

        Raises:
            UsageError: The settings have a home, and the model was not trained on pairs. The model that was
                set before stays.
        """
        model = ServedModel.of(generator, content_filter, self._settings.max_tokens, self._commands)
        precision, engine = str(generator.bundle.manifest["precision"]), generator.session.engine.title
        self._metrics.set_info(__version__, model.digest, precision, engine, self._settings.threads)
        self._model = model

    def record_reload(self, result: str) -> None:
        """Count a reload; `result` is one of RELOAD_RESULTS."""
        self._metrics.reloads.labels(result).inc()

    @property
    def model(self) -> ServedModel:
        """The model.

        Raises:
            ApiError: It is not loaded yet, or the server is shutting down (503).
        """
        if self.is_shutting_down:
            raise make_shutdown_error()
        if self._model is None:
            raise ApiError(503, "the model is being loaded", code="loading", retry_after=1)
        return self._model

    # Called by a connection

    def admit(self, head: RequestHead) -> None:
        """Check host, key, path, method and media type, in this order.

        Raises:
            ApiError: One of them is not allowed.
        """
        host = head.headers.get("host", "")
        # Health checks of proxies use HTTP/1.0 without a Host, which no browser sends.
        is_probe = head.path in HEALTH_PATHS and head.version == "1.0" and "host" not in head.headers
        if not is_probe and not self._is_allowed_host(_strip_port(host), head.address):
            hint = "start the server with --allow-host for each name that clients use"
            raise ApiError(
                403,
                f"the Host {host[:100]!a} is not a name of this server: {hint}",
                code="host_not_allowed",
            )
        if head.path not in PUBLIC_PATHS and not self._has_key(head):
            raise ApiError(401, "pass the API key: Authorization: Bearer KEY", code="invalid_api_key")
        method, _ = self._find_route(head.path)
        methods = ("GET", "HEAD") if method == "GET" else (method,)
        if head.method not in methods:
            allow = ", ".join(methods)
            raise ApiError(405, f"{head.path} accepts {allow}", code="method_not_allowed", allow=allow)
        # Without a CORS preflight, a page of another site can make a browser send other types, but not this.
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if method == "POST" and kind != JSON:
            raise ApiError(415, f"the Content-Type must be {JSON}", code="unsupported_media_type")
        coding = head.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("identity", ""):
            raise ApiError(
                415,
                f"the Content-Encoding {coding[:100]!a} is not supported: send the body without it",
                code="unsupported_content_encoding",
                accept_encoding="identity",
            )

    async def answer(self, head: RequestHead, body: bytes, response: ResponseWriter) -> None:
        """Call the route of a request; an unexpected exception becomes a 500 and a line on stderr."""
        endpoint = MODELS_PREFIX + "{id}" if head.path.startswith(MODELS_PREFIX) else head.path
        _, route = self._find_route(head.path)
        status = CLIENT_CLOSED_REQUEST
        try:
            await route(body, response)
            status = response.status
        except asyncio.CancelledError:
            self._metrics.errors.labels("disconnect").inc()
            raise
        except SlowClientError:
            self._metrics.errors.labels("slow_client").inc()
            raise
        except Exception as failure:
            error = _to_api_error(failure)
            status = error.status
            self._metrics.errors.labels(error.metric_kind).inc()
            raise error from None
        finally:
            self._metrics.requests.labels(endpoint, str(status)).inc()

    def record_refusal(self, error: ApiError) -> None:
        """Count a request that was rejected before it reached a route."""
        self._metrics.errors.labels(error.metric_kind).inc()
        self._metrics.requests.labels("none", str(error.status)).inc()

    def _is_allowed_host(self, host: str, address: str) -> bool:
        return host in LOOPBACK_NAMES or host in self._settings.allowed_hosts or host == _format_host(address)

    def _has_key(self, head: RequestHead) -> bool:
        scheme, _, given = head.headers.get("authorization", "").partition(" ")
        return self._settings.api_key is None or (
            scheme.lower() == "bearer" and self._settings.is_key(given.strip())
        )

    def _find_route(self, path: str) -> tuple[str, Route]:
        found = self._routes.get(path)
        if found is None and path.startswith(MODELS_PREFIX):
            found = ("GET", functools.partial(self._show_model, path.removeprefix(MODELS_PREFIX)))
        if found is None:
            known = ", ".join(self._routes)
            raise ApiError(404, f"unknown path {path[:100]!a}, use one of: {known}", code="unknown_url")
        return found

    # The routes

    async def _show_page(self, body: bytes, response: ResponseWriter) -> None:
        await response.send(200, HTML, self._page.html, [("Content-Security-Policy", self._page.policy)])

    async def _report_alive(self, body: bytes, response: ResponseWriter) -> None:
        await response.send(200, TEXT, b"ok\n")

    async def _report_ready(self, body: bytes, response: ResponseWriter) -> None:
        _ = self.model
        await response.send(200, TEXT, b"ready\n")

    async def _report_health(self, body: bytes, response: ResponseWriter) -> None:
        _ = self.model
        await response.send(200, JSON, b'{"status": "ok"}')

    async def _show_metrics(self, body: bytes, response: ResponseWriter) -> None:
        text = (
            await asyncio.to_thread(self._metrics.render)
            if self._metrics.may_block
            else self._metrics.render()
        )
        await response.send(200, CONTENT_TYPE_LATEST, text)

    async def _list_models(self, body: bytes, response: ResponseWriter) -> None:
        await response.send(
            200, JSON, json.dumps({"object": "list", "data": [self._describe_model()]}).encode()
        )

    async def _show_model(self, name: str, body: bytes, response: ResponseWriter) -> None:
        if name != MODEL_ID:
            raise make_unknown_model_error(name)
        await response.send(200, JSON, json.dumps(self._describe_model()).encode())

    def _describe_model(self) -> dict[str, Any]:
        return {**self.model.describe(), "home": self._commands.source if self._commands else None}

    async def _complete(
        self,
        parse: Callable[[bytes, RequestLimits], GenerationRequest],
        body: bytes,
        response: ResponseWriter,
    ) -> None:
        stats, task, formatter, headers = self._submit(parse, body)
        try:
            if task.is_streaming:
                await self._stream(task, formatter, stats, response, headers)
            else:
                await self._collect(task, formatter, stats, response, headers)
        finally:
            self.engine.cancel(task)
            stats.record(self._metrics)
        if task.has_expired:
            self._metrics.errors.labels("timeout").inc()

    def _submit(
        self, parse: Callable[[bytes, RequestLimits], GenerationRequest], body: bytes
    ) -> tuple[RequestStats, QueuedTask[GenerationStep], AnyFormatter, list[tuple[str, str]]]:
        """Submit a request. Its task alone keeps the model: a slow reader must not keep a replaced one."""
        arrived_at = time.perf_counter()
        model = self.model
        generator = model.generator
        request = parse(body, model.limits)
        prompt_tokens = count_tokens(generator, request)
        prepare_form(generator, request)
        formatter: AnyFormatter = (
            ResponseApiFormatter(request, prompt_tokens)
            if request.kind == "response"
            else ResponseFormatter(request, prompt_tokens, model.digest[:16])
        )
        task = self.engine.submit(
            lambda: generate_steps(generator, request, model.content_filter), streaming=request.stream
        )
        is_chat = request.kind != "completion"
        headers = [(TEMPLATE_HEADER, generator.bundle.template or "none")] if is_chat else []
        return RequestStats(arrived_at, prompt_tokens), task, formatter, headers

    async def _collect(
        self,
        task: QueuedTask[GenerationStep],
        formatter: AnyFormatter,
        stats: RequestStats,
        response: ResponseWriter,
        headers: list[tuple[str, str]],
    ) -> None:
        steps: list[GenerationStep] = []
        while (batch := await task.next_batch()) is not None:
            stats.add_steps(batch)
            steps += batch
        if task.is_cancelled:
            raise make_shutdown_error()
        stats.is_complete = True
        await response.send(200, JSON, formatter.format_response(steps, stats.compute_timings()), headers)

    async def _stream(
        self,
        task: QueuedTask[GenerationStep],
        formatter: AnyFormatter,
        stats: RequestStats,
        response: ResponseWriter,
        headers: list[tuple[str, str]],
    ) -> None:
        try:
            while (batch := await task.next_batch()) is not None:
                stats.add_steps(batch)
                if not response.status:  # not before the first step: until then, an error has its own status
                    response.start(200, EVENT_STREAM, [("X-Accel-Buffering", "no"), *headers])
                await response.write(formatter.format_events(batch))
            if task.is_cancelled:
                raise make_shutdown_error()
        except SlowClientError:
            raise
        except Exception as failure:
            if not response.status:
                raise
            error = _to_api_error(failure)
            self._metrics.errors.labels(error.metric_kind).inc()
            await response.write(formatter.format_error(error))
            return
        if not response.status:  # the time limit was reached before the first token
            response.start(200, EVENT_STREAM, headers)
        stats.is_complete = True
        await response.write(formatter.format_end(stats.compute_timings()))


def _load_commands(home: str) -> "HomeCommands":
    from tinyedge.serve.home_commands import HomeCommands

    return HomeCommands.load(home)


def _to_api_error(failure: Exception) -> ApiError:
    """Convert an exception to an error answer; an unexpected one is also logged to stderr."""
    if isinstance(failure, ApiError):
        return failure
    if os.environ.get("TINYEDGE_DEBUG"):
        traceback.print_exception(failure)
    line = " ".join(f"{type(failure).__name__}: {failure}".split())
    with contextlib.suppress(OSError):  # a full disk; the client must get its answer all the same
        print(f"error: a request failed: {line}", file=sys.stderr, flush=True)
    return ApiError(500, "the server failed; see its log for the reason", code="internal_error")


def _strip_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdecimal() else host.lower()


def _format_host(address: str) -> str:
    """Format an IP address as in a Host header."""
    with contextlib.suppress(ValueError):
        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address):
            return str(found.ipv4_mapped or f"[{found}]")
    return address
