"""HAProxy as a reverse proxy, with its health check: `option httpchk` sends HTTP/1.0 without a Host."""

import csv
import io
import subprocess
import time
import urllib.request

from checks import URL, require_equal, run_checks
from proxy import find_free_port, run_proxy, try_requests

PORT, STATS_PORT = find_free_port(), find_free_port()
CONFIGURATION = f"""
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:{PORT}
    default_backend boards
backend boards
    option httpchk GET PATH
    server board {URL.removeprefix("http://")} check inter 200ms
frontend stats
    bind 127.0.0.1:{STATS_PORT}
    stats enable
    stats uri /
"""


def read_server_status() -> str:
    """Return the status of the server in HAProxy's table."""
    with urllib.request.urlopen(f"http://127.0.0.1:{STATS_PORT}/;csv", timeout=5) as answer:
        rows = csv.DictReader(io.StringIO(answer.read().decode().removeprefix("# ")))
        return next(row["check_status"] + " " + row["status"] for row in rows if row["svname"] == "board")


def try_health_check() -> None:
    """Let HAProxy check the server a few times, on each path; then send requests through it."""
    for path in ("/healthz", "/readyz", "/health"):
        configuration = CONFIGURATION.replace("PATH", path)
        with run_proxy(configuration, ["haproxy", "-db", "-f", "FILE"], f"http://127.0.0.1:{STATS_PORT}/"):
            time.sleep(1)
            require_equal(read_server_status(), "L7OK UP")


def try_proxy() -> None:
    """Send requests through it; the Host header is the client's, 127.0.0.1."""
    configuration = CONFIGURATION.replace("PATH", "/healthz")
    with run_proxy(configuration, ["haproxy", "-db", "-f", "FILE"], f"http://127.0.0.1:{STATS_PORT}/"):
        try_requests(f"http://127.0.0.1:{PORT}")


VERSION = subprocess.run(["haproxy", "-v"], capture_output=True, text=True, check=True).stdout.split()[2]
run_checks("haproxy", {"health check": try_health_check, "reverse proxy": try_proxy}, VERSION)
