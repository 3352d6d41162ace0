"""Recording what users did, and what that makes of their vector: the real server against a naive computation."""

import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

NOW = datetime.now(UTC)
STRENGTH = {"view": 1, "save": 3, "share": 5, "skip": 0}
TEXTS = {
    "int-barn": "a rustic barn with string lights",
    "int-ballroom": "a hotel ballroom with chandeliers",
    "int-beach": "a beach ceremony at sunset",
}


@pytest.fixture(scope="module")
def vectors(shared_server):
    shared_server.client.post("/content/batch", json=[{"id": id, "text": text} for id, text in TEXTS.items()])
    return {id: np.array(shared_server.client.get(f"/content/{id}").json()["embedding"]) for id in TEXTS}


def event(user, content, type, days_ago=0.0, **more):
    time = (NOW - timedelta(days=days_ago)).isoformat()
    return {"user_id": user, "content_id": content, "type": type, "timestamp": time, **more}


def naive(events, vectors):
    """Σ wᵢ·eᵢ / Σ wᵢ straight from the definition, at unit length."""
    weights = [
        STRENGTH[e["type"]] * math.exp(-0.01 * (NOW - datetime.fromisoformat(e["timestamp"])).total_seconds() / 86400)
        for e in events
    ]
    mean = sum(w * vectors[e["content_id"]] for w, e in zip(weights, events, strict=True)) / sum(weights)
    return mean / np.linalg.norm(mean)


def test_the_vector_is_the_decayed_average_in_any_order_of_arrival(shared_server, vectors):
    events = [
        event("int-ada", "int-barn", "save", 40),
        event("int-ada", "int-beach", "view", 3),
        event("int-ada", "int-ballroom", "skip", 2),
        event("int-ada", "int-barn", "share", 200),
        event("int-ada", "int-ballroom", "view", 90),
    ]
    for position, one in enumerate(events):
        shared_server.client.post("/interactions", json=one)
        state = shared_server.client.get("/user/int-ada/embedding").json()
        assert state["interaction_count"] == position + 1
        np.testing.assert_allclose(state["embedding"], naive(events[: position + 1], vectors), atol=1e-6)
    assert (state["source"], state["model_version"]) == ("history", "simple-v1")
    assert datetime.fromisoformat(state["last_updated"]) >= NOW


def test_a_repeated_event_changes_nothing_and_says_so(shared_server, vectors):
    one = event("int-bea", "int-barn", "save", event_id="int-bea-1")
    first = shared_server.client.post("/interactions", json=one).json()
    before = shared_server.client.get("/user/int-bea/embedding").json()
    again = shared_server.client.post("/interactions", json=[one, dict(reversed(one.items()))]).json()
    assert first["results"] == [{"event_id": "int-bea-1", "status": "stored"}]
    assert [result["status"] for result in again["results"]] == ["duplicate", "duplicate"]
    assert (again["stored"], again["duplicates"]) == (0, 2)
    assert shared_server.client.get("/user/int-bea/embedding").json() == before


def test_bad_events_are_rejected_one_by_one(shared_server, vectors):
    answer = shared_server.client.post(
        "/interactions",
        json=[
            event("int-cem", "int-barn", "view"),
            event("int-cem", "int-nowhere", "view", event_id="lost"),
            event("int-cem", "int-barn", "like"),
            event("int-cem", "int-barn", "view", -1),
            event("int-cem", "int-barn", "view") | {"timestamp": "2026-01-01T00:00:00"},
            event("int-cem", "int-barn", "view", context={"note": "x" * 5000}),
            event("int-cem", "int-beach", "save", duration_ms=1200, device="ios", context={"days_to_wedding": 90}),
        ],
    )
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["status"] for result in results] == ["stored", *["rejected"] * 5, "stored"]
    assert [result["error"]["field"] for result in results[1:-1]] == [
        "$[1].content_id", "$[2].type", "$[3].timestamp", "$[4].timestamp", "$[5].context",
    ]  # fmt: skip
    assert (results[1]["error"]["code"], results[1]["event_id"]) == ("unknown_content", "lost")
    assert shared_server.client.get("/user/int-cem/embedding").json()["interaction_count"] == 2


