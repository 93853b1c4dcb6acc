"""`tinyedge serve` as a shell and as systemd see it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.serve.loopback import Server
from tinyedge.cli import serve as command
from tinyedge.core.errors import MissingDependencyError

SOAK = Path(__file__).parents[2] / "bench" / "serve" / "soak.py"
LONG = {"max_tokens": 100_000, "ignore_eos": True, "stream": True}
KEY = "a-key-that-nobody-guesses"


@pytest.fixture(autouse=True)
def _extra() -> None:
    for package in ("h11", "prometheus_client"):
        pytest.importorskip(package, reason="the server needs the extra `serve`")


def refused(*words: object, code: int) -> str:
    """The one error line of a server that does not start."""
    command = [sys.executable, "-m", "tinyedge", "serve", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    error, *hints = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert [hint.partition(" ")[0] for hint in hints] in ([], ["hint:"])
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--port", "65536"), "--port 65536 is outside 0-65535"),
        (("--port", "http"), "--port"),
        (("--queue", "-1"), "--queue -1"),
        (("--parallel", "0"), "--parallel 0"),
        (("--max-seconds", "nan"), "--max-seconds nan"),
        (("--host", "0.0.0.0"), "pass --api-key-file FILE, or --insecure"),
        (("--host", "::"), "pass --api-key-file FILE, or --insecure"),
        (("--host", "no.such.host.invalid"), "--host no.such.host.invalid is no address"),
        (("--host", "a" * 300), "is no address of this machine"),
        (("--api-key-file", "/none"), "--api-key-file /none cannot be read"),
        (("--max-connections", "10000", "--allow-host", "a b"), "--allow-host 'a b'"),
    ],
)
def test_usage_errors(micro_bundle: Path, flags: tuple[str, ...], named: str) -> None:
    assert named in refused(micro_bundle, "--port", "0", *flags, code=2)


def test_a_port_in_use(micro_bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refused(micro_bundle, "--port", port, code=1)
    assert f"--port {port} on 127.0.0.1 is in use" in said


def test_an_address_of_another_machine(micro_bundle: Path) -> None:
    assert "--host 192.0.2.1" in refused(micro_bundle, "--host", "192.0.2.1", "--insecure", code=1)


def test_a_damaged_bundle(bundle_copy: Callable[[], Path], tmp_path: Path) -> None:
    bundle = bundle_copy()
    model = bundle / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    assert "model.onnx has sha256" in refused(bundle, "--port", 0, code=1)
    assert "does not exist" in refused(tmp_path / "none", "--port", 0, code=1)


def test_a_missing_extra(micro_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(MissingDependencyError, match="h11 is not installed"):
            command.serve(micro_bundle)
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_no_other_command_needs_it() -> None:
    """The runtime and the other commands run where h11 and prometheus-client are not."""
    code = (
        "import sys, pkgutil, importlib, tinyedge.cli, tinyedge.runtime, tinyedge.bench.run\n"
        "for module in pkgutil.iter_modules(tinyedge.cli.__path__):\n"
        "    importlib.import_module(f'tinyedge.cli.{module.name}')\n"
        "found = [name for name in sys.modules if name.startswith(('h11', 'prometheus', 'tinyedge.serve'))]\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_addresses(micro_bundle: Path, host: str) -> None:
    with Server(micro_bundle, "--host", host, env={"TINYEDGE_API_KEY": KEY}) as server:
        assert server.get("/readyz").status == 200


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals(micro_bundle: Path, number: signal.Signals, code: int) -> None:
    with Server(micro_bundle, "--max-tokens", 100_000) as server:
        first = server.stop(number)
    assert (first.code, first.stderr) == (code, "")


def test_an_open_stream_is_told_of_the_end(micro_bundle: Path) -> None:
    with Server(micro_bundle, "--max-tokens", 100_000) as server, server.begin(**LONG) as stream:
        stream.recv(4096)
        with server.begin(**LONG) as waits:
            server.wait("tinyedge_queue_depth", 1)
            server.process.terminate()
            assert waits.recv(4096).startswith(b"HTTP/1.1 503 ")
        found = b""
        while part := stream.recv(65536):
            found = (found + part)[-4096:]
        assert b'"code": "shutting_down"' in found
        end = server.stop()
    assert (end.code, end.stderr) == (0, "")


def test_systemd_sees_it_start_live_and_end(micro_bundle: Path, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(address)
        channel.settimeout(60)
        environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "300000"}
        with Server(micro_bundle, "--max-tokens", 100_000, env=environment) as server:
            assert channel.recv(100) == b"READY=1"
            assert [channel.recv(100) for _ in range(3)] == [
                b"WATCHDOG=1"
            ] * 3  # idle: it asks the model itself
            with server.begin(**LONG):
                server.wait("tinyedge_active_requests", 1)
                assert channel.recv(100) == b"WATCHDOG=1"  # busy: tokens are a sign of life
            server.process.terminate()
            while (said := channel.recv(100)) != b"STOPPING=1":
                assert said == b"WATCHDOG=1"


def test_a_soak() -> None:
    """bench/serve/soak.py, small: disconnects, crowds, signals, mixed requests."""
    bundle = Path(__file__).parents[1] / "data" / "micro_bundle_int8"
    small = {"disconnects": 30, "rounds": 3, "signals": 1, "requests": 1500, "slack": 10}
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


def test_code_that_has_run_leaves_before_and_after_loading(
    micro_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinyedge.serve import server
    from tinyedge.serve.settings import Settings

    seen: list[str] = []
    monkeypatch.setattr(server.drop_code, "drop_executed_code", lambda: seen.append("dropped"))
    monkeypatch.setattr(server.Generator, "load", lambda *arguments: seen.append("loaded"))
    server._load(Settings(micro_bundle))
    assert seen == ["dropped", "loaded", "dropped"]
