"""The server process: binds, loads the model, answers requests, and exits within five seconds of a signal.

SIGHUP loads the bundle again, unless it says that the server's terminal was closed, which ends the server.
"""

import asyncio
import contextlib
import errno
import ipaddress
import os
import resource
import signal
import socket
import sys
import time
from collections import abc
from collections.abc import Callable
from typing import Any

from tinyedge.core.errors import ServeError, UsageError
from tinyedge.host import drop_code
from tinyedge.host.terminal import TerminalWatch
from tinyedge.runtime.content_filter import ContentFilter
from tinyedge.runtime.engine import import_engine
from tinyedge.runtime.generator import Generator
from tinyedge.runtime.pieces import Piece
from tinyedge.serve.app import App
from tinyedge.serve.connection import MAX_REJECTED_CONNECTIONS, Connection
from tinyedge.serve.reload import Reloader
from tinyedge.serve.settings import Settings
from tinyedge.serve.systemd import get_watchdog_seconds, notify

GRACE_S = 2.0  # running requests continue for this long after a signal
SHUTDOWN_S = 4.0  # then they are cancelled, and all workers must have stopped after this time
FLUSH_S = 0.5  # for the last bytes to each client
# Bytes in the kernel for a slow reader; without a limit, the buffer grows to 4 MB.
SEND_BUFFER_BYTES = 64 << 10
OTHER_OPEN_FILES = 64  # file descriptors in addition to the connections


def serve(
    settings: Settings,
    announce: Callable[[str, str | None], None],
    report: Callable[[str], None] = lambda line: None,
) -> int:
    """Serve until a signal arrives.

    Args:
        settings: Settings of the server.
        announce: Called when the server is ready, with the URL and the model's template of conversations.
        report: Receives a line when another bundle was loaded.

    Returns:
        The number of the signal.

    Raises:
        UsageError: An address or a limit is not possible on this machine.
        ServeError: The server cannot listen on its address.
        TinyEdgeError: The bundle or the word list cannot be loaded.
    """
    _raise_file_limit(settings.max_connections)
    import_engine()  # here, because a thread's imports take more memory: malloc gives it a heap of its own
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(sock) for sock in bind_sockets(settings)]
        return asyncio.run(_ServerProcess(settings, sockets, announce, report).run())


