"""The catalogue page by page: every item once, in order, in answers of bounded size."""

from base64 import b64decode

import numpy as np
import pytest

from runtime.api.listing import PAGE_BYTES


@pytest.fixture(scope="module")
def shared_server_with_items(start_server):
    server = start_server()
    items = [{"id": f"item-{n}", "title": f"Barn number {n}", "tags": ["venue", "rustic"]} for n in range(25)]
    assert server.client.post("/content/batch", json=items).json()["stored"] == 25
    return server


def pages(server, **query):
    after = 0
    while after is not None:
        page = server.client.get("/content", params={"after": after, **query}).json()
        yield page["items"]
        after = page["next"]


@pytest.mark.parametrize("limit", [1, 7, 25, 100])
def test_every_item_comes_once_and_in_order(shared_server_with_items, limit):
    found = list(pages(shared_server_with_items, limit=limit))
    assert [item["id"] for page in found for item in page] == [f"item-{n}" for n in range(25)]
    assert all(0 < len(page) <= limit for page in found)


def test_an_item_is_what_it_is_by_its_id(shared_server_with_items):
    (item, *_), *_ = pages(shared_server_with_items, limit=1)
    assert item == shared_server_with_items.client.get("/content/item-0").json()


def test_vectors_come_in_base64_too(shared_server_with_items):
    (plain, *_), *_ = pages(shared_server_with_items, limit=1)
    (packed, *_), *_ = pages(shared_server_with_items, limit=1, encoding_format="base64")
    vector = np.frombuffer(b64decode(packed["embedding"]), "<f4")
    assert np.array_equal(vector, np.array(plain["embedding"], np.float32))


def test_pages_of_long_items_end_early(shared_server_with_items):
    server = shared_server_with_items
    long = "a meadow " * 3_600
    items = [{"id": f"long-{n}", "text": long, "description": long} for n in range(24)]
    for item in items:
        server.client.put(f"/content/{item.pop('id')}", json=item)
    found = list(pages(server, limit=100, encoding_format="base64"))
    assert len(found) > 2
    assert max(sum(len(item.get("text", "")) for item in page) for page in found) <= PAGE_BYTES
    assert sum(map(len, found)) == 49
    for n in range(24):
        server.client.delete(f"/content/long-{n}")


def test_what_was_deleted_is_not_exported_and_the_cursor_holds(shared_server_with_items):
    first = shared_server_with_items.client.get("/content", params={"limit": 3}).json()
    shared_server_with_items.client.put("/content/passing", json={"text": "a barn for a day"})
    shared_server_with_items.client.delete("/content/passing")
    rest = shared_server_with_items.client.get("/content", params={"limit": 100, "after": first["next"]}).json()
    assert [item["id"] for item in rest["items"]] == [f"item-{n}" for n in range(3, 25)]
    assert rest["next"] is None


def test_an_empty_catalogue(start_server):
    assert start_server().client.get("/content").json() == {"items": [], "next": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "after=-1", "after=x", "limit=1&limit=2", "page=2"])
def test_bad_queries(shared_server_with_items, query):
    answer = shared_server_with_items.client.get(f"/content?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
