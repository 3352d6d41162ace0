"""Below HTTP: what a client can send before there is a request."""

import contextlib
import json

import pytest

from tests.raw_http import connect, request

MB = 1 << 20


def answer(connection):
    """What comes of an answer, which a reset may cut short."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(65_536):
            received += chunk
            head, separator, body = received.partition(b"\r\n\r\n")
            if separator and b"content-length" in head.lower():
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                if len(body) >= length:
                    break
    return received


@pytest.mark.parametrize(
    "start",
    [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: ",
        b"GET /",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 40,
    ],
    ids=["one header", "the path", "many headers"],
)
def test_an_endless_head_is_refused_and_not_kept(shared_server, start):
    before = shared_server.client.get("/info").json()["memory"]["peak_rss_bytes"]
    piece = b"X: y\r\n" * 20_000 if start.endswith(b"\r\n") else b"a" * 120_000
    with connect(shared_server) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(start)
            for _ in range(400):
                connection.sendall(piece)
        received = answer(connection)
    if received:  # the refusal is lost where the client was still writing when the connection closed
        head, _, body = received.partition(b"\r\n\r\n")
        assert b" 431 " in head.split(b"\r\n")[0]
        assert json.loads(body)["error"]["code"] == "headers_too_large"
    assert shared_server.client.get("/info").json()["memory"]["peak_rss_bytes"] - before < 8 * MB


def test_the_refusal_says_why(shared_server):
    with connect(shared_server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 40_000 + b"\r\n\r\n")
        assert b"headers_too_large" in answer(connection)


def test_long_heads_that_fit_are_served_and_a_body_is_not_counted(shared_server):
    body = json.dumps({"text": "a " * 10_000}).encode()
    with connect(shared_server) as connection:
        for _ in range(3):  # on one connection: the count starts anew with each request
            connection.sendall(request("POST", "/embed", body, f"X-Long: {'a' * 16_000}"))
            assert b" 200 " in answer(connection).split(b"\r\n")[0]


def test_a_flood_of_pipelined_requests_is_cut_off(shared_server):
    before = shared_server.client.get("/info").json()["memory"]["peak_rss_bytes"]
    with connect(shared_server) as connection, contextlib.suppress(ConnectionError):
        for _ in range(50):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2_000)
    assert shared_server.client.get("/healthz").status_code == 200
    assert shared_server.client.get("/info").json()["memory"]["peak_rss_bytes"] - before < 8 * MB


def test_what_is_not_http_is_refused(shared_server):
    with connect(shared_server) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert b" 400 " in answer(connection).split(b"\r\n")[0]
    assert shared_server.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(("target", "status"), [(b"http://localhost", 200), (b"http://localhost?a=b", 200)])
def test_an_absolute_target_without_a_path_is_the_root(shared_server, target, status):
    with connect(shared_server) as connection:
        connection.sendall(b"GET %b HTTP/1.1\r\nhost: localhost\r\n\r\n" % target)
        assert answer(connection).startswith(b"HTTP/1.1 %d " % status)
