"""Notifications to systemd that the service is ready, alive or stopping (sd_notify(3))."""

import os
import socket
from collections.abc import Mapping


def notify(state: str, environment: Mapping[str, str] = os.environ) -> None:
    """Send a state, such as `READY=1`, to systemd; do nothing if systemd does not expect it."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    name = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)  # a receiver that does not read must not block the server
        try:
            channel.sendto(state.encode(), name)
        except OSError:
            return  # systemd then treats the service as silent, which is correct


def get_watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """Return the watchdog timeout in seconds; None if systemd does not watch this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None
