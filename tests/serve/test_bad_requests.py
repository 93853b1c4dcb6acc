"""Over 300 invalid requests: each gets a 4xx with OpenAI's error object, and the next valid one succeeds."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from bench.serve.loopback import JSON, HttpAnswer, Server, completion_request

VALID: dict[str, Any] = {"prompt": "The captain", "max_tokens": 2, "seed": 1}
CHAT = {"messages": [{"role": "user", "content": "The captain"}], "max_tokens": 2}
COMPLETIONS, CHATS = "/v1/completions", "/v1/chat/completions"
HUGE = 10**400

# Values of each invalid kind; None would be the same as an absent field.
INVALID: dict[str, list[Any]] = {
    "max_tokens": [0, -1, 1.5, "5", True, [], {}, 4001, 1e3, HUGE],
    "temperature": [-0.1, 2.1, "hot", True, [], {}, HUGE],
    "top_p": [-0.1, 1.1, "1", False, [0.5]],
    "min_p": [-1, 2, "0"],
    "top_k": [-2, 1.0, "40", True, HUGE],
    "repetition_penalty": [0, -1, 101, "1"],
    "presence_penalty": [-2.1, 2.1, "0", True],
    "frequency_penalty": [-2.1, 2.1, "0", {}],
    "n": [0, -1, 17, 1.0, "1", True],
    "stop": [1, True, {}, [1], [["a"]], "", [""], ["a"] * 65, "x" * 300, [None]],
    "min_tokens": [-1, 3, 1.5, "1", True],
    "seed": [-2, 1.5, "1", True, 1 << 63, HUGE],
    "logit_bias": [
        [],
        "1",
        5,
        {"x": 1},
        {"-1": 1},
        {"1100": 1},
        {"1": 101},
        {"1": "a"},
        {"1.0": 1},
    ],
    "stream": [1, "true", [], 0],
    "stream_options": [{"include_usage": True}, {"continuous_usage_stats": 1}, True, []],
    "user": [1, {}, []],
    "model": ["gpt-4", 1, [], ""],
    "ignore_eos": [1, "no"],
    "store": [True, 1],
    "metadata": [{"a": "b"}, 1],
    "service_tier": ["flex", 1],
    "unheard_of": [1, "x", {}],
}
INVALID_COMPLETION: dict[str, list[Any]] = {
    "prompt": [
        1,
        True,
        {},
        [],
        [1000],
        [-1],
        [1.0],
        [True],
        [[1, 2], [1000]],
        [[1], []],
        [[]],
        [[[1]]],
        [1, "a"],
        [1, [2]],
        [[1], 2],
        [20] * 33,
        [[20]] * 17,
        ["a", 1],
        ["a", [1]],
        [None],
        "\ud800",
        "x" * 10_000,
        "a " * 500,
        ["a"] * 17,
    ],
    "logprobs": [-1, 21, True, 1.5, "1"],
    "echo": [1, "true", []],
    "suffix": ["x", 1, []],
    "best_of": [2, 0, "1", True],
    "messages": [[{"role": "user", "content": "x"}]],
}
INVALID_ROLES: list[Any] = ["robot", "", 1, None, [], "User"]
INVALID_CONTENTS: list[Any] = [1, [1], [{"type": "text"}], {}, "\udfff"]
INVALID_CHAT: dict[str, list[Any]] = {
    "messages": [
        *(1, "x", {}, [], [1], [{}], [{"role": "user"}], [{"content": "x"}], [[]]),
        *([{"role": role, "content": "x"}] for role in INVALID_ROLES),
        *([{"role": "user", "content": content}] for content in INVALID_CONTENTS),
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://localhost/"}}]}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": [{"type": "text", "text": None}]}],
        [{"role": "assistant", "content": "x", "tool_calls": [{}]}],
        [{"role": "assistant", "content": None, "tool_calls": {}}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}],
        [{"role": "assistant", "content": "x", "function_call": {"name": "f"}}],
        [{"role": "user", "content": "x"}] * 257,
        [{"role": "user", "content": "a " * 500}],
    ],
    "logprobs": [1, 5, "true"],
    "top_logprobs": [1, -1, 21, True, "1"],
    "max_completion_tokens": [0, -1, "5", 1, 1.5, True],
    "parallel_tool_calls": ["yes", 1],
    "tools": [
        *([{"type": "function"}], {}, [1], [{"type": "web_search"}], [{"type": "function", "function": {}}]),
        [{"type": "function", "function": {"name": "a b"}}],
        [{"type": "function", "function": {"name": "a", "parameters": {"type": "string"}}}],
        [{"type": "function", "function": {"name": "a", "strict": "yes"}}],
        [{"type": "function", "function": {"name": "a"}}] * 2,
    ],
    "tool_choice": ["required", {}, 1, "any"],
    "response_format": [
        *("text", {"type": "yaml"}, {}, {"type": "json_schema"}, {"type": "json_object", "schema": {}}),
        {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}},
        {"type": "json_schema", "json_schema": {"schema": {}}},
        {"type": "json_object"},  # this tokenizer cannot spell it
    ],
    "echo": [True, False],
    "prompt": ["x"],
}
CASES = [
    (path, {**valid, name: value})
    for path, valid, tables in (
        (COMPLETIONS, VALID, INVALID | INVALID_COMPLETION),
        (CHATS, CHAT, INVALID | INVALID_CHAT),
    )
    for name, values in tables.items()
    for value in values
    # both endpoints share the code for the others
    if not (
        path == CHATS and name in INVALID and name not in ("max_tokens", "n", "stop", "stream", "unheard_of")
    )
]

BODIES: list[bytes] = [
    *(
        b"",
        b" ",
        b"null",
        b"[]",
        b"1",
        b'"text"',
        b"true",
        b"{",
        b"}",
        b"{]",
        b"nonsense",
        b"{'prompt': 'x'}",
    ),
    *(
        b'{"prompt": "x",}',
        b'{"prompt": "x"} trailing',
        b'{"prompt": "x" "n": 1}',
        b"{}",
        b'{"prompt": null}',
    ),
    *(b'{"prompt": "a", "prompt": "b"}', b'{"prompt": "x", "temperature": NaN}', b'{"prompt": "\x01"}'),
    *(b'{"prompt": "x", "temperature": Infinity}', b'{"prompt": "x", "temperature": 1e999}'),
    *(b'{"prompt": "x", "seed": ' + b"9" * 5000 + b"}", b'{"prompt": "\xff"}', b"\xef\xbb\xbf{}", b"\x00"),
    *(
        json.dumps(VALID).encode("utf-16"),
        json.dumps(VALID).encode("utf-32"),
        b"[" * 20_000,
        b'{"a":' * 20_000,
    ),
    *(b'{"prompt": "x", "' + b"k" * 5000 + b'": 1}', b'{"prompt": "\\ud800"}', b"prompt=x", b"--boundary"),
]

HOST = b"Host: localhost\r\n"
POST = b"POST /v1/completions HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
# Bytes that are not a request, or one for something that does not exist.
RAW: list[bytes] = [
    *(
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
    ),
    *(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 60 + b"\r\n\r\n",),
    *(
        b"get / http/1.1\r\n" + HOST + b"\r\n",
        b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"\x00\x01\x02\r\n\r\n",
    ),
    b"GET /\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Bad Header: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b": empty\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Folded: a\r\n\tb\x00\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Nul: a\x00b\r\n\r\n",
    b"GET ftp://localhost/ HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET http://a@localhost/ HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET http://evil.example/healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET http:///healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n",
    b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Long: " + b"a" * 20_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"H%d: 1\r\n" % i for i in range(3000)) + b"\r\n",
    POST + b"Content-Length: -1\r\n\r\n",
    POST + b"Content-Length: +5\r\n\r\n{}",
    POST + b"Content-Length: five\r\n\r\n",
    POST + b"Content-Length: 1, 2\r\n\r\n{}",
    POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    POST + b"Content-Length: " + b"9" * 6000 + b"\r\n\r\n",
    POST + b"Content-Length: 1000000000\r\n\r\n",
    POST + b"Content-Length: 262145\r\n\r\n" + b" " * 262145,
    POST + b"Transfer-Encoding: gzip\r\n\r\n",
    POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n" + (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 9,
    POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 100 + b"\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"x" * 20_000 + b"\r\n{}\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"x" * 200 + b"\r\n \r\n") * 100,
    POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nLong: " + b"a" * 20_000 + b"\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: 1\r\n" * 101 + b"\r\n",
    POST + b"Content-Length: 0\r\n\r\n",
    POST.replace(b"application/json", b"text/plain") + b"Content-Length: 2\r\n\r\n{}",
    POST.replace(b"Content-Type: application/json\r\n", b"") + b"Content-Length: 2\r\n\r\n{}",
    POST.replace(b"HTTP/1.1", b"HTTP/1.0").replace(HOST, b"") + b"Content-Length: 2\r\n\r\n{}",
]
DEEP = [b"[" * depth + b"]" * depth for depth in (33, 500, 960, 990)]
DEEP_BODIES = [
    b'{"prompt": "x", "%s": %s}' % (name, value)
    for value in DEEP
    for name in (b"prompt", b"stop", b"tools", b"logit_bias", b"metadata", b"unheard_of", b"max_tokens")
]
HOSTS = (
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example:80",
    "[::2]",
    "",
    "a@localhost",
)
METHODS_AND_PATHS = [
    *(
        (method, path)
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
        for path in ("/", "/metrics")
    ),
    *((method, path) for method in ("GET", "PUT", "HEAD", "OPTIONS") for path in (COMPLETIONS, CHATS)),
    *(
        ("GET", path)
        for path in ("/v1", "/v1/", "/v1/embeddings", "/v1/models/", "/v1/models/gpt-4", "//", "/..")
    ),
    *(
        ("GET", path)
        for path in ("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/%00", "/%ff", "/page.html")
    ),
    *(("POST", path) for path in ("/v1/completions/", "/completions", "/v1/edits")),
]


def test_the_tables_have_over_300_requests() -> None:
    assert len(CASES) + len(BODIES) + len(RAW) + len(HOSTS) + len(METHODS_AND_PATHS) > 300


def require_error(server: Server, answer: HttpAnswer | None, has_body: bool = True) -> dict[str, Any]:
    """Check that the answer is an error and that the server still works; return the error object."""
    assert answer is not None
    assert 400 <= answer.status < 500, answer
    assert server.complete(**{**VALID, "prompt": "The captain"}).status == 200
    if not has_body:
        return {}
    assert answer.headers["content-type"] == "application/json"
    value = answer.json()
    assert value.keys() == {"error"}
    error: dict[str, Any] = value["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] in ("invalid_request_error", "rate_limit_error")
    assert error["message"].isascii()
    assert 5 < len(error["message"]) < 400
    return error


@pytest.mark.parametrize(("path", "fields"), CASES, ids=range(len(CASES)))
def test_invalid_fields(server: Server, path: str, fields: dict[str, Any]) -> None:
    error = require_error(server, server.post(path, fields))
    assert error["param"] is not None
    assert error["param"].partition("[")[0].partition(".")[0] in fields


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_invalid_bodies(server: Server, body: bytes) -> None:
    require_error(server, server.request("POST", COMPLETIONS, body, JSON))


@pytest.mark.parametrize("depth", range(len(DEEP)))
def test_deeply_nested_values(server: Server, depth: int) -> None:
    """Values that the parser accepts, but that Python cannot compare or format."""
    per_depth = len(DEEP_BODIES) // len(DEEP)
    for body in DEEP_BODIES[depth * per_depth : (depth + 1) * per_depth]:
        assert (
            require_error(server, server.request("POST", COMPLETIONS, body, JSON))["code"] == "invalid_json"
        )


@pytest.mark.parametrize(
    "start", [b"GET / HTTP/9.9", b"PRI * HTTP/2.0", b"GET / HTTP/2.0", b"GET / HTTP/0.9"]
)
def test_other_versions_of_http(server: Server, start: bytes) -> None:
    answer = server.send_raw(start + b"\r\n" + HOST + b"\r\n")
    assert answer is not None
    assert answer.status == 505
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, identity"])
def test_encoded_bodies(server: Server, coding: str) -> None:
    headers = {**JSON, "Content-Encoding": coding}
    answer = server.request("POST", COMPLETIONS, gzip.compress(json.dumps(VALID).encode()), headers)
    assert require_error(server, answer)["code"] == "unsupported_content_encoding"
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "identity")
    headers["Content-Encoding"] = "identity"
    assert server.request("POST", COMPLETIONS, json.dumps(VALID).encode(), headers).status == 200


@pytest.mark.parametrize("data", RAW, ids=range(len(RAW)))
def test_invalid_bytes(server: Server, data: bytes) -> None:
    require_error(server, server.send_raw(data))


@pytest.mark.parametrize("host", HOSTS)
def test_unknown_hosts(server: Server, host: str) -> None:
    data = b"GET /healthz HTTP/1.1\r\nHost: " + host.encode() + b"\r\n\r\n"
    assert require_error(server, server.send_raw(data))["code"] in ("host_not_allowed", "invalid_http")


@pytest.mark.parametrize(("method", "path"), METHODS_AND_PATHS)
def test_unknown_methods_and_paths(server: Server, method: str, path: str) -> None:
    answer = server.send_raw(f"{method} {path} HTTP/1.1\r\n".encode() + HOST + b"\r\n")
    require_error(server, answer, has_body=method != "HEAD")
    assert answer is not None
    if answer.status == 405:
        assert answer.headers["allow"] in ("GET, HEAD", "POST")


def test_an_incomplete_request_ends_with_its_connection(server: Server) -> None:
    for data in (b"", b"GET", POST, POST + b"Content-Length: 10\r\n\r\n{", completion_request(VALID)[:-1]):
        with server.connect() as connection:
            connection.sendall(data)
    server.wait_for_metric("tinyedge_active_requests", 0)
    assert server.complete(max_tokens=1).status == 200


def test_no_answer_reveals_the_server_or_its_folder(server: Server) -> None:
    answers = [server.get("/nothing"), server.post(COMPLETIONS, {}), server.get("/healthz")]
    for answer in answers:
        assert "server" not in answer.headers
        assert str(Path(__file__).parents[2]).encode() not in answer.body
