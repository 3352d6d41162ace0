import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.closed_loop import closed_loop
from bench.http_client import Connection, build_request, parse_head


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.answer(200, self.rfile.read(int(self.headers["content-length"])))

    def do_GET(self):
        if self.path == "/close":
            self.close_connection = True
            return
        if self.path == "/empty":
            self.send_response(204)
            self.end_headers()
            return
        status = 503 if self.path == "/busy" else 200
        self.answer(status, b"x" * 300_000, {"Retry-After": "1"} if status == 503 else {})

    def answer(self, status, body, headers=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def port():
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_one_connection_carries_many_requests_and_large_responses(port):
    with Connection(port) as connection:
        for n in range(3):
            assert connection.request_json(build_request("POST", "/echo", {"n": n, "text": "é"})) == {
                "n": n,
                "text": "é",
            }
            status, body = connection.send(build_request("GET", "/large"))
            assert (status, len(body)) == (200, 300_000)
            assert connection.send(build_request("GET", "/empty")) == (204, b"")


def test_bytes_are_sent_as_they_are_with_their_type():
    request = build_request("POST", "/content/batch", b'{"a":1}\n', content_type="application/x-ndjson")
    assert request.endswith(b'\r\n\r\n{"a":1}\n')
    assert b"content-type: application/x-ndjson\r\n" in request
    assert b"content-length: 8\r\n" in request
    assert b"content-length" not in build_request("GET", "/healthz")


def test_a_server_that_disconnects_is_an_error(port):
    with Connection(port) as connection, pytest.raises(ConnectionError):
        connection.send(build_request("GET", "/close"))


def test_an_error_response_raises_where_success_is_required(port):
    with Connection(port) as connection, pytest.raises(RuntimeError, match="GET /busy answered 503"):
        connection.request_json(build_request("GET", "/busy"))


def test_a_response_without_content_length_is_rejected():
    assert parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 12") == (200, 12)
    assert parse_head(b"HTTP/1.1 204 No Content") == (204, 0)
    with pytest.raises(ValueError, match="content-length"):
        parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked")


def test_a_closed_loop_sends_every_request_once_with_any_number_of_clients(port):
    numbers = [json.dumps(n).encode() for n in range(40)]
    shared = iter([build_request("POST", "/echo", number) for number in numbers])
    seconds, answers = closed_loop(port, [shared] * 5, limit_s=20)
    assert [answer.status for answer in answers] == [200] * 40
    assert 0 < max(answer.elapsed_ms for answer in answers) / 1e3 <= seconds


def test_a_closed_loop_records_rejections_and_broken_connections(port):
    busy = iter([build_request("GET", "/busy")] * 6)
    broken = iter([build_request("GET", "/close")] * 2)
    _, answers = closed_loop(port, [busy, broken], limit_s=20, pause_s=0)
    statuses = [answer.status for answer in answers]
    assert statuses.count(503) == 6
    assert statuses.count(0) == 2
    assert all(answer.retry_after == (answer.status == 503) for answer in answers)


def test_a_closed_loop_ends_in_time(port):
    endless = itertools.repeat(build_request("POST", "/echo", b"1"))
    seconds, answers = closed_loop(port, [endless] * 2, limit_s=0.2)
    assert answers
    assert seconds < 20


def test_a_chunked_answer_is_read_whole_and_the_connection_stays_open(shared_server):
    items = {"items": [{"text": f"a barn, number {n % 3}"} for n in range(200)]}
    with Connection(int(shared_server.url.rpartition(":")[2])) as connection:
        assert len(connection.request_json(build_request("POST", "/embed/batch", items))["results"]) == 200
        assert connection.send(build_request("GET", "/healthz"))[0] == 200
