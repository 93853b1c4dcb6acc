"""The server's life: it binds, loads the model, answers, and ends within five seconds of being asked to."""

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
from tinyedge.runtime.content_filter import ContentFilter
from tinyedge.runtime.generator import Generator, Piece
from tinyedge.serve.app import App
from tinyedge.serve.connection import TOLD, Connection
from tinyedge.serve.settings import Settings
from tinyedge.serve.systemd import notify, watchdog_seconds

GRACE_S = 2.0  # what is being generated may end by itself for so long
END_S = 4.0  # then it is cut; this is when the last worker must have noticed
FLUSH_S = 0.5  # for the last words to each client
SEND_BUFFER_BYTES = (
    64 << 10
)  # the kernel's part of what waits for a slow reader; it may grow to 4 MB by itself
OTHER_FILES = 64  # descriptors beside the connections


def serve(settings: Settings, announce: Callable[[str], None]) -> int:
    """Serves until a signal comes, and returns its number. `announce` is told the address, when it is ready.

    Raises UsageError or ServeError where it can't listen, and whatever loading the bundle raises.
    """
    _allow_connections(settings.max_connections)
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(one) for one in listen(settings)]
        return asyncio.run(_Life(settings, sockets, announce).run())


class _Life:
    """One server from its beginning to its end."""

    def __init__(
        self, settings: Settings, sockets: list[socket.socket], announce: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._sockets = sockets
        self._announce = announce
        self._connections: set[Connection] = set()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_tell)
        stopped: asyncio.Future[int] = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _stop, stopped, number)
        app = App(self._settings)
        servers = [
            await loop.create_server(
                lambda: Connection(app, self._settings, self._connections),
                sock=one,
                backlog=self._settings.max_connections,
            )
            for one in self._sockets
        ]
        try:
            await self._answer(app, stopped)
        finally:
            notify("STOPPING=1")
            for server in servers:
                server.close()
            await self._end(app)
        return stopped.result()

    async def _answer(self, app: App, stopped: "asyncio.Future[int]") -> None:
        """Loads the model while the first answers say that it is not ready; then waits for the end."""
        loading = asyncio.ensure_future(asyncio.to_thread(_load, self._settings))
        await asyncio.wait((loading, stopped), return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            loading.add_done_callback(lambda done: done.cancelled() or done.exception())
            return
        app.load(*loading.result())
        self._announce(_url(self._sockets[0]))
        notify("READY=1")
        watching = asyncio.ensure_future(_keep_watch(app))
        await asyncio.wait((stopped,))
        watching.cancel()

    async def _end(self, app: App) -> None:
        app.ending = True
        for connection in list(self._connections):
            connection.end_when_idle()
        all_ended = await app.engine.close(GRACE_S, END_S)
        until = time.monotonic() + FLUSH_S
        while self._connections and time.monotonic() < until:
            for connection in list(self._connections):
                connection.end_when_idle()
            await asyncio.sleep(0.02)
        for connection in list(self._connections):
            connection.abort()
        if not all_ended:  # a worker hangs in native code: nothing else would end the process now
            sys.stderr.flush()
            os._exit(1)


def _load(settings: Settings) -> tuple[Generator, ContentFilter | None]:
    words = ContentFilter.load(settings.filter_file) if settings.filtered else None
    with drop_code.drop_before_and_after():
        return Generator.load(settings.bundle, settings.threads), words


async def _keep_watch(app: App) -> None:
    """Tells systemd that the server lives, as often as the model has computed something meanwhile."""
    limit = watchdog_seconds()
    while limit is not None:
        before = app.engine.progress
        if app.engine.active < app.engine.workers:  # else there is enough to do
            app.engine.submit(lambda: _probe(app.generator), urgent=True)
        await asyncio.sleep(limit / 3)
        if app.engine.progress > before:
            notify("WATCHDOG=1")


def _probe(generator: Generator) -> abc.Generator[Piece, None, None]:
    yield from generator.stream("", max_tokens=1)


def _stop(stopped: "asyncio.Future[int]", number: int) -> None:
    if not stopped.done():
        stopped.set_result(number)


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What nobody caught, as a line; asyncio's own handler would print a traceback."""
    failure = context.get("exception")
    reason = f"{type(failure).__name__}: {failure}" if failure else ""
    print("error:", *f"{context.get('message', '')}: {reason}".split(), file=sys.stderr, flush=True)


def listen(settings: Settings) -> list[socket.socket]:
    """Sockets that listen at the address, two where a name has two. Raises UsageError or ServeError."""
    host, port = settings.host, settings.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise UsageError(
            f"--host {host} is no address of this machine", "pass 127.0.0.1, or one of `hostname -I`"
        ) from None
    addresses = list(dict.fromkeys((family, place) for family, _, _, _, place in found))
    others = [str(place[0]) for _, place in addresses if not _is_loopback(str(place[0]))]
    if others and settings.api_key is None and not settings.insecure:
        raise UsageError(
            f"--host {host} can be reached from other machines, and there is no API key",
            "pass --api-key-file FILE, or --insecure if everyone there may ask",
        )
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, place in addresses:
        try:
            sockets.append(_bind(family, place))
        except OSError as caught:
            failure = caught
            if caught.errno == errno.EADDRINUSE:
                break
    if not sockets or (failure and failure.errno == errno.EADDRINUSE):
        for one in sockets:
            one.close()
        assert failure is not None
        raise _cannot_listen(host, port, failure)
    return sockets


def _bind(family: int, place: Any) -> socket.socket:
    # Named, or asyncio does not know that it is TCP, leaves Nagle's algorithm on, and each token waits 40 ms.
    one = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # connections inherit it
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(place)
        one.setblocking(False)
    except OSError:
        one.close()
        raise
    return one


def _cannot_listen(host: str, port: int, failure: OSError) -> ServeError:
    match failure.errno:
        case errno.EADDRINUSE:
            hint = "pass another --port; 0 takes a free one"
            return ServeError(f"--port {port} on {host} is in use", hint)
        case errno.EACCES:
            return ServeError(f"--port {port} needs root", "pass a --port above 1023")
        case _:
            return ServeError(f"--host {host} --port {port}: {failure.strerror}", "check the address")


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _url(one: socket.socket) -> str:
    address, port = one.getsockname()[:2]
    return f"http://[{address}]:{port}" if one.family == socket.AF_INET6 else f"http://{address}:{port}"


def _allow_connections(count: int) -> None:
    """Raises the limit of open files where it is too low. Raises UsageError where it may not be."""
    needed = count + TOLD + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise UsageError(
            f"--max-connections {count} needs {needed} open files, the limit is {hard}",
            "pass less, or raise it: ulimit -Hn",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
