"""Clients that hold connections without using them: each is bounded, and others are served all the while."""

import contextlib
import itertools
import json
import re
import time
from pathlib import Path
from socket import SO_KEEPALIVE, SOL_SOCKET

import pytest

from bench.closed_loop import closed_loop
from runtime.http.connections import SPARE_CONNECTIONS
from tests.raw_http import answer, answers, connect, is_closed, more, request
from tests.waiting import WAIT_S, until

EMBED = b'{"text":"a barn"}'
QUICK = {"header_timeout_s": 0.5, "keep_alive_s": 3, "body_timeout_s": 0.5, "write_timeout_s": 0.5}
MiB = 1 << 20


def metric(server, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", server.client.get("/metrics").text, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def ask(server, path="/readyz", body=b""):
    """The status for a client that comes anew."""
    with connect(server) as connection:
        connection.sendall(request("POST" if body else "GET", path, body))
        return answer(connection)[0]


@pytest.fixture(scope="module")
def few(start_server):
    """A server that takes 16 connections, and is quick to give up on clients."""
    return start_server(max_connections=16, max_requests=4, **QUICK)


@pytest.fixture(scope="module")
def patient(start_server):
    """A server that takes 16 connections and waits long for each."""
    return start_server(max_connections=16, max_requests=4)


SILENT = {
    "nothing": b"",
    "half a head": b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nX",
    "half a method": b"PO",
    "a used connection": request("GET", "/healthz"),
    "a body that lacks a byte": request("POST", "/embed", b"{", length=2),
    "a body that lacks all": request("POST", "/embed", b"", length=3 * MiB),
    "a chunk that lacks a byte": b"POST /embed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    "garbage": b"\x00\x01\x02" * 5,
    "half an upgrade": b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgra",
}


@pytest.mark.parametrize("sent", SILENT.values(), ids=SILENT)
def test_others_are_served_beside_a_crowd_of_silent_clients(patient, sent):
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            with contextlib.suppress(ConnectionError):
                stack.enter_context(connect(patient)).sendall(sent)
        assert ask(patient) == 200
        until(lambda: ask(patient, "/embed", EMBED) == 200)
        assert [ask(patient, "/embed", EMBED) for _ in range(20)] == [200] * 20
        assert metric(patient, "http_connections") <= 16 + SPARE_CONNECTIONS


def test_a_client_that_was_served_outlives_a_flood_of_silent_ones(patient):
    with connect(patient) as served, contextlib.ExitStack() as stack:
        for _ in range(10):
            served.sendall(request("GET", "/healthz"))
            assert answer(served)[0] == 200
            for _ in range(50):
                stack.enter_context(connect(patient))


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/healthz/", "/readyz?from=probe"])
def test_health_is_answered_where_every_connection_is_at_work(start_server, path):
    """Nothing idles and nothing is late, so that nobody can be dropped: others get Retry-After."""
    server = start_server(threads=1, cache_bytes=0, max_connections=8, queue_tokens=10_000_000)
    text = "a long walk through the garden " * 60
    batch = json.dumps({"items": [{"text": text + str(n)} for n in range(200)]}).encode()
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            busy = stack.enter_context(connect(server))
            busy.sendall(request("POST", "/embed/batch", batch))
            time.sleep(0.05)
        stack.enter_context(contextlib.closing(server.client))
        assert ask(server, path) == 200
        assert ask(server, "/embed", EMBED) in (200, 503)


def test_a_head_that_does_not_end(few):
    with connect(few) as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n")
        status, _, body = answer(connection)
        assert (status, json.loads(body)["error"]["code"]) == (408, "header_timeout")
        assert is_closed(connection)


def test_a_head_that_comes_a_byte_at_a_time(few):
    with connect(few) as connection, contextlib.suppress(ConnectionError):
        for byte in b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nX-Slow: " + b"a" * 100:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)
        pytest.fail("the head was read without end")


def test_a_connection_without_a_request_and_one_that_had_its_last(few):
    with connect(few) as silent, contextlib.ExitStack() as stack:

        def used_now():
            """A busy machine may take longer than the timeout from connecting to asking."""
            nonlocal served, used
            served, used = stack.enter_context(connect(few)), time.monotonic()
            served.sendall(request("GET", "/healthz"))
            return answer(served)[0] == 200

        served, used = silent, 0.0
        until(used_now)
        assert is_closed(silent)
        assert is_closed(served)  # a connection that was used may idle longer
        assert time.monotonic() - used >= QUICK["keep_alive_s"]


SLOW_BODIES = {
    "declared": request("POST", "/embed", b"{", length=100),
    "lacks one byte": request("POST", "/embed", EMBED[:-1], length=len(EMBED)),
    "chunked": b"POST /embed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    "raw": request("POST", "/interactions", b"{", length=100),
    "put": request("PUT", "/content/slow", b"{", length=100),
    "openai": request("POST", "/v1/embeddings", b"{", length=100),
    "lines": b"POST /content/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
             b"Accept: application/x-ndjson\r\nContent-Length: 100\r\n\r\n{",
}  # fmt: skip


@pytest.mark.parametrize("sent", SLOW_BODIES.values(), ids=SLOW_BODIES)
def test_a_body_that_does_not_come_is_408(few, sent):
    with connect(few) as connection:
        connection.sendall(sent)
        status, head, body = answer(connection)
        assert (status, json.loads(body)["error"]["code"]) == (408, "body_timeout")
        assert b"connection: close" in head
        assert is_closed(connection)


def test_a_body_that_trickles_is_408(few):
    with connect(few) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(request("POST", "/embed", b"{", length=1_000_000))
        connection.settimeout(0.02)
        last = time.monotonic() + WAIT_S
        while time.monotonic() < last:
            connection.sendall(b" ")
            with contextlib.suppress(TimeoutError):
                assert b" 408 " in connection.recv(65_536)
                return
        pytest.fail("the body was read without end")


def test_a_body_that_nobody_reads_does_not_go_on_for_ever(few):
    """Refused before it was read: what still comes is thrown away, for a limited time."""
    with connect(few) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(request("POST", "/nowhere", b"{", length=1 << 40))
        assert answer(connection)[0] == 404
        last = time.monotonic() + WAIT_S
        while time.monotonic() < last:
            connection.sendall(b"a" * 1000)
            time.sleep(0.02)
        pytest.fail("the body was read without end")


def test_a_body_that_keeps_the_rate_is_read(start_server):
    server = start_server(body_timeout_s=3, min_bytes_per_s=100)
    body = json.dumps({"text": "a " * 1_000}).encode()

    for _ in range(20):
        pause_s, begun = 0.0, time.monotonic()
        last = begun
        with connect(server) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(request("POST", "/embed", body[:10], length=len(body)))
                for start in range(10, len(body), 200):
                    time.sleep(0.4)
                    connection.sendall(body[start : start + 200])
                    before, last = last, time.monotonic()
                    pause_s = max(pause_s, last - before)
            status = answer(connection)[0]
        if pause_s < 2:  # or the machine was busy, and this client did not keep the rate
            break
    assert status == 200
    assert last - begun > 3  # in all it may take longer


@pytest.fixture(scope="module")
def stocked(start_server):
    """Long items and many events, and a budget for a few large answers at a time."""
    server = start_server(max_requests=64, max_connections=128, write_timeout_s=WRITE_TIMEOUT_S)
    words = "a quiet cliff above the sea with room for forty guests and a band " * 150
    items = [{"id": f"long-{n}", "title": f"Cliff {n}", "description": words[:5_000]} for n in range(120)]
    assert server.client.post("/content/batch", json=items).json()["rejected"] == 0
    for start in range(5):
        events = [
            {"user_id": f"u{n}", "content_id": "long-1", "type": "view", "context": {"note": "x" * 1_000}}
            for n in range(start * 1_000, start * 1_000 + 1_000)
        ]
        assert server.client.post("/interactions", json=events).json()["stored"] == 1_000
    return server


WRITE_TIMEOUT_S = 2
UNREAD = ["/content?limit=100", "/events/export", "/openapi.json", "/docs", "/metrics"]
UNREAD_REASONS = ("unread", "late")


@pytest.mark.parametrize("path", UNREAD)
def test_answers_that_nobody_reads_are_counted_and_cut_off(stocked, path):
    def cut_off():
        return sum(metric(stocked, f'http_connections_dropped_total{{reason="{reason}"}}') for reason in UNREAD_REASONS)

    before = cut_off()
    peak = stocked.client.get("/info").json()["memory"]["peak_rss_bytes"]
    with contextlib.ExitStack() as stack:
        unread = [stack.enter_context(connect(stocked, receive_buffer=4096)) for _ in range(60)]
        for connection in unread:
            with contextlib.suppress(ConnectionError):
                connection.sendall(request("GET", path) * 14)
        assert [ask(stocked, "/embed", EMBED) for _ in range(20)] == [200] * 20
        until(lambda: metric(stocked, "http_request_body_reserved_bytes") == 0)
        if path != "/metrics":  # the kernel takes all of its answers
            until(lambda: cut_off() > before)
    assert stocked.client.get("/info").json()["memory"]["peak_rss_bytes"] - peak < 16 * MiB


def test_an_answer_that_is_read_slowly_arrives_whole(stocked):
    with connect(stocked, receive_buffer=4096) as connection:
        connection.sendall(request("GET", "/content?limit=100&encoding_format=base64"))
        started, received = time.monotonic(), b""
        while b"\r\n\r\n" not in received or time.monotonic() - started < 1.5 * WRITE_TIMEOUT_S:
            received += more(connection, most=4096)
            time.sleep(0.02)
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head).group(1))
        while len(body) < length:
            body += more(connection)
    assert len(json.loads(body)["items"]) > 10


