"""More work than fits: refused with a reason and a time to come back, and the server goes on."""

import contextlib
import json
import re
import subprocess
import sys
import threading
import time

import httpx
import pytest

from tests.raw_http import connect, request
from tests.waiting import WAIT_S, until

LONG = "a long walk through the garden " * 60


def tokens_waiting(server):
    lines = server.client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("vows_queue_tokens ")).split()[1])


@pytest.fixture(scope="module")
def shared_small_server(start_server):
    """One worker and a queue of four long texts."""
    return start_server(threads=1, queue_tokens=1024, cache_bytes=0)


def test_a_full_queue_is_refused_alike_for_single_texts_and_batches(shared_small_server):
    answers: list[httpx.Response] = []
    together = threading.Barrier(26)  # making a client takes longer than a text: all are made before one asks

    def ask(path, body):
        with httpx.Client(base_url=shared_small_server.url, timeout=WAIT_S) as client:
            together.wait(WAIT_S)
            answers.append(client.post(path, json=body))

    single = [threading.Thread(target=ask, args=("/embed", {"text": LONG})) for _ in range(24)]
    batches = [threading.Thread(target=ask, args=("/embed/batch", {"items": [{"text": LONG}] * 8})) for _ in range(2)]
    for thread in single + batches:
        thread.start()
    for thread in single + batches:
        thread.join()
    assert {answer.status_code for answer in answers} == {200, 503}
    for answer in answers:
        if answer.status_code == 503:
            assert answer.json()["error"]["code"] == "overloaded"
            assert int(answer.headers["retry-after"]) >= 1
    assert shared_small_server.client.post("/embed", json={"text": "afterwards"}).status_code == 200
    assert tokens_waiting(shared_small_server) == 0


def test_a_client_that_hangs_up_takes_its_batch_with_it(start_server):
    server = start_server(threads=1, cache_bytes=0)
    body = json.dumps({"items": [{"text": LONG}] * 256}).encode()
    with connect(server) as connection:
        connection.sendall(request("POST", "/embed/batch", body))
        until(lambda: tokens_waiting(server) > 2_000, every_s=0.01)  # a slice; the rest waits where it holds nothing
    until(lambda: tokens_waiting(server) == 0)
    left = 'http_requests_total{endpoint="POST /embed/batch",status="499"} 1'
    until(lambda: left in server.client.get("/metrics").text)


def test_a_text_goes_before_a_batch_that_came_first(start_server):
    server = start_server(threads=1, cache_bytes=0, batch_timeout_s=600)
    done: dict[str, float] = {}

    def ask(name, path, body):
        with httpx.Client(base_url=server.url, timeout=600) as client:
            assert client.post(path, json=body).status_code == 200
            done[name] = time.monotonic()

    batch = threading.Thread(target=ask, args=("batch", "/embed/batch", {"items": [{"text": LONG}] * 256}))
    batch.start()
    until(lambda: tokens_waiting(server) > 0)
    ask("text", "/embed", {"text": "in a hurry"})
    assert batch.is_alive(), "the text waited for the whole batch"
    batch.join()
    assert done["text"] < done["batch"]


def test_a_batch_that_alone_takes_longer_than_batches_may_is_refused_with_what_would_fit(start_server):
    server = start_server(threads=1, cache_bytes=0, batch_timeout_s=0.2)
    answer = server.client.post("/embed/batch", json={"items": [{"text": LONG}] * 256})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "batch_too_large")
    assert re.search(r"256 texts take about \d+ s .* send about \d+ at a time", answer.json()["error"]["message"])
    assert "retry-after" not in answer.headers


def test_batches_wait_for_their_turn_instead_of_being_refused(start_server):
    """More than the queue takes: eight batches at once, where it has room for one long text of them at a time."""
    server = start_server(threads=1, queue_tokens=1024, cache_bytes=0)
    answers: list[httpx.Response] = []

    def ask(n):
        with httpx.Client(base_url=server.url, timeout=WAIT_S) as client:
            texts = [f"{n} {LONG}"] * 4 if n % 2 else [f"{n} short"] * 4
            answers.append(client.post("/embed/batch", json={"items": [{"text": text} for text in texts]}))

    batches = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in batches:
        thread.start()
    for thread in batches:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 8
    assert tokens_waiting(server) == 0


def test_bodies_that_are_promised_keep_nobody_out(start_server):
    """Only what has come is held, and a client that stops sending loses its place to one that needs it."""
    server = start_server(max_body_bytes=1 << 20, body_budget_bytes=2 << 20)
    body = json.dumps({"items": [{"text": "a " * 10_000}] * 40}).encode()
    for sent in (b"{", body[:-1], b" " * (len(body) - 1)):
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                with contextlib.suppress(ConnectionError):
                    stack.enter_context(connect(server)).sendall(request("POST", "/embed", sent, length=len(body)))
            assert server.client.post("/embed", json={"text": "a"}).status_code == 200
            until(lambda: server.client.post("/embed/batch", content=body).status_code == 200)


def test_what_can_never_fit_gets_no_retry_after(start_server):
    server = start_server(max_body_bytes=1 << 20, body_budget_bytes=1 << 20)
    answer = server.client.get("/content", params={"limit": 100})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert "retry-after" not in answer.headers
    assert "1048576" in answer.json()["error"]["message"]


def test_many_tiny_values_are_refused_before_they_are_decoded(shared_server):
    before = shared_server.client.get("/info").json()["memory"]["peak_rss_bytes"]
    for path, body in {
        "/embed/batch": b'{"items":[' + b"{}," * 1_000_000 + b"{}]}",
        "/content/batch": b"[" + b"{}," * 1_000_000 + b"{}]",
        "/interactions": b"[" + b"1," * 1_500_000 + b"1]",
        "/rank": b'{"candidates":["a"],"embedding":[' + b"1," * 1_500_000 + b"1]}",
    }.items():
        answer = shared_server.client.post(path, content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_many_values")
    lines = shared_server.client.post(
        "/content/batch", content=b"{}\n" * 1_000_000, headers={"content-type": "application/x-ndjson"}
    )
    assert lines.status_code == 422
    grown = shared_server.client.get("/info").json()["memory"]["peak_rss_bytes"] - before
    assert grown < 24 << 20  # the bodies themselves, of 3 to 4 MB


def test_settings_that_cannot_fit_stop_the_start(tmp_path, bundle_path):
    environ = {
        "VOWS_PORT": "0", "VOWS_DATA_DIR": str(tmp_path), "VOWS_MODELS_DIR": str(bundle_path.parent),
        "VOWS_CATALOG_BYTES": str(1 << 45),
    }  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-m", "runtime"], env=environ, capture_output=True, text=True, timeout=WAIT_S
    )
    assert result.returncode == 1
    assert "Lower VOWS_CATALOG_BYTES" in result.stderr