def test_new_text_for_content_moves_those_who_liked_it(shared_server, vectors):
    shared_server.client.put("/content/int-changes", json={"text": TEXTS["int-barn"]})
    shared_server.client.post("/interactions", json=event("int-dia", "int-changes", "save"))
    shared_server.client.put("/content/int-changes", json={"text": TEXTS["int-beach"]})
    state = shared_server.client.get("/user/int-dia/embedding").json()
    np.testing.assert_allclose(state["embedding"], vectors["int-beach"], atol=1e-6)
    shared_server.client.delete("/content/int-changes")
    state = shared_server.client.get("/user/int-dia/embedding").json()
    assert (state["source"], state["interaction_count"]) == ("popular", 1)


def test_what_was_acknowledged_is_there_after_a_restart(start_server, vectors):
    first = start_server()
    first.client.put("/content/a", json={"text": TEXTS["int-barn"]})
    first.client.post("/interactions", json={"user_id": "u", "content_id": "a", "type": "save", "event_id": "e"})
    before = first.client.get("/user/u/embedding").json()
    content = first.client.get("/content/a").json()
    first.process.kill()
    first.process.wait()
    second = start_server(first.data_dir)
    assert second.client.get("/user/u/embedding").json() == before
    assert second.client.get("/content/a").json() == content
    again = {"user_id": "u", "content_id": "a", "type": "save", "event_id": "e"}
    assert second.client.post("/interactions", json=again).json()["duplicates"] == 1
    assert second.stop() == 0


def test_an_event_is_undone_as_if_it_had_never_come(start_server):
    server = start_server()
    client = server.client
    for id, text in {"barn": "a rustic barn", "yacht": "a yacht at sea"}.items():
        client.put(f"/content/{id}", json={"text": text})
    act = {"user_id": "una", "content_id": "barn", "type": "save", "event_id": "u/1"}
    client.post("/interactions", json=act)
    before = client.get("/user/una/embedding").json()
    slip = {"user_id": "una", "content_id": "yacht", "type": "share", "event_id": "u/2"}
    client.post("/interactions", json=slip)
    moved = client.get("/user/una/embedding").json()
    assert moved["embedding"] != before["embedding"]
    assert client.get("/user/other/embedding").json()["source"] == "popular"
    popular = client.get("/user/other/embedding").json()["embedding"]

    assert client.delete("/interactions/u%2F2").status_code == 204
    after = client.get("/user/una/embedding").json()
    assert (after["interaction_count"], after["source"]) == (1, "history")
    assert max(abs(a - b) for a, b in zip(after["embedding"], before["embedding"], strict=True)) < 1e-6
    assert client.get("/user/other/embedding").json()["embedding"] != popular  # the yacht is popular no more
    seen = client.get("/user/una/recommendations").json()["results"]
    assert [one["id"] for one in seen] == ["yacht"]
    missing = client.delete("/interactions/u%2F2")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "unknown_interaction")

    late = client.post("/interactions", json=slip)  # a retry that comes after the undoing
    assert (late.status_code, late.json()["error"]["code"]) == (409, "event_deleted")
    among = client.post("/interactions", json=[slip, slip | {"event_id": "u/3"}]).json()
    assert [one["status"] for one in among["results"]] == ["rejected", "stored"]
    assert client.delete("/interactions/u/3").status_code == 204
    assert client.delete("/interactions/u/1").status_code == 204
    left = client.get("/user/una/embedding").json()
    assert (left["interaction_count"], left["last_updated"], left["source"]) == (0, None, "popular")


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"content_id": "int-nowhere"}, 404, "unknown_content", "$.content_id"),
        ({"content_id": "x" * 300}, 422, "invalid_request", "$.content_id"),
        ({"user_id": ""}, 422, "invalid_request", "$.user_id"),
        ({"type": "click"}, 422, "invalid_request", "$.type"),
        ({"timestamp": "2999-01-01T00:00:00Z"}, 422, "invalid_request", "$.timestamp"),
        ({"timestamp": "2026-01-01T00:00:00"}, 422, "invalid_request", "$.timestamp"),
        ({"context": {"note": "x" * 5000}}, 422, "invalid_request", "$.context"),
        ({"duration_ms": -1}, 422, "invalid_request", "$.duration_ms"),
        ({"event_id": "int-one", "type": "share"}, 409, "event_id_conflict", "$.event_id"),
        ({"event_id": "int-one", "user_id": "int-other"}, 409, "event_id_conflict", "$.event_id"),
    ],
)
def test_a_single_event_that_is_refused_is_an_error(shared_server, vectors, change, status, code, field):
    client, one = shared_server.client, event("int-eva", "int-barn", "save")
    client.post("/interactions", json=one | {"event_id": "int-one"})
    answer = client.post("/interactions", json=one | change)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (status, code, field)
    several = client.post("/interactions", json=[one | change])
    assert (several.status_code, several.json()["rejected"]) == (200, 1)
    error = several.json()["results"][0]["error"]
    assert (error["code"], error["field"]) == (code, field.replace("$", "$[0]"))


