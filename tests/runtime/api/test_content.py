"""Content that is kept."""

import json
from datetime import UTC, datetime

BARN = {"title": "Oak Barn", "description": "A barn with hay.", "vendor_name": "Oak Farm", "tags": ["rustic"]}


def test_put_get_replace_delete(shared_server):
    url = "/content/content-1"
    created = shared_server.client.put(url, json=BARN)
    assert created.status_code == 200
    assert created.json()["status"] == "created"
    assert created.json()["used"] == ["title", "description", "vendor_name", "tags"]

    stored = shared_server.client.get(url).json()
    assert stored["embedding"] == shared_server.client.post("/embed", json=BARN).json()["embedding"]
    assert {name: stored[name] for name in BARN} == BARN
    assert stored["model_version"] == "sentence-bert-v1"
    age = datetime.now(UTC) - datetime.fromisoformat(stored["created_at"])
    assert 0 <= age.total_seconds() < 60

    assert shared_server.client.put(url, json=BARN).json()["status"] == "unchanged"
    replaced = shared_server.client.put(
        url, json={**BARN, "description": "A ballroom.", "images": ["https://x/1.jpg"]}
    ).json()
    assert (replaced["status"], replaced["ignored"]) == ("replaced", ["images"])
    again = shared_server.client.get(url).json()
    assert again["embedding"] != stored["embedding"]
    assert (again["created_at"], again["images"]) == (stored["created_at"], ["https://x/1.jpg"])

    assert shared_server.client.delete(url).status_code == 204
    assert shared_server.client.get(url).status_code == 404
    missing = shared_server.client.delete(url)
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "unknown_content")


def test_ids_are_opaque(shared_server):
    for path, id in {
        "a%2Fb%20c%3Fd": "a/b c?d",
        "batch": "batch",
        "%F0%9F%92%8D": "💍",
        "'%3B%20DROP%20TABLE%20content%3B--": "'; DROP TABLE content;--",
        "..%2f..%2fetc": "../../etc",
        "x" * 256: "x" * 256,
    }.items():
        assert shared_server.client.put(f"/content/{path}", json=BARN).json()["id"] == id
        assert shared_server.client.get(f"/content/{path}").json()["id"] == id
        ranked = shared_server.client.post("/rank", json={"embedding": [1.0] * 384, "candidates": [id]}).json()
        assert ranked["unknown"] == []
        assert shared_server.client.delete(f"/content/{path}").status_code == 204


def test_batch_reports_each_item(shared_server):
    items = [
        {"id": "batch-1", **BARN},
        {"id": "batch-2", "text": "   "},
        {"id": "batch-3", "text": 7},
        {"text": "no id"},
        {"id": "batch-1", "text": "the same id again"},
        "not an object",
        {"id": "é" * 200, "text": "long id"},
    ]
    answer = shared_server.client.post("/content/batch", json=items).json()
    statuses = [(one["id"], one["status"], one.get("error", {}).get("field")) for one in answer["results"]]
    assert statuses == [
        ("batch-1", "created", None),
        ("batch-2", "rejected", "$[1]"),
        ("batch-3", "rejected", "$[2].text"),
        (None, "rejected", "$[3]"),
        ("batch-1", "replaced", None),
        (None, "rejected", "$[5]"),
        (None, "rejected", "$[6].id"),
    ]
    assert (answer["stored"], answer["rejected"]) == (2, 5)
    assert shared_server.client.get("/content/batch-1").json()["text"] == "the same id again"


def test_batch_as_lines_and_again(shared_server):
    lines = "\n".join(json.dumps({"id": f"line-{n}", "text": f"florist number {n}"}) for n in range(300)) + "\n\n"
    headers = {"content-type": "application/x-ndjson"}
    first = shared_server.client.post("/content/batch", content=lines, headers=headers).json()
    assert (first["stored"], first["rejected"]) == (300, 0)
    assert {one["status"] for one in first["results"]} == {"created"}
    second = shared_server.client.post("/content/batch", content=lines, headers=headers).json()
    assert {one["status"] for one in second["results"]} == {"unchanged"}
    assert shared_server.client.get("/content/line-299").json()["text"] == "florist number 299"


def test_a_catalogue_that_is_full_says_so_and_what_it_held_stays(start_server):
    server = start_server(catalog_bytes=1 << 20)  # 682 vectors
    for start in range(0, 600, 300):
        items = [{"id": f"full-{n}", "text": f"item {n}"} for n in range(start, start + 300)]
        assert server.client.post("/content/batch", json=items).json()["stored"] == 300
    answer = server.client.post("/content/batch", json=[{"id": f"over-{n}", "text": f"{n}"} for n in range(200)])
    assert (answer.status_code, answer.json()["error"]["code"]) == (507, "catalog_full")
    assert server.client.put("/content/full-1", json={"text": "replacing needs no room"}).status_code == 200
    assert server.client.get("/info").json()["stored"]["content"] == 600


def test_a_hidden_item_is_in_no_answer_until_it_is_shown_again(start_server):
    server = start_server()
    client = server.client
    for id, text in {"barn": "a rustic barn", "yacht": "a yacht at sea"}.items():
        client.put(f"/content/{id}", json={"text": text, "tags": ["venue"]})
    for user in ("hana", "hugo"):
        client.post("/interactions", json={"user_id": user, "content_id": "yacht", "type": "share"})

    def answers():
        yield "search", client.post("/search", json={"text": "a boat"}).json()
        yield "filtered", client.post("/search", json={"text": "a boat", "filters": {"tags": ["venue"]}}).json()
        yield "similar", client.get("/content/barn/similar").json()
        yield "recommended", client.get("/user/hana/recommendations?exclude_seen=false").json()
        yield "ranked", client.post("/rank?explain=true", json={"user_id": "hana", "candidates": ["barn"]}).json()

    taste = client.get("/user/hana/embedding").json()["embedding"]
    assert all("yacht" in json.dumps(answer) for _, answer in answers())
    assert client.patch("/content/yacht", json={"hidden": True}).json() == {"id": "yacht", "hidden": True}
    assert [name for name, answer in answers() if "yacht" in json.dumps(answer)] == []
    ranking = client.post("/rank", json={"user_id": "hana", "candidates": ["barn", "yacht"]}).json()
    assert ranking["unknown"] == ["yacht"]
    assert client.get("/content/yacht/similar").status_code == 404
    assert client.get("/content/yacht").json()["hidden"] is True
    assert client.get("/user/hana/embedding").json()["embedding"] == taste
    popular = client.get("/user/newcomer/embedding").json()["embedding"]
    barn = client.get("/content/barn").json()["embedding"]
    assert max(abs(a - b) for a, b in zip(popular, barn, strict=True)) < 1e-6

    replaced = {"text": "a yacht in the harbour", "tags": ["venue"]}  # neither a new version nor a restart shows it
    assert client.put("/content/yacht", json=replaced).json()["status"] == "replaced"
    assert client.post("/content/batch", json=[{"id": "yacht", **replaced}]).json()["stored"] == 1
    assert [name for name, answer in answers() if "yacht" in json.dumps(answer)] == []
    server.stop()
    client = start_server(data_dir=server.data_dir).client
    assert [name for name, answer in answers() if "yacht" in json.dumps(answer)] == []

    assert client.patch("/content/yacht", json={"hidden": False}).status_code == 200
    assert all("yacht" in json.dumps(answer) for _, answer in answers())
    assert "hidden" not in client.get("/content/yacht").json()
    missing = client.patch("/content/nowhere", json={"hidden": True})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "unknown_content")
    assert client.patch("/content/yacht", json={"title": "x"}).status_code == 422
