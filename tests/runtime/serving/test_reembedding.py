"""A server that starts with vectors of another bundle embeds them again while it serves."""

from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from bench.blocking_store import BlockingStore
from runtime.store import ContentItem, Interaction, Preferences
from runtime.store.sqlite.store import SqliteStore
from tests.conftest import Server
from tests.waiting import until

TEXTS = {f"old-{n}": f"{what} for a celebration" for n, what in enumerate(("a barn", "a yacht", "a cake") * 30)}


@pytest.fixture
def data_of_another_bundle(tmp_path: Path) -> Path:
    """Items, one of them hidden, a history and preferences, with vectors that this server's model would not make."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((len(TEXTS), 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = BlockingStore(SqliteStore(tmp_path / "data"))
    store.put_content([
        ContentItem(
            id=id, fields=f'{{"text":"{text}"}}'.encode(), embedding=vector, model_version="other-v1",
            bundle_digest="other", tokens=5, truncated=False,
        )
        for (id, text), vector in zip(TEXTS.items(), vectors, strict=True)
    ])  # fmt: skip
    store.hide_content("old-1", True)
    store.add_interactions([Interaction(event_id="1", user_id="ann", content_id="old-0", type="save", time_us=1)])
    store.put_preferences(
        "bob",
        Preferences(preferences=["a barn"], embedding=vectors[0], model_version="other-v1", bundle_digest="other"),
    )
    store.close()
    return tmp_path / "data"


def matched(client: httpx.Client) -> int:
    """Items that a search compares: those with a vector of this server's bundle."""
    return client.post("/search", json={"text": "a barn", "top_k": 1}).json()["matched"]


def test_writes_while_vectors_are_replaced_are_kept(
    start_server: Callable[..., Server], data_of_another_bundle: Path
) -> None:
    """Re-embedding read these items and users at the start; what clients do meanwhile holds."""
    client = start_server(data_dir=data_of_another_bundle).client
    assert client.delete("/user/bob").status_code == 200
    for n in range(0, 90, 3):
        assert client.put(f"/content/old-{n}", json={"text": f"a new text {n}"}).status_code == 200
        assert client.delete(f"/content/old-{n + 2}").status_code == 204
    until(lambda: matched(client) >= len(TEXTS) - 1 - 30)
    for n in range(0, 90, 3):
        assert client.get(f"/content/old-{n}").json()["text"] == f"a new text {n}"
        assert client.get(f"/content/old-{n + 2}").status_code == 404
    assert client.get("/user/bob/embedding").json()["source"] == "popular"
    assert 'vows_stored_rows{table="users"} 1' in client.get("/metrics").text


def test_one_odd_item_does_not_keep_the_others_from_being_replaced(
    start_server: Callable[..., Server], data_of_another_bundle: Path
) -> None:
    store = BlockingStore(SqliteStore(data_of_another_bundle))
    odd = [b"not json", b"[]", b'{"text":"  "}', b'{"text":3}', b"[" * 5000, b"\xff\xfe"]
    store.put_content([
        ContentItem(
            id=f"old-{n}", fields=fields, embedding=np.eye(1, 384, dtype=np.float32)[0], model_version="other-v1",
            bundle_digest="other", tokens=5, truncated=False,
        )
        for n, fields in zip(range(0, 30, 5), odd, strict=True)
    ])  # fmt: skip
    store.close()
    server = start_server(data_dir=data_of_another_bundle)
    until(lambda: matched(server.client) >= len(TEXTS) - 1 - len(odd), server.log.read_text)
    log = server.log.read_text()
    assert all(f"'old-{n}' is in no ranking" in log for n in range(0, 30, 5)), log
    assert "Traceback" not in log


def test_vectors_of_another_bundle_are_replaced(
    start_server: Callable[..., Server], data_of_another_bundle: Path
) -> None:
    server = start_server(data_dir=data_of_another_bundle)
    client = server.client
    until(lambda: matched(client) >= len(TEXTS) - 1, server.log.read_text)
    version = client.get("/info").json()["models"][0]["model_version"]
    for id in ("old-0", "old-89"):
        item = client.get(f"/content/{id}").json()
        assert item["model_version"] == version
        expected = client.post("/embed", json={"text": TEXTS[id]}).json()["embedding"]
        assert item["embedding"] == pytest.approx(expected, abs=1e-6)
    assert client.get("/content/old-1").json()["hidden"]
    ann = client.get("/user/ann/embedding").json()
    assert ann["source"] == "history"
    assert ann["embedding"] == pytest.approx(client.get("/content/old-0").json()["embedding"], abs=1e-5)
    until(lambda: client.get("/user/bob/embedding").json()["source"] == "preferences", server.log.read_text)
    expected = client.post("/embed", json={"text": "a barn"}).json()["embedding"]
    assert client.get("/user/bob/embedding").json()["embedding"] == pytest.approx(expected, abs=1e-6)
