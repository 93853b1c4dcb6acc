"""Reads a server's figures now and then, and shows them. Knows where figures come from and where they go."""

import time
from collections import deque

from tinyedge.core.errors import MonitorError
from tinyedge.top.client import MetricsClient, RequestRefusedError
from tinyedge.top.screen import SPARKLINE_WIDTH, render
from tinyedge.top.snapshot import Snapshot
from tinyedge.top.terminal import LiveTerminal


def read_snapshot(server: MetricsClient) -> Snapshot:
    """The figures now. Raises MonitorError."""
    metrics = server.fetch()
    try:
        return Snapshot.from_page(metrics, time.monotonic())
    except ValueError as failure:
        raise RequestRefusedError(
            f"{server.address}: {failure}", "name the address of tinyedge serve"
        ) from None


def watch(server: MetricsClient, interval_s: float) -> None:
    """Until who watches leaves; a server that is gone is asked again. Raises RefusedError."""
    history: deque[Snapshot] = deque(maxlen=SPARKLINE_WIDTH)
    with LiveTerminal() as terminal:
        terminal.draw(render(history, server.address))
        while True:
            problem = ""
            try:
                history.append(read_snapshot(server))
            except RequestRefusedError:
                raise
            except MonitorError as failure:
                problem = failure.message
            terminal.draw(render(history, server.address, problem))
            if terminal.wait(interval_s):
                return
