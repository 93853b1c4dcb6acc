"""Loop of `tinyedge top`: reads a server's metrics repeatedly and shows them."""

import time
from collections import deque

from tinyedge.core.errors import MonitorError
from tinyedge.top.client import MetricsClient, RequestRefusedError
from tinyedge.top.screen import SPARKLINE_WIDTH, render
from tinyedge.top.snapshot import Snapshot
from tinyedge.top.terminal import LiveTerminal


def read_snapshot(server: MetricsClient) -> Snapshot:
    """Read the server's figures once.

    Raises:
        MonitorError: The server does not answer, or answers with something else.
        RequestRefusedError: It will not answer another request either.
    """
    metrics = server.fetch()
    try:
        return Snapshot.from_page(metrics, time.monotonic())
    except ValueError as failure:
        raise RequestRefusedError(
            f"{server.address}: {failure}", "pass the address of tinyedge serve"
        ) from None


def watch(server: MetricsClient, interval_s: float) -> None:
    """Show the server's figures until the user quits. A server that does not answer is asked again.

    Args:
        server: The server.
        interval_s: Seconds between two requests.

    Raises:
        RequestRefusedError: The server refuses the request.
    """
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