def test_garbage_after_a_write_takes_nothing_from_its_answer(shared_server):
    """The write is stored, so its client has to get the answer; what follows is refused after it."""
    shared_server.client.put("/content/garbage", json={"text": "a barn"})
    for number, garbage in enumerate([b"\x00\x01\r\n\r\n", b"NOT HTTP AT ALL\r\n\r\n", b"GET", b"{}" * 20_000]):
        event = {"user_id": "g", "content_id": "garbage", "type": "view", "event_id": f"garbage-{number}"}
        with connect(shared_server) as connection:
            connection.sendall(request("POST", "/interactions", json.dumps(event).encode()) + garbage)
            received = answers(connection) if garbage != b"GET" else answer(connection)[1]
        assert received.startswith(b"HTTP/1.1 200 ")
        if garbage != b"GET":
            assert b'"stored":1' in received
            assert re.findall(rb"HTTP/1.1 (\d+) ", received)[1:] in ([b"400"], [b"431"])


def test_garbage_after_several_requests_and_within_a_body(shared_server):
    with connect(shared_server) as connection:
        connection.sendall(request("GET", "/healthz") * 3 + b"\x00\r\n\r\n")
        received = answers(connection)
    assert re.findall(rb"HTTP/1.1 (\d+) ", received) == [b"200", b"200", b"200", b"400"]
    assert b'"code":"malformed_http"' in received
    with connect(shared_server) as connection:
        head = b"POST /embed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"5\r\n{}\r\nzz\r\n")
        status, _, body = answer(connection)
        assert (status, json.loads(body)["error"]["code"]) == (400, "malformed_http")


