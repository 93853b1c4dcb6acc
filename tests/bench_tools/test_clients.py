"""The report of the client tests; the clients themselves run with `make test-clients`."""

import json
import re
from typing import Any

import pytest

from bench.clients.__main__ import DOCUMENT, END, REPORT, START, format_table
from bench.clients.environments import (
    CLIENTS,
    PROGRAMS,
    REQUIREMENTS,
    Client,
    prepare_command,
)
from bench.environments import NotInstalledError


@pytest.fixture(scope="module")
def report() -> Any:
    return json.loads(REPORT.read_text(encoding="utf-8"))


def test_the_table_is_that_of_the_report(report: Any) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert f"{START}\n{format_table(report)}\n{END}" in text


def test_every_client_is_in_the_report(report: Any) -> None:
    assert [client["name"] for client in report["clients"]] == [client.name for client in CLIENTS]
    for client in report["clients"]:
        if client["not_run"]:
            assert not client["checks"]
        else:
            assert client["version"]
            assert all(check["ok"] for check in client["checks"]), client["name"]


def test_versions_are_those_of_the_requirements(report: Any) -> None:
    """The report is older than a requirement that was changed without a new run."""
    node = json.loads((REQUIREMENTS / "node.json").read_text())["dependencies"]
    for client, result in zip(CLIENTS, report["clients"], strict=True):
        assert (PROGRAMS / client.program).exists()
        if client.environment is None or result["not_run"]:
            continue
        if client.environment == "node":
            pinned = list(node.values())
        else:
            pinned = re.findall(r"==(\S+)", (REQUIREMENTS / f"{client.environment}.txt").read_text())
        assert result["version"] in pinned


def test_a_missing_program_is_named() -> None:
    client = Client("x", "x.py", executable="no-such-program", debian_package="some-package")
    with pytest.raises(NotInstalledError, match="apt install some-package"):
        prepare_command(client)


def test_a_client_that_was_not_run_is_listed_with_the_reason() -> None:
    result: dict[str, Any] = {"name": "x", "version": None, "checks": [], "not_run": "pip: no such version"}
    table = format_table({"clients": [result], "date": "d", "tinyedge": "v", "python": "p"})
    assert "| x | - |  | not run: pip: no such version |" in table
    check: dict[str, Any] = {"name": "chat", "ok": True, "error": None, "detail": "3.1"}
    failed = {"name": "stream", "ok": False, "error": "a | b"}
    result = {"name": "y", "version": "1", "checks": [check, failed], "not_run": None}
    table = format_table({"clients": [result], "date": "d", "tinyedge": "v", "python": "p"})
    assert "| y | 1 | chat (3.1) | stream: a   b |" in table
