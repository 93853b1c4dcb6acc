"""Reads a server's figures now and then, and shows them. Knows where figures come from and where they go."""

import time
from collections import deque

from tinyedge.core.errors import MonitorError
from tinyedge.top.client import MetricsClient, RequestRefusedError
from tinyedge.top.screen import SPARKS, render
from tinyedge.top.snapshot import Snapshot
from tinyedge.top.terminal import LiveTerminal


def look(server: MetricsClient) -> Snapshot:
    """The figures now. Raises MonitorError."""
    metrics = server.metrics()
    try:
        return Snapshot.of(metrics, time.monotonic())
    except ValueError as failure:
        raise RequestRefusedError(
            f"{server.address}: {failure}", "name the address of tinyedge serve"
        ) from None


def watch(server: MetricsClient, interval_s: float) -> None:
    """Until who watches leaves; a server that is gone is asked again. Raises RefusedError."""
    history: deque[Snapshot] = deque(maxlen=SPARKS)
    with LiveTerminal() as terminal:
        terminal.draw(render(history, server.address))
        while True:
            trouble = ""
            try:
                history.append(look(server))
            except RequestRefusedError:
                raise
            except MonitorError as failure:
                trouble = failure.message
            terminal.draw(render(history, server.address, trouble))
            if terminal.wait(interval_s):
                return
