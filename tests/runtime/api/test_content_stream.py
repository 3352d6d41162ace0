"""A stream of any number of items, with progress."""

import json

import pytest

from tests.raw_http import connect, more
from tests.waiting import until

NDJSON = {"content-type": "application/x-ndjson", "accept": "application/x-ndjson"}


def stream(client, lines):
    with client.stream("POST", "/content/batch", content=lines, headers=NDJSON) as answer:
        answer.read()
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        return [json.loads(line) for line in answer.text.splitlines()]


def line(id, text="a venue", **fields):
    return json.dumps({"id": id, "text": text, **fields}).encode() + b"\n"


def counted(found):
    return {name: found[name] for name in ("lines", "created", "replaced", "unchanged", "rejected")}


def test_more_than_a_body_may_have(start_server):
    """5,000 items in 6 MB, sent without a declared length; then again. The texts repeat, to be quick."""
    server = start_server(catalog_bytes=16 << 20)
    padding = ["https://images.example/" + "x" * 1_000]
    lines = [line(f"many-{n}", f"venue number {n % 20}", images=padding, tags=["venue"]) for n in range(5_000)]
    assert sum(map(len, lines)) > server.client.get("/info").json()["limits"]["max_body_bytes"]
    before = server.client.get("/info").json()["memory"]["peak_rss_bytes"]
    *progress, done = stream(server.client, iter(lines))
    assert (done["event"], counted(done)) == (
        "done", {"lines": 5_000, "created": 5_000, "replaced": 0, "unchanged": 0, "rejected": 0},
    )  # fmt: skip
    assert [one["event"] for one in progress] == ["progress"] * len(progress)
    assert 4 <= len(progress) <= 5
    assert [one["lines"] for one in progress] == sorted(one["created"] for one in progress)
    found = server.client.post("/search", json={"text": "venue", "top_k": 1, "filters": {"tags": ["venue"]}}).json()
    assert found["matched"] == 5_000
    after = server.client.get("/info").json()["memory"]["peak_rss_bytes"]
    vectors_and_ids = 5_000 * (1_536 + 400)
    assert after - before < vectors_and_ids + (14 << 20)

    again = stream(server.client, iter(lines[:300]))
    assert counted(again[-1])["unchanged"] == 300


def test_bad_lines_are_reported_and_the_others_stored(shared_server):
    body = (
        line("str-1") + b"\n" + b'{"id":"str-2"}\n' + b"{oops\n" + line("str-3", 7) + line("x" * 300)
        + line("str-1", "another text") + line("str-4").rstrip()
    )  # fmt: skip
    *rejected, done = stream(shared_server.client, body)
    assert [(one["line"], one["id"], one["error"]["code"], one["error"]["field"]) for one in rejected] == [
        (3, "str-2", "invalid_request", "$"),
        (4, None, "malformed_json", "$"),
        (5, "str-3", "invalid_request", "$.text"),
        (6, None, "invalid_request", "$.id"),
    ]
    assert counted(done) == {"lines": 8, "created": 2, "replaced": 1, "unchanged": 0, "rejected": 4}
    assert shared_server.client.get("/content/str-4").status_code == 200


def test_a_client_that_reads_last_is_never_stuck(shared_server):
    """However many lines are bad, the answer fits into the socket buffers of a client that is still sending."""
    body = b"".join(b'{"id":"bad-%d"}\n' % n for n in range(20_000))
    answer = stream(shared_server.client, body)
    assert [one["event"] for one in answer].count("rejected") == 100
    assert answer[-1]["rejected"] == 20_000


def test_progress_comes_while_the_body_is_still_sent_and_others_are_served(shared_server):
    with connect(shared_server) as connection:
        head = "POST /content/batch HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        connection.sendall((head + "".join(f"{k}: {v}\r\n" for k, v in NDJSON.items()) + "\r\n").encode())
        part = b"".join(line(f"slow-{n}", f"venue {n % 9}") for n in range(1_100))
        connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        received = b""
        while b'"progress"' not in received:
            received += more(connection)
        assert b" 200 " in received.split(b"\r\n")[0]
        assert shared_server.client.post("/embed", json={"text": "meanwhile"}).status_code == 200
        assert shared_server.client.get("/content/slow-0").status_code == 200  # what progress counts is there
        connection.sendall(b"0\r\n\r\n")
        while b'"done"' not in received:
            received += more(connection)
    assert b'"created":1100' in received


def test_a_client_that_leaves_frees_everything(shared_server):
    with connect(shared_server) as connection:
        head = "POST /content/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
        connection.sendall((head + "".join(f"{k}: {v}\r\n" for k, v in NDJSON.items()) + "\r\n").encode())
        connection.sendall(b"".join(line(f"left-{n}") for n in range(100)))
        until(lambda: shared_server.client.get("/content/left-0").status_code == 200)
    until(lambda: "http_request_body_reserved_bytes 0\n" in shared_server.client.get("/metrics").text)


def test_a_full_catalogue_ends_the_stream_and_says_what_is_stored(start_server):
    client = start_server(catalog_bytes=1 << 20).client  # 682 vectors
    *_, failed = stream(client, b"".join(line(f"full-{n}", f"{n % 5}") for n in range(900)))
    assert (failed["event"], failed["error"]["code"]) == ("failed", "catalog_full")
    assert failed["created"] == client.get("/info").json()["stored"]["content"] == 640
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "invalid_request"),
        (b"\n\n", 422, "invalid_request"),
        (b'{"id":"long","text":"' + b"x" * (2 << 20), 413, "line_too_long"),
    ],
)
def test_bodies_without_a_first_line(shared_server, body, status, code):
    answer = shared_server.client.post("/content/batch", content=body, headers=NDJSON)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_stream_is_lines(shared_server):
    headers = {"accept": "application/x-ndjson", "content-type": "application/json"}
    assert shared_server.client.post("/content/batch", content=b"[]", headers=headers).status_code == 415
