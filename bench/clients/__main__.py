"""Runs real clients against a live `tinyedge serve` and reports what works.

    python -m bench.clients [--bundle BUNDLE] [--only NAME ...]

Makes an environment for each client in .venv-clients. Unless --only is given, writes
bench/reports/clients.json and the table of docs/clients.md. A client that cannot be installed is listed with
the reason. Exits with 1 if a check failed.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.clients.environments import CLIENTS, Client, prepare_command
from bench.clients.evaluation import write_evaluation
from bench.environments import NotInstalledError
from bench.json_bundle import train_json_tokenizer, write_json_bundle
from bench.serve.loopback import Server
from tinyedge import __version__

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "tests" / "data" / "micro_bundle_int8"
REPORT = ROOT / "bench" / "reports" / "clients.json"
DOCUMENT = ROOT / "docs" / "clients.md"
START, END = "<!-- table: python -m bench.clients -->", "<!-- end of the table -->"
LIMIT_S = 900  # for one client, most of which is the import of its packages


@dataclass
class ClientResult:
    """What one client did."""

    name: str
    """Name of the client."""
    version: str | None = None
    """Its version."""
    checks: list[dict[str, Any]] = field(default_factory=list)
    """Name of each check, whether it passed, and the error."""
    not_run: str | None = None
    """Why it was not run; None if it was."""

    @property
    def has_failed(self) -> bool:
        """Whether a check failed."""
        return not all(check["ok"] for check in self.checks)


def main() -> None:
    """Run the clients."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--bundle", type=Path, default=BUNDLE, help="the served bundle; by default the tests' one"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="parts of names of clients; no file is written"
    )
    options = parser.parse_args()
    chosen = [
        client
        for client in CLIENTS
        if not options.only or any(part.lower() in client.name.lower() for part in options.only)
    ]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_evaluation(options.bundle, work)
        # Its tokenizer cannot spell JSON, so answers in a form come from another one.
        json_bundle = write_json_bundle(BUNDLE, work / "json", train_json_tokenizer())
        # The filter would end some answers; its effect on clients is that of an end of text.
        with (
            Server(options.bundle, "--no-filter", "--queue", 64, env=make_board(work)) as server,
            Server(json_bundle, "--no-filter") as forms_server,
        ):
            url, forms_url = (f"http://127.0.0.1:{one.port}" for one in (server, forms_server))
            results = [run_client(client, url, forms_url, work) for client in chosen]
    if not options.only:
        write_report(results)
    sys.exit(any(result.has_failed for result in results))


def make_board(work: Path) -> dict[str, str]:
    """Make a `vcgencmd` as on a Raspberry Pi, so that all metrics are present; return the environment."""
    programs = work / "bin"
    programs.mkdir()
    (programs / "vcgencmd").write_text("#!/bin/sh\necho throttled=0x50005\n")
    (programs / "vcgencmd").chmod(0o755)
    return {"PATH": f"{programs}:{os.environ['PATH']}"}


def run_client(client: Client, url: str, forms_url: str, work: Path) -> ClientResult:
    """Run one client program, with both servers, and print its result."""
    result = ClientResult(client.name)
    try:
        command = [*prepare_command(client), url, str(work), forms_url]
    except NotInstalledError as failure:
        result.not_run = str(failure)
        print(f"clients: {client.name} was not run: {failure}")
        return result
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "NO_COLOR": "1"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
        found = json.loads(done.stdout.strip().rpartition("\n")[2])
    except subprocess.TimeoutExpired:
        result.checks = [{"name": "run", "ok": False, "error": f"took longer than {LIMIT_S} s"}]
    except ValueError:
        result.checks = [{"name": "run", "ok": False, "error": done.stderr.strip()[-300:]}]
    else:
        result.version, result.checks = found["version"], found["checks"]
    for check in result.checks:
        mark = "ok" if check["ok"] else f"FAILED: {check['error']}"
        print(f"clients: {client.name} {result.version}: {check['name']}: {mark}", flush=True)
    return result


def write_report(results: list[ClientResult]) -> None:
    """Write the report, and the table of the document."""
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    report = {
        "schema": "tinyedge.clients/1",
        "date": date,
        "tinyedge": __version__,
        "python": platform.python_version(),
        "clients": [asdict(result) for result in results],
    }
    REPORT.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text = DOCUMENT.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{START}\n{format_table(report)}\n{END}{after}", encoding="utf-8")
    print(f"clients: wrote {REPORT.relative_to(ROOT)} and the table of {DOCUMENT.relative_to(ROOT)}")


def format_table(report: dict[str, Any]) -> str:
    """Format the report as Markdown."""
    lines = ["| client | version | works | does not work |", "|---|---|---|---|"]
    for client in report["clients"]:
        works = "; ".join(_format_check(check) for check in client["checks"] if check["ok"])
        fails = "; ".join(
            f"{check['name']}: {check['error']}" for check in client["checks"] if not check["ok"]
        )
        if client["not_run"]:
            works, fails = "", f"not run: {client['not_run']}"
        lines.append(
            f"| {client['name']} | {client['version'] or '-'} | {works} | {fails.replace('|', ' ')} |"
        )
    lines += ["", f"Run on {report['date']} with tinyedge {report['tinyedge']}, Python {report['python']}."]
    return "\n".join(lines)


def _format_check(check: dict[str, Any]) -> str:
    return f"{check['name']} ({check['detail']})" if check.get("detail") else str(check["name"])


if __name__ == "__main__":
    main()
