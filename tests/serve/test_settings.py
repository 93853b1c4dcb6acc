"""Ranges of the settings, the source of the API key, and notifications to systemd."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tinyedge.core.errors import UsageError
from tinyedge.serve.settings import KEY_VARIABLE, Settings, find_key
from tinyedge.serve.systemd import get_watchdog_seconds, notify

KEY = "0123456789abcdef"


def write_key_file(folder: Path, content: str | bytes, mode: int = 0o600) -> Path:
    file = folder / "key"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("port", -1), ("port", 65536), ("threads", 0), ("parallel", 0), ("parallel", 17), ("queue", -1)),
        *(("max_tokens", 0), ("max_seconds", 0.0), ("max_seconds", float("nan")), ("max_connections", 0)),
        *(("client_seconds", 0.0), ("client_seconds", float("inf"))),
    ],
)
def test_an_invalid_value_names_its_parameter(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"^{name} {value} is outside"):
        Settings(Path(), **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["", "http://pi.local", "pi.local:80", "pi local", "*"])
def test_an_allowed_host_must_be_a_name(host: str) -> None:
    with pytest.raises(UsageError, match="allowed_hosts"):
        Settings(Path(), allowed_hosts=(host,))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        # A non-empty string is true, and would open the server to other machines.
        ({"insecure": "false"}, "insecure 'false' is not True or False"),
        ({"host": None}, "host None is not a string"),
        ({"home": ""}, "home is empty"),  # a script's unset variable would turn the commands off
        ({"allowed_hosts": "pi.local"}, "allowed_hosts 'pi.local' is not a tuple"),
        ({"allowed_hosts": None}, "allowed_hosts None is not a tuple"),
        ({"allowed_hosts": (1,)}, "allowed_hosts 1 is not a host name"),
    ],
)
def test_a_value_of_another_type_names_its_parameter(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as failure:
        Settings(Path(), **values)
    assert failure.value.message == message
    assert failure.value.parameters == tuple(values)


def test_sources_of_the_key(tmp_path: Path) -> None:
    assert find_key(None, {}) is None
    environment = {KEY_VARIABLE: KEY, "OTHER": "x"}
    assert find_key(None, environment) == KEY
    assert environment == {"OTHER": "x"}  # child processes do not inherit it
    assert find_key(write_key_file(tmp_path, f"{KEY}\n"), {}) == KEY
    assert find_key(write_key_file(tmp_path, KEY, 0o640), {}) == KEY  # the mode of systemd's credentials
    settings = Settings(Path(), api_key=KEY)
    assert settings.is_key(KEY)
    assert not settings.is_key(KEY + "0")
    assert not settings.is_key("")
    assert not settings.is_key("é")
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (KEY, 0o644, "can be read or written by every user"),
        (KEY, 0o602, "can be read or written by every user"),
        ("", 0o600, "is not one key"),
        ("short", 0o600, "is not one key"),
        (f"{KEY}\n{KEY}", 0o600, "is not one key"),
        ("with a space in it", 0o600, "is not one key"),
        ("contraseña-larga-larga", 0o600, "is not one key"),
        (b"\xff" * 20, 0o600, "is not one key"),
        ("x" * 600, 0o600, "is not one key"),
    ],
)
def test_an_invalid_write_key_file(tmp_path: Path, content: str | bytes, mode: int, reason: str) -> None:
    file = write_key_file(tmp_path, content, mode)
    with pytest.raises(UsageError, match=reason) as failure:
        find_key(file, {})
    assert str(file) in failure.value.message
    assert KEY not in failure.value.message + failure.value.hint


def test_other_invalid_keys(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both given"):
        find_key(write_key_file(tmp_path, KEY), {KEY_VARIABLE: KEY})
    with pytest.raises(UsageError, match=KEY_VARIABLE):
        find_key(None, {KEY_VARIABLE: "short"})
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        find_key(tmp_path / "none", {})
    with pytest.raises(UsageError, match="not a regular file"):
        find_key(tmp_path, {})


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_notified(tmp_path: Path, abstract: bool) -> None:
    name = f"\0tinyedge-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(name)
        notify("READY=1", {"NOTIFY_SOCKET": name.replace("\0", "@")})
        assert channel.recv(100) == b"READY=1"


def test_nothing_is_sent_without_a_notify_socket(tmp_path: Path) -> None:
    notify("READY=1", {})
    notify("READY=1", {"NOTIFY_SOCKET": "relative"})
    notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "none")})
    assert list(tmp_path.iterdir()) == []


def test_the_timeout_of_the_watchdog() -> None:
    assert get_watchdog_seconds({}) is None
    assert get_watchdog_seconds({"WATCHDOG_USEC": "30000000"}) == 30
    assert get_watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}) == 30
    assert get_watchdog_seconds({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}) is None
    for invalid in ("", "0", "-1", "1e6", "x"):
        assert get_watchdog_seconds({"WATCHDOG_USEC": invalid}) is None


def test_a_receiver_that_does_not_read_does_not_block_the_server(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address)
        for _ in range(2000):  # far more than the kernel buffers
            notify("WATCHDOG=1", {"NOTIFY_SOCKET": address})
        assert receiver.recv(100) == b"WATCHDOG=1"
