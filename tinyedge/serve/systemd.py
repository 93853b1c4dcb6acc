"""systemd's side of a service: telling it that the server is ready, alive, or about to end (sd_notify(3))."""

import os
import socket
from collections.abc import Mapping


def notify(state: str, environment: Mapping[str, str] = os.environ) -> None:
    """Sends one state, such as `READY=1`; does nothing where systemd did not ask for it."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    name = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)  # who does not read must not stop the server
        try:
            channel.sendto(state.encode(), name)
        except OSError:
            return  # systemd then acts as it would on silence, which is right


def watchdog_seconds(environment: Mapping[str, str] = os.environ) -> float | None:
    """How long systemd lets pass without a sign of life; None where it does not watch this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) else None
