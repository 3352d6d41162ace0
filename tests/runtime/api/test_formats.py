"""Vectors as base64 and as bytes are the very numbers of the JSON list."""

from base64 import b64decode

import numpy as np
import pytest

TEXT = {"text": "a candle-lit chapel", "tags": ["stone", "intimate"]}
OCTETS = {"accept": "application/octet-stream"}


@pytest.fixture(scope="module")
def expected(shared_server):
    return np.array(shared_server.client.post("/embed", json=TEXT).json()["embedding"], np.float32)


def test_base64(shared_server, expected):
    answer = shared_server.client.post("/embed", json={**TEXT, "encoding_format": "base64"}).json()
    assert np.frombuffer(b64decode(answer["embedding"]), "<f4").tobytes() == expected.tobytes()
    assert answer["tokens"] == 9


def test_octets(shared_server, expected):
    answer = shared_server.client.post("/embed", json=TEXT, headers=OCTETS)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.content == expected.tobytes()
    assert answer.headers["x-model-version"] == "sentence-bert-v1"
    assert (answer.headers["x-tokens"], answer.headers["x-truncated"]) == ("9", "false")


def test_batches(shared_server, expected):
    body = {"items": [TEXT, {"text": "word " * 300}, TEXT]}
    rows = shared_server.client.post("/embed/batch", json=body, headers=OCTETS)
    matrix = np.frombuffer(rows.content, "<f4").reshape(3, 384)
    assert matrix[0].tobytes() == matrix[2].tobytes() == expected.tobytes()
    assert rows.headers["x-truncated"] == "false,true,false"
    coded = shared_server.client.post("/embed/batch", json={**body, "encoding_format": "base64"}).json()
    assert [b64decode(one["embedding"]) for one in coded["results"]] == [row.tobytes() for row in matrix]


def test_an_unknown_format_is_refused(shared_server):
    answer = shared_server.client.post("/embed", json={**TEXT, "encoding_format": "hex"})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "$.encoding_format")


def test_the_format_is_not_part_of_stored_content(shared_server):
    answer = shared_server.client.put("/content/format", json={**TEXT, "encoding_format": "base64"})
    assert answer.status_code == 422
