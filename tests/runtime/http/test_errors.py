"""Bad input gets a clear 4xx in one shape, never a 500, and the server answers the next request."""

import contextlib
import json

import httpx
import pytest

from tests.raw_http import answer, connect, request

VECTOR = [1.0] + [0.0] * 383


def post(server, path, body, **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.client.post(path, content=content, headers={"content-type": "application/json", **headers})


BAD = [
    ("/embed", b"", 400, "malformed_json", "$"),
    ("/embed", b"{", 400, "malformed_json", "$"),
    ("/embed", b"\xff\xfe", 400, "malformed_json", "$"),
    ("/embed", b'{"text":"\\ud800"}', 422, "invalid_request", "$.text"),
    ("/embed", b'{"text":"\xed\xa0\x80"}', 400, "malformed_json", "$.text"),
    ("/embed", b"[" * 100_000, 422, "invalid_request", "$"),
    ("/interactions", b"[" * 100_000, 400, "malformed_json", "$"),
    ("/rank", b'{"candidates":' + b"[" * 100_000, 422, "invalid_request", "$.candidates[0]"),
    ("/embed", b'{"text":NaN}', 400, "malformed_json", "$"),
    ("/embed", b"null", 422, "invalid_request", "$"),
    ("/embed", {}, 422, "invalid_request", "$"),
    ("/embed", {"text": "   "}, 422, "invalid_request", "$"),
    ("/embed", {"text": 5}, 422, "invalid_request", "$.text"),
    ("/embed", {"text": "a", "type": "image"}, 422, "invalid_request", "$.type"),
    ("/embed", {"text": "a", "tags": ["ok", 3]}, 422, "invalid_request", "$.tags[1]"),
    ("/embed", {"text": "a", "descripton": "typo"}, 422, "invalid_request", "$"),
    ("/embed", {"text": "a" * 40_000}, 422, "invalid_request", "$.text"),
    ("/embed/batch", {"items": []}, 422, "invalid_request", "$.items"),
    ("/embed/batch", {"items": [{"text": "a"}] * 257}, 422, "invalid_request", "$.items"),
    ("/embed/batch", {"items": [{"text": "a"}, {"text": " "}]}, 422, "invalid_request", "$.items[1]"),
    ("/interactions", {"user_id": "u", "content_id": "c", "type": "like"}, 422, "invalid_request", "$.type"),
    ("/interactions", {"user_id": "", "content_id": "c", "type": "view"}, 422, "invalid_request", "$.user_id"),
    ("/interactions", {"user_id": "é" * 129, "content_id": "c", "type": "view"}, 422, "invalid_request", "$.user_id"),
    ("/interactions", [], 422, "invalid_request", "$"),
    ("/rank", {"candidates": ["a"]}, 422, "invalid_request", "$"),
    ("/rank", {"user_id": "u", "embedding": VECTOR, "candidates": ["a"]}, 422, "invalid_request", "$"),
    ("/rank", {"embedding": VECTOR[:-1], "candidates": ["a"]}, 422, "invalid_request", "$.embedding"),
    ("/rank", {"embedding": [0.0] * 384, "candidates": ["a"]}, 422, "invalid_request", "$.embedding"),
    ("/rank", {"embedding": ["x"] * 384, "candidates": ["a"]}, 422, "invalid_request", "$.embedding[0]"),
    ("/rank", {"embedding": VECTOR, "candidates": []}, 422, "invalid_request", "$.candidates"),
    ("/rank", {"embedding": VECTOR, "candidates": ["a"] * 2001}, 422, "invalid_request", "$.candidates"),
    ("/rank", {"embedding": VECTOR, "candidates": ["a", {"id": "b", "embedding": [1]}]}, 422, "invalid_request",
     "$.candidates[1].embedding"),
    ("/rank", {"embedding": VECTOR, "candidates": ["a"], "top_k": 0}, 422, "invalid_request", "$.top_k"),
    ("/content/batch", {"id": "x"}, 422, "invalid_request", "$"),
    ("/content/batch", [], 422, "invalid_request", "$"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "code", "field"), BAD, ids=range(len(BAD)))
def test_bad_bodies(shared_server, path, body, status, code, field):
    answer = post(shared_server, path, body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["code"], error.get("field")) == (code, field)
    assert error["message"]
    assert "Traceback" not in answer.text
    assert shared_server.client.get("/healthz").status_code == 200


@pytest.mark.parametrize("number", ["1e999", "-1e400"])
def test_numbers_beyond_a_float(shared_server, number):
    answer = post(shared_server, "/rank", b'{"embedding":[%s],"candidates":["a"]}' % ",".join([number] * 384).encode())
    assert answer.status_code in (400, 422), answer.text


def test_unknown_paths_and_methods(shared_server):
    answer = shared_server.client.get("/nothing/here")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_path")
    answer = shared_server.client.delete("/embed")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]


def test_other_media_types_get_an_error_that_names_what_to_send(shared_server):
    answer = shared_server.client.post(
        "/embed", content=b"text=a", headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json()["error"]["message"]


@pytest.mark.parametrize("id", ["x" * 257, "%C3%A9" * 129])
def test_long_ids(shared_server, id):
    for method, path in (("GET", f"/content/{id}"), ("GET", f"/user/{id}/embedding"), ("DELETE", f"/user/{id}")):
        answer = shared_server.client.request(method, path)
        assert (answer.status_code, answer.json()["error"]["field"]) == (422, "id")


def test_a_path_that_is_not_utf8(shared_server):
    answer = shared_server.client.get("/content/%FF")
    assert answer.status_code == 400


def test_a_body_over_the_limit_is_refused_before_it_is_read(shared_server):
    """Declared: 413 without sending a byte of it. Chunked: 413 as soon as it has grown past the limit."""
    limit = shared_server.client.get("/info").json()["limits"]["max_body_bytes"]
    with connect(shared_server) as connection:
        connection.sendall(request("POST", "/embed", length=int(limit) + 1))
        assert answer(connection)[0] == 413

    def chunks():
        for _ in range(int(limit) // 65_536 + 2):
            yield b" " * 65_536

    with contextlib.suppress(httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
        # The server may close while the client still writes; if the answer comes through, it is a 413.
        response = shared_server.client.post("/embed", content=chunks(), headers={"content-type": "application/json"})
        assert response.status_code == 413
    assert shared_server.client.get("/healthz").status_code == 200
