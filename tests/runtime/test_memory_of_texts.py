"""Long texts take no more memory than short ones: of a real server, by the kernel's high-water mark."""

import json
import sqlite3
from pathlib import Path

import pytest

from bench.process_memory import parse_kilobytes
from tests.waiting import until

MIB = 1 << 20
CHARS = 32_768  # the longest text

# The bodies, what is decoded of them and the answers are 12 MiB at most; whole encodings would take 300.
MOST_BYTES = 24 * MIB

# One token a character; a word a character and unknown; no place to cut; a character that becomes many.
UNITS = ["!", "花", "😀", "あ", "ﷺ"]


def status(server):
    lines = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii", errors="replace")
    return {name: kilobytes * 1024 for name, kilobytes in parse_kilobytes(lines).items()}


@pytest.fixture(scope="module")
def warm_server(start_server):
    """Without a cache, after a batch of texts as long as the model reads: arenas, threads and code are there."""
    server = start_server(cache_bytes=0, body_budget_bytes=16 * MIB, catalog_bytes=4 * MIB)
    assert server.client.post("/embed/batch", json={"items": [{"text": "word " * 300}] * 32}).status_code == 200
    return server


@pytest.mark.parametrize("unit", UNITS, ids=ascii)
def test_a_batch_of_the_longest_texts(warm_server, unit):
    body = json.dumps(
        {"items": [{"text": unit * CHARS}] * (4 * MIB // (CHARS * len(unit.encode())) - 8)}, ensure_ascii=False
    )
    held = []
    for _ in range(2):
        Path(f"/proc/{warm_server.process.pid}/clear_refs").write_text("5", encoding="ascii")
        before = status(warm_server)
        answer = warm_server.client.post(
            "/embed/batch", content=body.encode(), headers={"content-type": "application/json"}
        )
        assert answer.status_code == 200, answer.text
        after = status(warm_server)
        held.append(after["RssAnon"])
        assert after["VmHWM"] - before["VmRSS"] < MOST_BYTES
    assert held[1] - held[0] < 6 * MIB  # what the first one leaves is used again


def test_embedding_again_at_start(start_server):
    """Sixty-four items of the longest text, once with their vectors and once with those of another bundle."""
    server = start_server()
    for n in range(64):
        assert server.client.put(f"/content/{n}", json={"text": "!" * (CHARS - n)}).status_code == 200
    assert server.stop() == 0
    current = start_server(server.data_dir)
    peak = status(current)["VmHWM"]
    assert current.stop() == 0
    with sqlite3.connect(next(server.data_dir.glob("*.db"))) as database:
        database.execute("UPDATE bundles SET digest = 'another'")
    again = start_server(server.data_dir)
    until(lambda: again.client.post("/search", json={"text": "!", "top_k": 1}).json()["matched"] == 64)
    assert status(again)["VmHWM"] - peak < MOST_BYTES
