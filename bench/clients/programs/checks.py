"""Checks of one client program: each is a small real use of the client. The result goes to stdout as JSON.

Used by the programs of this folder, which run in the environment of their client. Needs only the standard
library; does not import tinyedge.
"""

import importlib.metadata
import json
import sys
import traceback
import urllib.request
from collections.abc import Callable
from typing import Any

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"
"""Address of the server, without a path."""
BASE = f"{URL}/v1"
"""Address that OpenAI's clients call the base URL."""
FORMS_BASE = f"{sys.argv[3]}/v1" if len(sys.argv) > 3 else BASE
"""The same of the server whose tokenizer can spell JSON."""
MODEL = "tinyedge"
KEY = "none"
PROMPT = "The captain"
TOKENS = 12


def post(path: str, **fields: Any) -> Any:
    """Send a request without any client, for the expected result."""
    request = urllib.request.Request(
        URL + path, json.dumps(fields).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def complete(prompt: str = PROMPT, **fields: Any) -> str:
    """Return the greedy continuation of a prompt."""
    fields = {"temperature": 0, "max_tokens": TOKENS, **fields}
    return str(post("/v1/completions", prompt=prompt, **fields)["choices"][0]["text"])


def chat(*contents: str, **fields: Any) -> str:
    """Return the greedy answer to messages; the roles do not matter to the server."""
    messages = [{"role": "user", "content": content} for content in contents]
    fields = {"temperature": 0, "max_tokens": TOKENS, **fields}
    answer = post("/v1/chat/completions", messages=messages, **fields)
    return str(answer["choices"][0]["message"]["content"])


def require_equal(found: object, expected: object) -> None:
    """Raise AssertionError if a result is not the expected one."""
    if found != expected:
        raise AssertionError(f"{found!r} instead of {expected!r}")


def run_checks(package: str, checks: dict[str, Callable[[], object]], version: str | None = None) -> None:
    """Run checks and print the results.

    Args:
        package: Name of the client.
        checks: What is tried, and a function that raises an exception if it does not work; what it returns,
            if it is a text, is a measured detail.
        version: Version of the client; by default that of the installed package.
    """
    results: list[dict[str, Any]] = []
    for name, check in checks.items():
        try:
            detail = check()
            results.append({"name": name, "ok": True, "error": None})
            if isinstance(detail, str):
                results[-1]["detail"] = detail
        except Exception as failure:
            traceback.print_exc()
            text = " ".join(f"{type(failure).__name__}: {failure}".split())
            results.append({"name": name, "ok": False, "error": text[:300]})
    print(json.dumps({"version": version or importlib.metadata.version(package), "checks": results}))
