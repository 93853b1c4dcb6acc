"""Limits and deadlines: how long a client can make the server wait, and how much memory or work it costs."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from bench.serve.loopback import Server, completion_request, wait_until

PROMPT = "The captain"
LONG = {"max_tokens": 4000, "ignore_eos": True, "stream": True}
HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
KEY = "a-key-that-nobody-guesses"


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    found = b""
    try:
        while part := connection.recv(65536):
            found += part
    except ConnectionError:
        pass
    return found


class TestSlowClients:
    """Each slow client is disconnected; meanwhile the server answers others."""

    def test_that_send_nothing(self, server: Server) -> None:
        with server.connect() as connection:
            assert read_all(connection) == b""

    def test_that_send_headers_slowly(self, server: Server) -> None:
        with server.connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            found = self.send_slowly(connection, b"X-Slow: 1\r\n")
            assert found.startswith(b"HTTP/1.1 408 ")
            assert json.loads(found.partition(b"\r\n\r\n")[2])["error"]["code"] == "timeout"

    def test_that_send_their_body_slowly(self, server: Server) -> None:
        with server.connect() as connection:
            connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
            assert self.send_slowly(connection, b" ").startswith(b"HTTP/1.1 408 ")

    def test_that_send_chunks_slowly(self, server: Server) -> None:
        with server.connect() as connection:
            connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            assert self.send_slowly(connection, b"1\r\n \r\n").startswith(b"HTTP/1.1 408 ")

    def test_that_keep_an_idle_connection(self, server: Server) -> None:
        with server.connect() as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            found = read_all(connection)  # the answer, then the end of the connection
            assert found.startswith(b"HTTP/1.1 200 OK\r\n")
            assert found.endswith(b"ok\n")

    def test_that_do_not_read(self, server: Server) -> None:
        before = server.read_metric('tinyedge_errors_total{kind="slow_client"}')
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(completion_request({"prompt": PROMPT, **LONG}))
            server.wait_for_metric('tinyedge_errors_total{kind="slow_client"}', before + 1)
            server.wait_for_metric("tinyedge_active_requests", 0)

    @staticmethod
    def send_slowly(connection: socket.socket, part: bytes) -> bytes:
        """Send a part repeatedly until there is an answer."""
        connection.settimeout(0.1)
        while True:
            try:
                connection.sendall(part)
                return connection.recv(65536)
            except TimeoutError:
                assert server_answers(connection)


def server_answers(connection: socket.socket) -> bool:
    """Check whether the server of a connection answers another client."""
    with socket.create_connection(connection.getpeername(), timeout=60) as other:
        other.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return other.recv(100).startswith(b"HTTP/1.1 200")


class TestConnections:
    def test_one_connection_serves_many_requests(self, server: Server) -> None:
        request = completion_request({"prompt": PROMPT, "max_tokens": 2})
        with server.connect() as connection:
            for _ in range(3):
                connection.sendall(request)
                assert connection.recv(65536).startswith(b"HTTP/1.1 200")

    def test_requests_can_be_pipelined(self, server: Server) -> None:
        request = completion_request({"prompt": PROMPT, "max_tokens": 2, "seed": 1})
        with server.connect() as connection:
            connection.sendall(request * 3)
            assert read_all(connection).count(b"HTTP/1.1 200 OK") == 3

    def test_pipelined_requests_are_bounded(self, server: Server) -> None:
        with server.connect() as connection:
            connection.sendall(completion_request({"prompt": PROMPT, **LONG}))
            more = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1_000_000
            with pytest.raises(ConnectionError):
                connection.sendall(more)
        server.wait_for_metric("tinyedge_active_requests", 0)

    def test_expect_100_continue(self, server: Server) -> None:
        request = completion_request({"prompt": PROMPT, "max_tokens": 2}, "Expect: 100-continue")
        head, _, body = request.partition(b"\r\n\r\n")
        with server.connect() as connection:
            connection.sendall(head + b"\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
            connection.sendall(body)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")

    def test_a_large_body_is_rejected_before_it_is_sent(self, server: Server) -> None:
        answer = server.send_raw(HEAD + b"Content-Length: 100000000\r\nExpect: 100-continue\r\n\r\n")
        assert answer is not None
        assert answer.status == 413

    def test_a_large_body_that_is_sent_gets_an_answer(self, server: Server) -> None:
        answer = server.request(
            "POST", "/v1/completions", b" " * 900_000, {"Content-Type": "application/json"}
        )
        assert answer.status == 413

    def test_http_1_0_clients(self, server: Server) -> None:
        request = completion_request({"prompt": PROMPT, "max_tokens": 2, "stream": True})
        with server.connect() as connection:
            connection.sendall(request.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
            found = read_all(connection)
        assert found.endswith(b"data: [DONE]\n\n")
        assert b"chunked" not in found

    def test_a_probe_without_a_host(self, server: Server) -> None:
        """As HAProxy's health check sends it by default."""
        for path in (b"/healthz", b"/readyz", b"/health"):
            answer = server.send_raw(b"GET " + path + b" HTTP/1.0\r\n\r\n")
            assert answer is not None
            assert answer.status == 200
            answer = server.send_raw(b"OPTIONS " + path + b" HTTP/1.0\r\n\r\n")
            assert answer is not None
            assert answer.status == 405

    def test_the_url_as_target(self, server: Server) -> None:
        """Proxies send it; its host replaces that of the header (RFC 9112, section 3.2.2)."""
        for target in (b"http://127.0.0.1:8080/healthz", b"HTTP://localhost/healthz?x=1"):
            answer = server.send_raw(b"GET " + target + b" HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            assert answer is not None
            assert (answer.status, answer.body) == (200, b"ok\n")
        answer = server.send_raw(b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer is not None
        assert answer.headers["content-type"].startswith("text/html")

    def test_a_chunked_body_with_extensions_and_trailers(self, server: Server) -> None:
        body = json.dumps({"prompt": PROMPT, "max_tokens": 2}).encode()
        chunks = b"".join(b"1;name=value\r\n%c\r\n" % byte for byte in body)
        data = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nTrailer: 1\r\n\r\n"
        with server.connect() as connection:
            for _ in range(2):
                connection.sendall(data)
                assert connection.recv(65536).startswith(b"HTTP/1.1 200")

    def test_chunks_whose_parts_arrive_separately(self, server: Server) -> None:
        body = json.dumps({"prompt": PROMPT, "max_tokens": 2}).encode() + b" " * 1000
        with server.connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            for byte in body:
                connection.sendall(b"%018x\r\n" % 1)
                connection.sendall(b"%c\r\n" % byte)
            connection.sendall(b"0\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")

    def test_a_head_request(self, server: Server) -> None:
        answer = server.request("HEAD", "/")
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["content-length"]) > 1000

    def test_too_many_connections_get_an_error(self, micro_bundle: Path) -> None:
        with Server(micro_bundle, "--max-connections", 2) as server:
            connections = [server.connect() for _ in range(2)]
            for connection in connections:  # they are accepted for certain once they have an answer
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                connection.recv(100)
            answer = server.get("/healthz")
            assert answer.status == 429
            assert answer.headers["retry-after"] == "1"
            assert answer.json()["error"]["code"] == "connections"
            for connection in connections:
                connection.close()
            wait_until(lambda: server.get("/healthz").status == 200, "free again")


class TestQueue:
    def test_a_full_queue_is_a_429(self, micro_bundle: Path) -> None:
        with Server(micro_bundle, "--queue", 1, "--max-tokens", 100_000) as server:
            fields: dict[str, Any] = {**LONG, "max_tokens": 100_000}
            with server.start_completion(**fields) as first, server.start_completion(**fields) as second:
                server.wait_for_metric("tinyedge_queue_depth", 1)
                answer = server.complete(PROMPT)
                assert answer.status == 429
                assert 1 <= int(answer.headers["retry-after"]) <= 60
                assert answer.json()["error"]["type"] == "rate_limit_error"
                assert server.get("/healthz").status == server.get("/readyz").status == 200
                first.close()
                server.wait_for_metric("tinyedge_queue_depth", 0)
                second.close()
            server.wait_for_metric("tinyedge_active_requests", 0)
            assert server.complete(PROMPT).status == 200

    def test_parallel_requests_do_not_mix(self, micro_bundle: Path) -> None:
        with Server(micro_bundle, "--parallel", 3, "--queue", 20) as server:
            seeds = range(12)
            alone = [server.complete(PROMPT, seed=seed, max_tokens=40).text for seed in seeds]
            found: dict[int, str] = {}

            def send_request(seed: int) -> None:
                found[seed] = server.complete(PROMPT, seed=seed, max_tokens=40).text

            threads = [threading.Thread(target=send_request, args=(seed,)) for seed in seeds]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [found[seed] for seed in seeds] == alone

    def test_the_time_of_a_request_is_limited(self, micro_bundle: Path) -> None:
        """The text generated by then is the answer; a request that is still waiting is rejected."""
        flags = ("--max-seconds", 0.5, "--max-tokens", 100_000)
        with Server(micro_bundle, *flags) as server:
            fields: dict[str, Any] = {"max_tokens": 100_000, "ignore_eos": True, "n": 2}
            answers = []

            def send_request() -> None:
                answers.append(server.complete(PROMPT, **fields))

            threads = [threading.Thread(target=send_request) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert {answer.status for answer in answers} <= {200, 429}
            written = next(answer.json() for answer in answers if answer.status == 200)
            assert [choice["finish_reason"] for choice in written["choices"]] == ["length", "length"]
            assert len(written["choices"][0]["text"]) > 100
            assert written["choices"][1]["text"] == ""
            parts = server.complete(PROMPT, stream=True, **fields).body.decode().split("\n\n")
            assert parts[-2] == "data: [DONE]"
            last = [json.loads(part[6:])["choices"][0] for part in parts[-4:-2]]
            assert [choice["finish_reason"] for choice in last] == ["length", "length"]
            assert server.read_metric('tinyedge_errors_total{kind="timeout"}') >= 2


class TestAccess:
    def test_an_api_key(self, micro_bundle: Path, tmp_path: Path) -> None:
        file = tmp_path / "key"
        file.write_text(KEY + "\n")
        file.chmod(0o600)
        with Server(micro_bundle, "--api-key-file", file) as server:
            for path in ("/", "/healthz", "/readyz"):
                assert server.get(path).status == 200
            for path in ("/metrics", "/v1/models", "/v1/models/tinyedge", "/nothing"):
                for headers in (
                    *({}, {"Authorization": ""}, {"Authorization": f"Basic {KEY}"}, {"Authorization": KEY}),
                    *({"Authorization": f"Bearer {KEY}x"}, {"Authorization": f"Bearer {KEY[:-1]}"}),
                    *({"Authorization": "Bearer"}, {"Authorization": "Bearer \xff"}, {"X-Api-Key": KEY}),
                ):
                    answer = server.request("GET", path, headers=headers)
                    assert answer.status == 401
                    assert answer.headers["www-authenticate"] == "Bearer"
                    assert answer.json()["error"]["code"] == "invalid_api_key"
            # Checked before the body is parsed.
            assert server.complete(PROMPT, temperature=9).status == 401
            good = {"Authorization": f"Bearer {KEY}"}
            assert server.request("GET", "/v1/models", headers=good).status == 200
            assert server.post("/v1/completions", {"prompt": PROMPT}, good).status == 200
            environment = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
            assert KEY.encode() not in environment

    def test_host_names(self, micro_bundle: Path) -> None:
        flags = ("--host", "0.0.0.0", "--insecure", "--allow-host", "Pi.local")
        with Server(micro_bundle, *flags) as server:

            def status(host: str) -> int:
                return server.get("/healthz", Host=host).status

            for host in (
                "localhost",
                "LOCALHOST:9",
                "127.0.0.1",
                f"127.0.0.1:{server.port}",
                "[::1]",
                "pi.local:80",
            ):
                assert status(host) == 200, host
            for host in ("evil.example", "0.0.0.0", "pi", "127.0.0.2", "8.8.8.8", "pi.local.evil.example"):
                assert status(host) == 403, host

    def test_other_sites_cannot_send_requests(self, server: Server) -> None:
        """No CORS: a preflight is rejected, and so is everything a browser can send without one."""
        answer = server.request("OPTIONS", "/v1/completions", headers={"Origin": "https://evil.example"})
        assert answer.status == 405
        answer = server.get("/v1/models", Origin="https://evil.example")
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            body = json.dumps({"prompt": PROMPT}).encode()
            assert server.request("POST", "/v1/completions", body, {"Content-Type": kind}).status == 415

    def test_the_page_has_a_strict_policy(self, server: Server) -> None:
        headers = server.get("/").headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert b"http" not in server.get("/").body.replace(b"http-equiv", b"")  # no external resources
