"""POST /embed and /embed/batch, over real HTTP against the real model."""

import threading

import httpx
import numpy as np

from tests.waiting import WAIT_S

OCTETS = {"accept": "application/octet-stream"}


def test_the_answer(shared_server):
    body = {"text": "wildflower bouquet", "tags": ["boho", "florist"], "images": ["https://x/1.jpg"]}
    answer = shared_server.client.post("/embed", json={"type": "content", **body}).json()
    assert len(answer["embedding"]) == 384
    assert abs(np.linalg.norm(answer["embedding"]) - 1) < 1e-6
    assert answer["model_version"] == "sentence-bert-v1"
    assert answer["latency_ms"] > 0
    assert answer["tokens"] == 10  # [CLS] wild ##flower bouquet bo ##ho fl ##ori ##st [SEP]
    assert (answer["truncated"], answer["used"], answer["ignored"]) == (False, ["text", "tags"], ["images"])


def test_which_text_is_embedded(shared_server):
    def embed(**fields):
        return shared_server.client.post("/embed", json=fields).json()

    full = embed(title="Oak Barn", description="A barn.", vendor_name="Oak Farm", tags=["rustic", "barn"])
    assert full["embedding"] == embed(text="Oak Barn A barn. Oak Farm rustic barn")["embedding"]
    assert full["used"] == ["title", "description", "vendor_name", "tags"]
    both = embed(title="Oak Barn", text="More.", vendor_name="Oak Farm", tags=["rustic"])
    assert both["embedding"] == embed(text="Oak Barn Oak Farm More. rustic")["embedding"]
    only_text = embed(text="More.", vendor_name="Oak Farm", title="  ", description="")
    assert only_text["embedding"] == embed(text="More. Oak Farm")["embedding"]
    assert only_text["used"] == ["text", "vendor_name"]


def test_truncation_is_never_silent(shared_server):
    long = shared_server.client.post("/embed", json={"text": "garden " * 300}).json()
    cut = shared_server.client.post("/embed", json={"text": "garden " * 254}).json()
    assert (long["truncated"], long["tokens"]) == (True, 302)
    assert (cut["truncated"], cut["tokens"]) == (False, 256)
    assert long["embedding"] == cut["embedding"]


def test_same_text_same_vector_alone_in_batches_under_load_and_after_a_restart(start_server):
    """Every comparison is of bytes. Without a cache, so that each vector is computed anew."""
    server = start_server(cache_bytes=0)
    texts = [f"venue number {n} " + "with a view " * (n % 60) for n in range(256)]
    alone = [server.client.post("/embed", json={"text": text}, headers=OCTETS).content for text in texts]
    assert len(set(alone)) > 250
    stop = threading.Event()

    def hammer():
        with httpx.Client(base_url=server.url, timeout=WAIT_S) as client:
            for _ in range(500):
                if stop.is_set():
                    return
                client.post("/embed", json={"text": "noise from another client"})

    others = [threading.Thread(target=hammer) for _ in range(3)]
    for other in others:
        other.start()
    try:
        for size in (2, 7, 64, 256):
            for start in range(0, min(len(texts), 8 * size), size):
                items = [{"text": text} for text in texts[start : start + size]]
                rows = server.client.post("/embed/batch", json={"items": items}, headers=OCTETS).content
                assert rows == b"".join(alone[start : start + size])
    finally:
        stop.set()
        for other in others:
            other.join()
    assert server.stop() == 0
    again = start_server(server.data_dir, threads=1)
    assert [again.client.post("/embed", json={"text": text}, headers=OCTETS).content for text in texts[:64]] == alone[
        :64
    ]


def test_a_batch_reports_each_item(shared_server):
    items = [{"text": "a"}, {"title": "b", "images": ["https://x/1.jpg"]}, {"text": "word " * 400}]
    answer = shared_server.client.post("/embed/batch", json={"items": items}).json()
    assert [one["used"] for one in answer["results"]] == [["text"], ["title"], ["text"]]
    assert [one["ignored"] for one in answer["results"]] == [[], ["images"], []]
    assert [one["truncated"] for one in answer["results"]] == [False, False, True]
    assert answer["model_version"] == "sentence-bert-v1"


def test_the_largest_batch(shared_server):
    items = [{"text": "a barn " * 20}] * 256
    answer = shared_server.client.post("/embed/batch", json={"items": items})
    assert answer.status_code == 200
    assert len(answer.json()["results"]) == 256
