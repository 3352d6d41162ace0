"""What is stored can always be started with: what fits is ranked, the rest is read, deleted, and reported."""

import hashlib

import numpy as np
import pytest

from bench.blocking_store import BlockingStore
from runtime.settings import Settings
from runtime.sizing import Held, size_for_what_fits
from runtime.store import ContentItem
from runtime.store.sqlite.store import SqliteStore
from tests.waiting import until

MIB = 1 << 20  # the smallest catalogue
CAPACITY = MIB // 1536


@pytest.fixture
def filled(tmp_path, bundle_path):
    """A data folder in which the catalogue has room for this many more."""
    digest = hashlib.sha256((bundle_path / "manifest.json").read_bytes()).hexdigest()

    def fill(room):
        stored(tmp_path / "data", [f"filling-{n}" for n in range(CAPACITY - room)], digest=digest)
        return tmp_path / "data"

    fill.digest = digest
    return fill


def stored(data_dir, numbers, *, digest="other", fields=b'{"text":"a barn","tags":["rustic"]}'):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((len(numbers), 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = BlockingStore(SqliteStore(data_dir))
    store.put_content([
        ContentItem(
            id=n if isinstance(n, str) else f"item-{n}", fields=fields, embedding=vector, model_version="v1",
            bundle_digest=digest, tokens=2, truncated=False,
        )
        for n, vector in zip(numbers, vectors, strict=True)
    ])  # fmt: skip
    store.close()


def matched(client):
    return client.post("/search", json={"text": "a barn", "top_k": 1}).json().get("matched", 0)


def put(client, id):
    return client.put(f"/content/{id}", json={"text": f"a barn called {id}"})


def without_room(client):
    (line,) = [line for line in client.get("/metrics").text.splitlines() if line.startswith("vows_items_without_room ")]
    return int(line.split()[1])


def test_items_of_an_older_bundle_take_room_from_the_start(start_server, filled):
    data = filled(8)
    stored(data, range(6))
    server = start_server(data, catalog_bytes=MIB)
    statuses = [put(server.client, f"new-{n}").status_code for n in range(4)]
    assert statuses == [200, 200, 507, 507]
    until(lambda: matched(server.client) == CAPACITY, server.log.read_text)
    assert server.stop() == 0
    again = start_server(data, catalog_bytes=MIB)
    assert matched(again.client) == CAPACITY
    assert without_room(again.client) == 0


def test_hidden_items_keep_their_room_so_that_they_can_come_back(start_server, filled):
    data = filled(3)
    server = start_server(data, catalog_bytes=MIB)
    assert [put(server.client, id).status_code for id in "abc"] == [200] * 3
    assert server.client.patch("/content/a", json={"hidden": True}).status_code == 200
    assert put(server.client, "d").status_code == 507
    server.stop()
    again = start_server(data, catalog_bytes=MIB)
    assert put(again.client, "d").status_code == 507
    assert again.client.patch("/content/a", json={"hidden": False}).status_code == 200
    assert matched(again.client) == CAPACITY


@pytest.mark.parametrize("kind", ["other bundle", "this bundle"])
def test_a_start_with_more_than_fits_serves_what_fits_and_says_what_does_not(start_server, filled, kind):
    data = filled(4)
    stored(data, range(10), digest=filled.digest if kind == "this bundle" else "other")
    server = start_server(data, catalog_bytes=MIB)
    client = server.client
    assert f"6 of {CAPACITY + 6} stored items are in no ranking" in server.log.read_text()
    until(lambda: matched(client) == CAPACITY, server.log.read_text)
    assert without_room(client) == 6
    assert put(client, "new").status_code == 507
    assert client.get("/content/item-9").status_code == 200
    for n in range(9, 3, -1):
        assert client.delete(f"/content/item-{n}").status_code == 204
    assert without_room(client) == 0
    assert put(client, "new").status_code == 507
    assert client.delete("/content/item-3").status_code == 204
    assert put(client, "new").status_code == 200
    assert server.stop() == 0


def test_what_memory_does_not_hold_is_left_out():
    """No size is set: 60,000 items need more than a machine of this size has."""
    held = Held(scratches=1, items=60_000)
    sizes = size_for_what_fits(Settings(), 130 * MIB, held)
    sizes.check()
    assert 0 < sizes.settings.catalog_bytes < 60_000 * 1536


def test_fields_that_cannot_be_read_keep_no_server_from_starting(start_server, tmp_path):
    server = start_server(tmp_path / "data")
    assert put(server.client, "fine").status_code == 200
    digest = server.client.get("/info").json()["models"][0]["bundle_sha256"]
    server.stop()
    stored(tmp_path / "data", [1], digest=digest, fields=b'{"tags":3')
    stored(tmp_path / "data", [2], digest=digest, fields=b"\xff")
    again = start_server(tmp_path / "data")
    assert matched(again.client) == 3
    for id in ("item-1", "item-2"):
        answer = again.client.get(f"/content/{id}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_unavailable")
        assert "store the item again" in answer.json()["error"]["message"]
    assert again.client.get("/content").status_code == 200
    assert [item["id"] for item in again.client.get("/content").json()["items"]] == ["fine"]
    assert put(again.client, "item-1").status_code == 200
    assert again.client.get("/content/item-1").status_code == 200