TRAILERS = {
    "many small": b"a: b\r\n" * 1_000,
    "one name": b"n" * 5_000,
    "one value": b"x: " + b"v" * 5_000,
    "different": b"".join(b"x-%d: y\r\n" % n for n in range(500)),
}


@pytest.mark.parametrize("piece", TRAILERS.values(), ids=TRAILERS)
@pytest.mark.parametrize("path", ["/embed", "/nowhere", "/content/batch"])
def test_trailers_are_bounded(shared_server, piece, path):
    before = shared_server.client.get("/info").json()["memory"]["peak_rss_bytes"]
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with connect(shared_server) as connection:
        sent = 0
        with contextlib.suppress(ConnectionError):
            connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
            for _ in range(4_000):
                connection.sendall(piece)
                sent += len(piece)
        assert sent < 16 * MiB
        assert b" 200 " not in answers(connection).split(b"\r\n")[0]
    assert shared_server.client.get("/info").json()["memory"]["peak_rss_bytes"] - before < 4 * MiB


def test_a_few_trailers_are_ignored(shared_server):
    with connect(shared_server) as connection:
        for _ in range(2):
            connection.sendall(
                b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: chunked\r\nTrailer: Digest\r\n\r\n11\r\n" + EMBED + b"\r\n0\r\n"
                b"Digest: sha-256=xyz\r\nX-Request-Id: other\r\nX-API-Key: other\r\n\r\n"
            )
            status, head, _ = answer(connection)
            assert status == 200
            assert b"other" not in head


def test_chunks_without_end_in_their_extensions(shared_server):
    with connect(shared_server) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(b"POST /embed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=")
        for _ in range(200):
            connection.sendall(b"e" * 10_000)
        assert answer(connection)[0] in (0, 431)


def test_more_headers_than_are_kept(shared_server):
    with connect(shared_server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"a:b\r\n" * 1_000 + b"\r\n")
        status, _, body = answer(connection)
    assert (status, json.loads(body)["error"]["code"]) == (431, "headers_too_large")


def test_the_kernel_looks_after_connections_too(shared_server):
    """On the listening socket, from which every connection has it: a client whose machine is gone is noticed."""
    with connect(shared_server) as connection:
        if not _has_keepalive_timer(connection, after=lambda: connection.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)):
            pytest.skip("this kernel does not show the timers of sockets in /proc/net/tcp")
    with connect(shared_server) as connection:
        assert _has_keepalive_timer(connection, of_the_other_end=True)


def _has_keepalive_timer(connection, after=lambda: None, *, of_the_other_end=False):
    """Whether the kernel says so of the client's own socket, or of the server's."""
    after()
    port = f":{connection.getsockname()[1]:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    found = [line.split() for line in lines if line.split()[1 + of_the_other_end].endswith(port)]
    return any(columns[5].startswith("02:") for columns in found)


def test_each_of_many_busy_clients_is_answered(patient):
    """More clients than connections, that send again at once: each request gets a 200 or a 503, none a closed one."""
    wanted = itertools.islice(itertools.repeat(request("POST", "/embed", EMBED)), 3000)
    _, got = closed_loop(int(patient.url.rsplit(":", 1)[1]), [wanted] * 80, limit_s=3)
    assert {one.status for one in got} == {200, 503}