def test_a_repeated_event_id_is_a_retry_or_a_conflict_that_says_so(shared_server, vectors):
    client = shared_server.client
    saved = {"user_id": "int-fay", "content_id": "int-barn", "type": "save", "event_id": "int-fay-1"}
    assert client.post("/interactions", json=saved).json()["stored"] == 1
    assert client.post("/interactions", json=saved).json()["duplicates"] == 1  # without a time, whenever it is repeated
    shared = {"user_id": "int-gus", "content_id": "int-beach", "type": "share", "event_id": "int-fay-1"}
    answer = client.post("/interactions", json=[shared, saved, shared | {"event_id": "int-gus-1"}]).json()
    assert [one["status"] for one in answer["results"]] == ["rejected", "duplicate", "stored"]
    assert "different user_id and content_id and type" in answer["results"][0]["error"]["message"]
    assert client.get("/user/int-gus/embedding").json()["interaction_count"] == 1
    timed = event("int-fay", "int-barn", "view", 2, event_id="int-fay-2", context={"a": 1, "b": None})
    assert client.post("/interactions", json=timed).json()["stored"] == 1
    reordered = timed | {"context": {"b": None, "a": 1}}
    assert client.post("/interactions", json=reordered).json()["duplicates"] == 1
    moved = datetime.fromisoformat(timed["timestamp"]).timestamp()
    assert client.post("/interactions", json=timed | {"timestamp": moved}).json()["duplicates"] == 1
    later = timed | {"timestamp": moved + 1}
    assert "timestamp" in client.post("/interactions", json=later).json()["error"]["message"]


@pytest.mark.parametrize("shift", ["seconds", "milliseconds", "text", "offset"])
def test_times_in_other_forms_are_the_same_time(shared_server, vectors, shift):
    at = datetime(2026, 1, 31, 10, 0, 0, 250_000, UTC)
    written = {
        "seconds": at.timestamp(),
        "milliseconds": round(at.timestamp() * 1000),
        "text": str(at.timestamp()),
        "offset": "2026-01-31 12:00:00.25+0200",
    }[shift]
    one = event("int-times", "int-barn", "view", event_id=f"int-{shift}") | {"timestamp": written}
    assert shared_server.client.post("/interactions", json=one).json()["stored"] == 1
    lines = shared_server.client.get("/events/export").text.splitlines()
    found = next(stored for stored in map(json.loads, lines) if stored["event_id"] == f"int-{shift}")
    assert datetime.fromisoformat(found["timestamp"]) == at
