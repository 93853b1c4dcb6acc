"""The report of the client tests; the clients themselves run with `make test-clients`."""

import json
import re
from pathlib import Path
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
from bench.clients.evaluation import RESERVED_TOKENS, collect_documents
from bench.environments import NotInstalledError
from tinyedge.bundle.bundle import load_bundle
from tinyedge.text.evaluate import read_lines_by_document
from tinyedge.text.tokenizer import Tokenizer


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


def test_every_document_fits_into_a_window_as_eval_reads_it(micro_bundle: Path, tmp_path: Path) -> None:
    """Otherwise a harness sends a second window, whose text does not start with BOS."""
    bundle = load_bundle(micro_bundle)
    tokenizer, context = Tokenizer(bundle.tokenizer), bundle.config.max_seq_length
    rows = collect_documents(tokenizer, context)
    file = tmp_path / "documents.jsonl"
    file.write_text("".join(json.dumps({"text": "\n".join(lines)}) + "\n" for lines in rows))
    read = list(read_lines_by_document(file))
    assert read == [tuple(lines) for lines in rows]
    sizes = [sum(map(len, tokenizer.encode_lines(lines))) for lines in read]
    assert max(sizes) <= context - RESERVED_TOKENS
