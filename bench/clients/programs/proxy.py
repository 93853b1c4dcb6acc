"""A reverse proxy in front of the server, for the programs that try one: started with a configuration."""

import contextlib
import json
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from checks import PROMPT, TOKENS, complete, require_equal


def find_free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def run_proxy(configuration: str, command: list[str], url: str) -> Iterator[None]:
    """Run a proxy in the foreground until the block ends.

    Args:
        configuration: Content of its file; FOLDER becomes a folder for its other files.
        command: The program and its arguments; FILE becomes the path of the configuration.
        url: Address that answers when it is ready.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "configuration")
        file.write_text(configuration.replace("FOLDER", folder))
        arguments = [argument.replace("FILE", str(file)) for argument in command]
        with Path(folder, "log").open("w") as log:
            process = subprocess.Popen(arguments, stdout=log, stderr=log, cwd=folder)
        try:
            _wait_until_ready(url, process, Path(folder, "log"))
            yield
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        if time.monotonic() > until or process.poll() is not None:
            raise RuntimeError(f"{process.args!r} does not answer: {log.read_text()[-500:]}")
        time.sleep(0.2)


def try_requests(url: str) -> None:
    """Send a completion and a stream through the proxy."""
    fields = {"prompt": PROMPT, "temperature": 0, "max_tokens": TOKENS}
    with _post(url, fields) as answer:
        require_equal(json.load(answer)["choices"][0]["text"], complete())
    with _post(url, {**fields, "stream": True}) as answer:
        events = answer.read().decode().split("\n\n")
    texts = [json.loads(event[6:])["choices"][0]["text"] for event in events[:-2]]
    require_equal(("".join(texts), events[-2]), (complete(), "data: [DONE]"))


def _post(url: str, fields: object) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/completions", json.dumps(fields).encode(), headers)
    return urllib.request.urlopen(request, timeout=60)
