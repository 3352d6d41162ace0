"""The export of the interaction log."""

import json
from datetime import UTC, datetime

import pytest


def export(client, **query):
    answer = client.get("/events/export", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.fixture(scope="module")
def shared_server_with_events(start_server):
    client = start_server().client
    client.put("/content/barn", json={"text": "a barn"})
    full = {
        "event_id": "x-full", "user_id": "xena", "content_id": "barn", "type": "share", "duration_ms": 1200,
        "timestamp": "2026-01-02T03:04:05.678901Z", "device": "phone", "context": {"days_to_wedding": 120, "é": None},
    }  # fmt: skip
    client.post("/interactions", json=full)
    for start in (0, 500):
        events = [
            {"event_id": f"x-{n}", "user_id": f"user-{n % 7}", "content_id": "barn", "type": "view"}
            for n in range(start, start + 500)
        ]
        assert client.post("/interactions", json=events).json()["stored"] == 500
    return client, full


def test_every_event_is_there_as_it_was_sent_and_in_order(shared_server_with_events):
    client, full = shared_server_with_events
    lines = export(client)
    assert [line["event_id"] for line in lines] == ["x-full", *(f"x-{n}" for n in range(1000))]
    first = dict(lines[0])
    age = datetime.now(UTC) - datetime.fromisoformat(first.pop("received_at"))
    assert 0 <= age.total_seconds() < 600
    assert first == {**full, "kind": "interaction", "sequence": first["sequence"]}
    sequences = [line["sequence"] for line in lines]
    assert sequences == sorted(set(sequences))
    assert "context" not in lines[1]


@pytest.mark.parametrize("limit", [1, 128, 129, 400])
def test_a_cursor_continues_where_the_last_export_ended(shared_server_with_events, limit):
    client, _ = shared_server_with_events
    everything, parts, after = export(client), [], 0
    while part := export(client, after=after, limit=limit):
        assert len(part) <= limit
        parts += part
        after = part[-1]["sequence"]
        if limit == 1 and len(parts) == 5:
            break
    assert parts == everything[: len(parts)]
    assert limit == 1 or len(parts) == len(everything)


def test_what_comes_later_is_the_next_export(shared_server_with_events):
    client, _ = shared_server_with_events
    cursor = export(client)[-1]["sequence"]
    assert export(client, after=cursor) == []
    client.post("/interactions", json={"event_id": "later", "user_id": "l", "content_id": "barn", "type": "skip"})
    assert [line["event_id"] for line in export(client, after=cursor)] == ["later"]
    assert client.delete("/interactions/later").status_code == 204
    assert export(client, after=cursor) == []


@pytest.mark.parametrize("query", ["after=-1", "after=x", "limit=0", "after=9223372036854775808", "since=3"])
def test_bad_cursors(shared_server_with_events, query):
    assert shared_server_with_events[0].get(f"/events/export?{query}").status_code == 422
