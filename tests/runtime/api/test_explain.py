"""Which interactions made a ranking."""

from datetime import UTC, datetime, timedelta

import pytest

TEXTS = {
    "ex-barn": "a rustic barn with hay bales",
    "ex-farm": "a country farmhouse with wildflowers",
    "ex-yacht": "a luxury yacht reception at sea",
    "ex-spa": "a marble spa with a pool",
}


@pytest.fixture(scope="module")
def history(shared_server):
    for id, text in TEXTS.items():
        shared_server.client.put(f"/content/{id}", json={"text": text})
    now = datetime.now(UTC)
    events = [
        ("ex-1", "ex-yacht", "share", now - timedelta(days=400)),
        ("ex-2", "ex-barn", "view", now - timedelta(days=2)),
        ("ex-3", "ex-barn", "save", now - timedelta(days=1)),
        ("ex-4", "ex-spa", "skip", now),
        ("ex-5", "ex-yacht", "view", now - timedelta(days=300)),
    ]
    body = [
        {"event_id": id, "user_id": "exa", "content_id": content, "type": type, "timestamp": time.isoformat()}
        for id, content, type, time in events
    ]
    assert shared_server.client.post("/interactions", json=body).json()["stored"] == 5
    return shared_server


def explain(server, candidates, user="exa", **more):
    body = {"user_id": user, "candidates": candidates, **more}
    answer = server.client.post("/rank", params={"explain": "true"}, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_interactions_that_contributed_most_are_named(history):
    answer = explain(history, ["ex-farm", "ex-yacht", "nowhere", "ex-barn"])
    assert [one["id"] for one in answer["explanations"]] == [one["id"] for one in answer["ranked"]]
    named = {one["id"]: [past["event_id"] for past in one["interactions"]] for one in answer["explanations"]}
    assert named["ex-barn"][:2] == ["ex-3", "ex-2"]
    assert named["ex-farm"][:2] == ["ex-3", "ex-2"]
    assert all("ex-4" not in events for events in named.values())  # a skip moves nothing
    first = next(one for one in answer["explanations"] if one["id"] == "ex-barn")["interactions"][0]
    assert (first["content_id"], first["type"]) == ("ex-barn", "save")
    assert datetime.fromisoformat(first["timestamp"]) < datetime.now(UTC)


def test_contributions_add_up_to_the_score(history):
    for content in ("ex-barn", "ex-spa"):
        event = {"user_id": "exb", "content_id": content, "type": "view"}
        history.client.post("/interactions", json=event)
    answer = explain(history, list(TEXTS), user="exb", model="simple")
    for score, explanation in zip(answer["ranked"], answer["explanations"], strict=True):
        total = sum(past["contribution"] for past in explanation["interactions"])
        if len(explanation["interactions"]) == 2:  # none was negative
            assert total == pytest.approx(score["score"], abs=1e-5)


def test_it_changes_nothing_else_and_is_off_by_default(history):
    body = {"user_id": "exa", "candidates": list(TEXTS), "top_k": 2, "model": "simple"}
    plain = history.client.post("/rank", json=body).json()
    assert "explanations" not in plain
    explained = explain(history, list(TEXTS), top_k=2, model="simple")
    assert len(explained.pop("explanations")) == 2
    assert explained == plain


def test_deleted_content_is_not_named(history):
    client = history.client
    client.put("/content/ex-gone", json={"text": "a rustic barn with hay"})
    event = {"user_id": "exc", "content_id": "ex-gone", "type": "share", "event_id": "ex-gone-1"}
    client.post("/interactions", json=event)
    client.post("/interactions", json={"user_id": "exc", "content_id": "ex-spa", "type": "view"})
    assert explain(history, ["ex-barn"], user="exc")["explanations"][0]["interactions"][0]["event_id"] == "ex-gone-1"
    client.delete("/content/ex-gone")
    left = explain(history, ["ex-barn"], user="exc")["explanations"][0]["interactions"]
    assert {past["content_id"] for past in left} == {"ex-spa"}


def test_without_a_history_there_is_nothing_to_name(history):
    answer = explain(history, list(TEXTS), user="nobody-yet")
    assert answer["source"] == "popular"
    assert [one["interactions"] for one in answer["explanations"]] == [[]] * len(TEXTS)
    vector = {"embedding": [1.0] * 384, "candidates": ["ex-barn"]}
    refused = history.client.post("/rank?explain=true", json=vector)
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "explain")


def test_a_long_history_and_many_candidates(history):
    events = [{"user_id": "exl", "content_id": "ex-spa", "type": "view"} for _ in range(700)]
    old = datetime(2020, 1, 1, tzinfo=UTC).isoformat()
    events[0] |= {"content_id": "ex-yacht", "type": "share", "event_id": "ex-long"}
    events[1] |= {"timestamp": old}
    assert history.client.post("/interactions", json=events).json()["stored"] == 700
    answer = explain(history, ["ex-yacht", *["ex-farm"] * 1999], user="exl")
    assert len(answer["explanations"]) == 2000
    yacht = next(one for one in answer["explanations"] if one["id"] == "ex-yacht")
    assert yacht["interactions"][0]["event_id"] == "ex-long"
