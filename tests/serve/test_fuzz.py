"""Fuzzing: valid requests with random damage never cause a 5xx, and the server continues."""

import random

from bench.serve.loopback import Server, completion_request

ROUNDS = 400
SEEDS = (
    completion_request({"prompt": "The captain", "max_tokens": 2, "stop": ["x"], "logit_bias": {"5": 1}}),
    completion_request({"prompt": ["a", "b"], "n": 2, "max_tokens": 1, "echo": True, "logprobs": 1}),
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n3b\r\n"
    b'{"messages": [{"role": "user", "content": "x"}], "n": 00001}\r\n0\r\n\r\n',
    b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:80\r\nAccept: */*\r\n\r\n",
)
PARTS = (b"\r\n", b"\0", b"\xff", b'"', b"{", b"}", b",", b"-1", b"1e9", b"null", b"[" * 50, b"9" * 40, b": ")


def damage_request(generator: random.Random) -> bytes:
    """Return one of the seeds with a few bytes changed, removed, repeated or inserted."""
    data = bytearray(generator.choice(SEEDS))
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(data))
        match generator.randrange(4):
            case 0:
                data[at] = generator.randrange(256)
            case 1:
                del data[at : at + generator.randint(1, 20)]
            case 2:
                data[at:at] = data[at : at + generator.randint(1, 60)]
            case _:
                data[at:at] = generator.choice(PARTS)
        if not data:
            break
    return bytes(data)


def test_damaged_requests(server: Server) -> None:
    generator = random.Random(1)
    statuses = set()
    for _ in range(ROUNDS):
        data = damage_request(generator) + b"\r\n\r\n"
        with server.connect() as connection:
            connection.sendall(data)
            connection.settimeout(0.05)  # for some, the server waits for more bytes, which is not an error
            try:
                answer = connection.recv(65536)
            except (TimeoutError, ConnectionError):
                continue
        if answer:
            statuses.add(int(answer.split(b" ", 2)[1]))
    assert statuses <= {100, 200, 400, 401, 403, 404, 405, 408, 413, 415, 429, 431}
    assert {200, 400} <= statuses
    assert server.read_metric('tinyedge_errors_total{kind="internal"}') == 0
    assert server.complete(max_tokens=1).status == 200
