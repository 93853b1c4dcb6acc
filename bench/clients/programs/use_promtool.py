"""Prometheus' promtool: checks the format and the names of the metrics, those of a Raspberry Pi included."""

import subprocess
import urllib.request

from checks import URL, complete, run_checks


def check_metrics() -> None:
    """Check /metrics after an answer. promtool exits with 3 for a name that breaks the conventions."""
    complete()
    with urllib.request.urlopen(f"{URL}/metrics", timeout=60) as answer:
        text = answer.read()
    for name in (b"tinyedge_throttling_flags", b"tinyedge_ttft_seconds_bucket", b"tinyedge_errors_total"):
        if name not in text:
            raise AssertionError(f"no {name.decode()}")
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    if done.returncode or done.stdout or done.stderr:
        raise AssertionError(f"exit {done.returncode}: {(done.stdout + done.stderr).decode()}")


def read_version() -> str:
    """Return the version of promtool."""
    done = subprocess.run(["promtool", "--version"], capture_output=True, text=True, check=True)
    return (done.stdout + done.stderr).split()[2].rstrip(",")


run_checks("promtool", {"check metrics": check_metrics}, read_version())
