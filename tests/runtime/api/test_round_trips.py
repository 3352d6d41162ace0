"""What comes out goes in: answers of a server are taken by another, as they are."""

import json

import numpy as np
import pytest

LINES = {"content-type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def first(start_server):
    client = start_server().client
    items = [
        {"id": "barn", "title": "Oak Barn", "tags": ["rustic"], "images": ["https://x/1.jpg"], "category": "venue"},
        {"id": "hall/1", "text": "a ballroom with chandeliers", "vendor_name": "Grand"},
        {"id": "tent", "text": "a white tent"},
    ]
    assert client.post("/content/batch", json=items).json()["stored"] == 3
    events = [
        {"user_id": "ada", "content_id": "barn", "type": "save", "event_id": "1", "context": {"page": 3, "x": None}},
        {"user_id": "ada", "content_id": "hall/1", "type": "skip", "timestamp": "2026-01-01T10:00:00.000001Z"},
        {"user_id": "bob", "content_id": "tent", "type": "view", "duration_ms": 900, "device": "ios"},
    ]
    assert client.post("/interactions", json=events).json()["stored"] == 3
    client.put("/user/ada/preferences", json={"preferences": ["rustic barn", "meadow"]})
    return client


@pytest.fixture
def second(start_server):
    return start_server().client


def exported(client, **query):
    lines = client.get("/events/export", params=query).text.splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in ("received_at", "sequence")}
            for line in lines]  # fmt: skip


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_the_catalogue(first, second, encoding):
    page = first.get("/content", params={"encoding_format": encoding}).json()["items"]
    assert second.post("/content/batch", json=page).json()["stored"] == 3
    lines = "\n".join(map(json.dumps, page))
    for accept in ("*/*", "application/x-ndjson"):
        again = second.post("/content/batch", content=lines, headers=LINES | {"accept": accept})
        assert '"rejected":0' in again.text
    for item in page:
        alone = first.get(f"/content/{item['id']}").json()
        assert second.put(f"/content/{item['id']}", json=alone).json()["status"] == "unchanged"
        mine = second.get(f"/content/{item['id']}").json()
        assert {**mine, "created_at": 0, "updated_at": 0} == {**alone, "created_at": 0, "updated_at": 0}
        assert second.post("/embed", json=alone).json()["embedding"] == alone["embedding"]
    batch = second.post("/embed/batch", json={"items": page}).json()["results"]
    alone = [first.get(f"/content/{item['id']}").json()["embedding"] for item in page]
    np.testing.assert_array_equal([one["embedding"] for one in batch], alone)


@pytest.mark.parametrize("form", ["array", "lines", "one by one"])
def test_the_log(first, second, form):
    second.post("/content/batch", json=first.get("/content").json()["items"])
    lines = first.get("/events/export").text
    for expected in ("stored", "duplicates"):
        if form == "array":
            answer = second.post("/interactions", json=[json.loads(line) for line in lines.splitlines()]).json()
            assert answer[expected] == 3
        elif form == "lines":
            assert second.post("/interactions", content=lines, headers=LINES).json()[expected] == 3
        else:
            for line in lines.splitlines():
                assert second.post("/interactions", json=json.loads(line)).json()[expected] == 1
    assert exported(second) == exported(first)
    assert second.get("/user/ada/embedding").json()["embedding"] == first.get("/user/ada/embedding").json()["embedding"]
    assert first.post("/interactions", content=lines, headers=LINES).json()["duplicates"] == 3


def test_hidden_items_stay_hidden(first, second):
    first.patch("/content/tent", json={"hidden": True})
    item = first.get("/content/tent").json()
    assert item["hidden"] is True
    assert second.post("/content/batch", json=[item]).json()["stored"] == 1
    assert second.post("/search", json={"text": "tent"}).json()["results"] == []
    del item["hidden"]
    assert second.put("/content/tent", json=item).json()["status"] == "unchanged"
    assert second.get("/content/tent").json()["hidden"] is True
    changed = second.patch("/content/tent", json={"hidden": True}).json()
    assert second.patch("/content/tent", json=changed).json() == changed
    assert second.put("/content/tent", json=item | {"hidden": False}).json()["status"] == "replaced"
    assert [one["id"] for one in second.post("/search", json={"text": "tent"}).json()["results"]] == ["tent"]
    stream = LINES | {"accept": "application/x-ndjson"}
    second.post("/content/batch", content=json.dumps(item | {"hidden": True}), headers=stream)
    assert second.post("/search", json={"text": "tent"}).json()["results"] == []
    first.patch("/content/tent", json={"hidden": False})


def test_preferences(first, second):
    stored = first.get("/user/ada/preferences").json()
    assert (stored["user_id"], stored["preferences"]) == ("ada", ["rustic barn", "meadow"])
    assert set(stored) == {"user_id", "preferences", "model_version", "updated_at"}
    answer = second.put("/user/ada/preferences", json=stored)
    assert answer.status_code == 200
    assert second.put("/user/ada/preferences", json=answer.json()).status_code == 200
    assert second.get("/user/ada/preferences").json()["preferences"] == stored["preferences"]
    missing = second.get("/user/nobody/preferences")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "no_preferences")
    second.delete("/user/ada")
    assert second.get("/user/ada/preferences").status_code == 404


def test_results_are_candidates(first):
    found = first.post("/search", json={"text": "somewhere to dance"}).json()["results"]
    ranked = first.post("/rank", json={"user_id": "ada", "candidates": found}).json()
    assert {one["id"] for one in ranked["ranked"]} == {one["id"] for one in found}
    again = first.post("/rank", json={"user_id": "ada", "candidates": ranked["ranked"]}).json()
    assert [one["id"] for one in again["ranked"]] == [one["id"] for one in ranked["ranked"]]
    assert first.post("/user/ada/next-action", json={"candidates": found}).json()["unknown"] == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/content/barn", {"id": "other", "text": "x"}),
        ("PATCH", "/content/barn", {"id": "other", "hidden": True}),
        ("PUT", "/user/ada/preferences", {"user_id": "other", "preferences": ["x"]}),
    ],
)
def test_an_id_that_is_not_the_one_in_the_path_is_refused(first, method, path, body):
    answer = first.request(method, path, json=body)
    assert answer.status_code == 422
    assert "'other'" in answer.json()["error"]["message"]


@pytest.mark.parametrize("field", ["sequnce", "vector", "score", "created"])
def test_fields_that_no_answer_has_are_still_refused(first, field):
    assert first.post("/content/batch", json=[{"id": "x", "text": "x", field: 1}]).json()["rejected"] == 1
    event = {"user_id": "ada", "content_id": "barn", "type": "view", field: 1}
    assert first.post("/interactions", json=event).status_code == 422
