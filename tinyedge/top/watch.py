"""Reads a server's figures now and then, and shows them. Knows where figures come from and where they go."""

import time
from collections import deque

from tinyedge.errors import MonitorError
from tinyedge.top.figures import Figures
from tinyedge.top.screen import SPARKS, render
from tinyedge.top.server import RefusedError, Server
from tinyedge.top.terminal import Terminal


def look(server: Server) -> Figures:
    """The figures now. Raises MonitorError."""
    metrics = server.metrics()
    try:
        return Figures.of(metrics, time.monotonic())
    except ValueError as failure:
        raise RefusedError(f"{server.address}: {failure}", "name the address of tinyedge serve") from None


def watch(server: Server, interval_s: float) -> None:
    """Until who watches leaves; a server that is gone is asked again. Raises RefusedError."""
    history: deque[Figures] = deque(maxlen=SPARKS)
    with Terminal() as terminal:
        terminal.draw(render(history, server.address))
        while True:
            trouble = ""
            try:
                history.append(look(server))
            except RefusedError:
                raise
            except MonitorError as failure:
                trouble = failure.message
            terminal.draw(render(history, server.address, trouble))
            if terminal.wait(interval_s):
                return
