"""`tinyedge serve` as a process: errors, addresses, signals, systemd, and a short soak test."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from bench.serve.loopback import Server
from tests.serve.conftest import NotifyChannel
from tinyedge.cli.serve import serve
from tinyedge.core.errors import MissingDependencyError

SOAK = Path(__file__).parents[2] / "bench" / "serve" / "soak.py"
LONG: dict[str, Any] = {"max_tokens": 100_000, "ignore_eos": True, "stream": True}
KEY = "a-key-that-nobody-guesses"

app = typer.Typer()
app.command()(serve)


@pytest.fixture(autouse=True)
def _extra() -> None:
    for package in ("h11", "prometheus_client"):
        pytest.importorskip(package, reason="the server needs the extra `serve`")


def run_failing(*arguments: object, code: int) -> str:
    """Run a server that does not start; check its exit code and return its error output."""
    command = [sys.executable, "-m", "tinyedge", "serve", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    error, *hints = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert [hint.partition(" ")[0] for hint in hints] in ([], ["hint:"])
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--port", "65536"), "--port 65536 is outside 0-65535"),
        (("--port", "http"), "--port"),
        (("--queue", "-1"), "--queue -1"),
        (("--parallel", "0"), "--parallel 0"),
        (("--max-seconds", "nan"), "--max-seconds nan"),
        (("--host", "0.0.0.0"), "pass --api-key-file FILE, or --insecure"),
        (("--host", "::"), "pass --api-key-file FILE, or --insecure"),
        (("--host", "no.such.host.invalid"), "--host no.such.host.invalid is not an address"),
        (("--host", "a" * 300), "is not an address of this machine"),
        (("--api-key-file", "/none"), "--api-key-file /none cannot be read"),
        (("--max-connections", "10000", "--allow-host", "a b"), "--allow-host 'a b'"),
    ],
)
def test_usage_errors(micro_bundle: Path, flags: tuple[str, ...], message: str) -> None:
    assert message in run_failing(micro_bundle, "--port", "0", *flags, code=2)


def test_a_port_in_use(micro_bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = run_failing(micro_bundle, "--port", port, code=1)
    assert f"port {port} on 127.0.0.1 is in use" in error


def test_an_address_of_another_machine(micro_bundle: Path) -> None:
    assert "cannot listen on 192.0.2.1" in run_failing(
        micro_bundle, "--host", "192.0.2.1", "--insecure", code=1
    )


def test_a_damaged_bundle(bundle_copy: Callable[[], Path], tmp_path: Path) -> None:
    bundle = bundle_copy()
    model = bundle / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    assert "model.onnx has sha256" in run_failing(bundle, "--port", 0, code=1)
    assert "does not exist" in run_failing(tmp_path / "none", "--port", 0, code=1)


def test_a_missing_extra(micro_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(MissingDependencyError, match="h11 is not installed"):
            CliRunner().invoke(app, [str(micro_bundle)], catch_exceptions=False)
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_no_other_command_imports_the_server() -> None:
    """The runtime and the other commands work without h11 and prometheus-client."""
    code = (
        "import sys, pkgutil, importlib, tinyedge.cli, tinyedge.runtime, tinyedge.bench.run\n"
        "names = {module.name for module in pkgutil.iter_modules(tinyedge.cli.__path__)}\n"
        "for name in names - {'serve'}:\n"
        "    importlib.import_module(f'tinyedge.cli.{name}')\n"
        "server = ('h11', 'prometheus', 'tinyedge.serve')\n"
        "found = [name for name in sys.modules if name.startswith(server)]\n"
        "assert not found, found\n"
        "importlib.import_module('tinyedge.cli.serve')\n"  # its options come from the settings
        "found = {name for name in sys.modules if name.startswith(server)}\n"
        "assert found == {'tinyedge.serve', 'tinyedge.serve.settings'}, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_addresses_to_listen_on(micro_bundle: Path, host: str) -> None:
    with Server(micro_bundle, "--host", host, env={"TINYEDGE_API_KEY": KEY}) as server:
        assert server.get("/readyz").status == 200


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_exit_codes_of_signals(micro_bundle: Path, number: signal.Signals, code: int) -> None:
    with Server(micro_bundle, "--max-tokens", 100_000) as server:
        server_exit = server.stop(number)
    assert (server_exit.code, server_exit.stderr) == (code, "")


def test_open_requests_get_an_error_at_shutdown(micro_bundle: Path) -> None:
    with Server(micro_bundle, "--max-tokens", 100_000) as server, server.start_completion(**LONG) as stream:
        stream.recv(4096)
        with server.start_completion(**LONG) as waiting:
            server.wait_for_metric("tinyedge_queue_depth", 1)
            server.process.terminate()
            assert waiting.recv(4096).startswith(b"HTTP/1.1 503 ")
        found = b""
        while part := stream.recv(65536):
            found = (found + part)[-4096:]
        assert b'"code": "shutting_down"' in found
        server_exit = server.stop()
    assert (server_exit.code, server_exit.stderr) == (0, "")


def test_systemd_is_notified_of_start_life_and_stop(micro_bundle: Path, systemd: NotifyChannel) -> None:
    environment = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "300000"}
    with Server(micro_bundle, "--max-tokens", 100_000, env=environment) as server:
        assert systemd.receive() == b"READY=1"
        for _ in range(3):  # idle: the server generates a token itself
            assert systemd.receive() == b"WATCHDOG=1"
        with server.start_completion(**LONG):
            server.wait_for_metric("tinyedge_active_requests", 1)
            assert systemd.receive() == b"WATCHDOG=1"  # busy: the tokens of requests count
        server.process.terminate()
        while (state := systemd.receive()) != b"STOPPING=1":
            assert state == b"WATCHDOG=1"


def test_a_short_soak_test() -> None:
    """Run bench/serve/soak.py with small counts: disconnects, overload, signals, mixed requests."""
    bundle = Path(__file__).parents[1] / "data" / "micro_bundle_int8"
    small = {"disconnects": 30, "rounds": 3, "signals": 1, "requests": 3000, "slack": 10}
    flags = [word for name, value in small.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [sys.executable, SOAK, bundle, *flags],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SOAK.parents[2])},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("✓") == 10


def test_executed_code_is_dropped_before_and_after_loading(
    micro_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinyedge.host import drop_code
    from tinyedge.runtime import Generator
    from tinyedge.serve import server
    from tinyedge.serve.settings import Settings

    events: list[str] = []
    monkeypatch.setattr(drop_code, "drop_executed_code", lambda: events.append("dropped"))
    monkeypatch.setattr(Generator, "load", lambda *arguments: events.append("loaded"))
    server._load_model(Settings(micro_bundle))
    assert events == ["dropped", "loaded", "dropped"]