class _ServerProcess:
    """One server, from its start to its exit."""

    def __init__(
        self,
        settings: Settings,
        sockets: list[socket.socket],
        announce: Callable[[str, str | None], None],
        report: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._sockets = sockets
        self._announce = announce
        self._report = report
        self._connections: set[Connection] = set()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_report_exception)
        stopped: asyncio.Future[int] = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _set_result, stopped, number)
        app = App(self._settings)
        reloader = Reloader(app, lambda: _load_model(self._settings), self._report)
        terminal = TerminalWatch()

        def hang_up() -> None:
            if terminal.has_lost_it():
                _set_result(stopped, signal.SIGHUP)
            else:
                reloader.request()

        loop.add_signal_handler(signal.SIGHUP, hang_up)
        servers = [
            await loop.create_server(
                lambda: Connection(app, self._settings, self._connections),
                sock=sock,
                backlog=self._settings.max_connections,
            )
            for sock in self._sockets
        ]
        try:
            await self._serve_until_stopped(app, reloader, stopped)
        finally:
            notify("STOPPING=1")
            for server in servers:
                server.close()
            await self._shut_down(app)
        return stopped.result()

    async def _serve_until_stopped(
        self, app: App, reloader: Reloader, stopped: "asyncio.Future[int]"
    ) -> None:
        """Load the model, while requests for it get a 503, then wait for a signal."""
        loading = asyncio.ensure_future(asyncio.to_thread(_load_model, self._settings))
        await asyncio.wait((loading, stopped), return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            loading.add_done_callback(lambda done: done.cancelled() or done.exception())
            return
        app.set_model(*loading.result())
        del loading  # it keeps the model
        self._announce(_format_url(self._sockets[0]), app.model.generator.bundle.template)
        notify("READY=1")
        tasks = [asyncio.ensure_future(work) for work in (_feed_watchdog(app), reloader.run())]
        await asyncio.wait((stopped,))
        for task in tasks:
            task.cancel()

    async def _shut_down(self, app: App) -> None:
        app.is_shutting_down = True
        for connection in list(self._connections):
            connection.close_if_idle()
        all_ended = await app.engine.close(GRACE_S, SHUTDOWN_S)
        until = time.monotonic() + FLUSH_S
        while self._connections and time.monotonic() < until:
            for connection in list(self._connections):
                connection.close_if_idle()
            await asyncio.sleep(0.02)
        for connection in list(self._connections):
            connection.abort()
        if not all_ended:  # a worker hangs in native code: there is no other way to end the process
            sys.stderr.flush()
            os._exit(1)


def _load_model(settings: Settings) -> tuple[Generator, ContentFilter | None]:
    content_filter = ContentFilter.load(settings.filter_file) if settings.filtered else None
    with drop_code.drop_before_and_after():
        return Generator.load(settings.bundle, settings.threads), content_filter


async def _feed_watchdog(app: App) -> None:
    """Send signs of life to systemd, as long as the model has computed a token since the previous one."""
    limit = get_watchdog_seconds()
    while limit is not None:
        before = app.engine.progress
        if app.engine.active < app.engine.workers:  # otherwise, requests keep the model busy
            app.engine.submit(lambda: _generate_one_token(app.model.generator), urgent=True)
        await asyncio.sleep(limit / 3)
        if app.engine.progress > before:
            notify("WATCHDOG=1")


def _generate_one_token(generator: Generator) -> abc.Generator[Piece, None, None]:
    yield from generator.stream("", max_tokens=1)


def _set_result(stopped: "asyncio.Future[int]", number: int) -> None:
    if not stopped.done():
        stopped.set_result(number)


def _report_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Print an unhandled exception as one line; asyncio's default handler would print a traceback."""
    failure = context.get("exception")
    reason = f"{type(failure).__name__}: {failure}" if failure else ""
    with contextlib.suppress(OSError):  # a full disk
        print("error:", *f"{context.get('message', '')}: {reason}".split(), file=sys.stderr, flush=True)


def bind_sockets(settings: Settings) -> list[socket.socket]:
    """Bind the sockets of the server, one for each address of its host name.

    Raises:
        UsageError: The host name is unknown, or it can be reached from other machines without an API key.
        ServeError: No address can be bound, or the port is in use.
    """
    host, port = settings.host, settings.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise UsageError(
            f"host {host} is not an address of this machine",
            "pass 127.0.0.1, or an address that `hostname -I` lists",
            ("host",),
        ) from None
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    others = [str(address[0]) for _, address in addresses if not _is_loopback(str(address[0]))]
    if others and settings.api_key is None and not settings.insecure:
        raise UsageError(
            f"host {host} can be reached from other machines, but there is no API key",
            "pass api_key_file FILE, or insecure to accept requests from everyone there",
            ("host", "api_key_file", "insecure"),
        )
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, address in addresses:
        try:
            sockets.append(_bind_socket(family, address))
        except OSError as caught:
            failure = caught
            if caught.errno == errno.EADDRINUSE:
                break
    if failure is not None and (not sockets or failure.errno == errno.EADDRINUSE):
        for sock in sockets:
            sock.close()
        raise _make_listen_error(host, port, failure)
    return sockets


def _bind_socket(family: int, address: Any) -> socket.socket:
    # With the protocol named, asyncio knows that it is TCP and turns off Nagle's algorithm, which delays each
    # token by 40 ms.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # connections inherit it
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _make_listen_error(host: str, port: int, failure: OSError) -> ServeError:
    match failure.errno:
        case errno.EADDRINUSE:
            hint = "use another port; 0 selects a free one"
            return ServeError(f"port {port} on {host} is in use", hint)
        case errno.EACCES:
            return ServeError(f"port {port} requires root privileges", "use a port above 1023")
        case _:
            return ServeError(
                f"cannot listen on {host}, port {port}: {failure.strerror}", "check the address"
            )


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _format_url(sock: socket.socket) -> str:
    address, port = sock.getsockname()[:2]
    return f"http://[{address}]:{port}" if sock.family == socket.AF_INET6 else f"http://{address}:{port}"


def _raise_file_limit(count: int) -> None:
    """Raise the limit of open files if it is too low; UsageError if that is not allowed."""
    needed = count + MAX_REJECTED_CONNECTIONS + OTHER_OPEN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UsageError(
            f"max_connections {count} requires {needed} open files, but the limit is {hard}",
            "allow fewer connections, or raise the limit: ulimit -Hn",
            ("max_connections",),
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
