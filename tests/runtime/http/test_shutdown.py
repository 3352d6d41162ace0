"""Stopping, and being stopped for a while: what was accepted is finished or refused, acknowledged events stay."""

import json
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from tests.raw_http import answer, connect, is_closed
from tests.waiting import WAIT_S, until

LONG = "a long walk through the garden " * 60


class Writers:
    """Clients that store events until the server goes away; `acknowledged` and `refused` say how that went."""

    def __init__(self, url, clients=4):
        self.acknowledged, self.refused = [], []
        self._url = url
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(clients)]
        for thread in self._threads:
            thread.start()

    def _write(self, client):
        n = 0
        with httpx.Client(base_url=self._url, timeout=WAIT_S) as connection:
            while True:
                id = f"{client}-{n}"
                event = {"user_id": f"u{client}", "content_id": "barn", "type": "view", "event_id": id}
                try:
                    answer = connection.post("/interactions", json=event)
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    self.acknowledged.append(id)
                else:
                    self.refused.append((answer.status_code, answer.json()["error"]["code"]))
                n += 1

    def until(self, count):
        until(lambda: len(self.acknowledged) >= count)

    def join(self):
        for thread in self._threads:
            thread.join(WAIT_S)


def replayed(server, ids):
    """The outcomes of sending these events once more."""
    events = [
        {"user_id": f"u{id.partition('-')[0]}", "content_id": "barn", "type": "view", "event_id": id} for id in ids
    ]
    return {result["status"] for result in server.client.post("/interactions", json=events).json()["results"]}


def test_a_stop_finishes_or_refuses_checkpoints_and_exits_with_0(start_server):
    patience = {"header_timeout_s": WAIT_S, "body_timeout_s": WAIT_S, "batch_timeout_s": 3600}
    server = start_server(threads=1, cache_bytes=0, shutdown_s=1, **patience)
    assert server.client.put("/content/barn", json={"text": "a barn"}).status_code == 200
    batches = []

    def ask(items):
        with httpx.Client(base_url=server.url, timeout=WAIT_S) as client:
            batches.append(client.post("/embed/batch", json={"items": [{"text": f"{n} {LONG}"} for n in range(items)]}))

    long = [threading.Thread(target=ask, args=(256,)) for _ in range(4)]  # no machine does them within the second
    for thread in long:
        thread.start()
    idle, half = connect(server), connect(server)
    half.sendall(
        b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    writers = Writers(server.url)
    writers.until(40)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=WAIT_S) == 0
    writers.join()
    for thread in long:
        thread.join()
    for batch in batches:
        assert (batch.status_code, batch.json()["error"]["code"]) == (503, "shutting_down"), batch.text
        assert batch.headers["retry-after"]
    assert set(writers.refused) <= {(503, "shutting_down")}
    assert is_closed(idle)
    assert answer(half)[0] == 503
    idle.close()
    half.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/healthz")
    assert sorted(path.name for path in server.data_dir.iterdir()) == ["lock", "vows.db"]  # no log: checkpointed
    again = start_server(server.data_dir)
    assert replayed(again, writers.acknowledged) == {"duplicate"}


def test_a_stop_while_starting_exits_with_0(bundle_path, tmp_path):
    environment = {"VOWS_PORT": "0", "VOWS_DATA_DIR": str(tmp_path), "VOWS_MODELS_DIR": str(bundle_path.parent)}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "runtime"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    until(lambda: (tmp_path / "lock").exists() or process.poll() is not None, every_s=0.001)
    assert process.poll() is None  # the parts are being built
    process.terminate()
    out, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, out
    assert b"Traceback" not in out


def test_a_server_that_was_suspended_continues_and_keeps_its_deadlines(start_server):
    deadline_s = 5
    server = start_server(threads=1, cache_bytes=0, request_timeout_s=1, batch_timeout_s=deadline_s)
    assert server.client.put("/content/barn", json={"text": "a barn"}).status_code == 200
    answers = []

    def ask(n):
        with httpx.Client(base_url=server.url, timeout=WAIT_S) as client:
            answers.append(client.post("/embed/batch", json={"items": [{"text": f"{n} {LONG}"}] * 40}))

    waiting = [threading.Thread(target=ask, args=(n,)) for n in range(12)]
    writers = Writers(server.url)
    writers.until(20)
    for thread in waiting:
        thread.start()
    until(lambda: "vows_queue_tokens 0\n" not in server.client.get("/metrics").text)
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(deadline_s + 0.5)
    assert server.process.poll() is None
    server.process.send_signal(signal.SIGCONT)
    for thread in waiting:
        thread.join()
    # Time passed for the client too: what is late is refused, and not run for nobody. A fast machine has done some.
    late = [one for one in answers if one.status_code != 200]
    assert late
    for one in late:
        if one.status_code == 413:  # a busy machine takes longer than that for one batch alone, and says so
            assert one.json()["error"]["code"] == "batch_too_large"
            continue
        assert one.status_code == 503
        assert "deadline" in one.json()["error"]["message"] or "VOWS_BATCH_TIMEOUT_S" in one.json()["error"]["message"]
        assert one.headers["retry-after"]
    before = len(writers.acknowledged)
    writers.until(before + 20)  # on the same connections
    assert writers.refused == []
    with httpx.Client(base_url=server.url, timeout=WAIT_S) as client:
        assert client.post("/embed", json={"text": "afterwards"}).status_code == 200
        assert json.loads(client.get("/readyz").content)["status"] == "ready"
    server.stop()
    writers.join()
    assert replayed(start_server(server.data_dir), writers.acknowledged[:500]) == {"duplicate"}
