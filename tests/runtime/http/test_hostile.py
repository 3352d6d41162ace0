"""Requests made to hurt: each is a clear 4xx, and memory stays flat."""

import json
import re

import pytest

MB = 1 << 20
DEEP = 10_000_000
# The largest body that may be configured is taken, so that depth is met and not only size.
LIMITS = {"max_body_bytes": 32 * MB, "body_budget_bytes": 48 * MB}

NEARLY_ZERO = b"1e-999999999"
NUMBERS = [b"NaN", b"Infinity", b"-Infinity", b"nan", b"1e999", b"-1e999", NEARLY_ZERO, b"0x10", b"1" * 400]
SURROGATES = [b"\\ud800", b"\\udfff", b"\\udc00\\ud800", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xff"]


@pytest.fixture(scope="module")
def shared_server_with_large_bodies(start_server):
    server = start_server(**LIMITS)
    server.client.put("/content/a", json={"text": "a barn"})
    return server


def post(server, path, body, **headers):
    return server.client.post(path, content=body, headers={"content-type": "application/json", **headers})


def refused(answer, *statuses):
    assert answer.status_code in (statuses or (400, 413, 422)), answer.text
    error = answer.json()["error"]
    assert error["code"]
    assert error["message"]
    assert len(answer.content) < 2_000  # what was sent is not sent back


def nested(path):
    """10 MB of nesting at every place of a body where some endpoint could look into it."""
    arrays, objects = b"[" * DEEP, b'{"a":' * (DEEP // 5)
    closed = b"[" * (DEEP // 2) + b"]" * (DEEP // 2)
    if path == "/v1/embeddings":
        start = b'{"model":"sentence-bert-v1","input":"a","user":'
        return [
            arrays,
            objects,
            start + arrays,
            start + closed + b"}",
            b'{"model":"sentence-bert-v1","input":' + arrays,
        ]
    if path == "/interactions":
        start = b'{"user_id":"u","content_id":"a","type":"view","context":{"a":'
        return [arrays, objects, b"[" + objects, start + arrays, start + objects, start + closed + b"}}"]
    if path == "/rank":
        return [arrays, objects, b'{"embedding":[' + arrays, b'{"candidates":[{"id":"a","embedding":' + closed + b"}]}"]
    return [arrays, objects, closed, b'{"text":' + arrays, b'{"tags":' + closed + b"}", b'{"unknown":' + closed + b"}"]


@pytest.mark.parametrize(
    "path", ["/embed", "/embed/batch", "/v1/embeddings", "/interactions", "/content/batch", "/rank"]
)
def test_ten_megabytes_of_nesting(shared_server_with_large_bodies, shared_server, path):
    before = memory(shared_server_with_large_bodies)
    for body in nested(path):
        refused(post(shared_server_with_large_bodies, path, body))
    refused(post(shared_server, path, body), 413)  # by the default limits it is too large, without being looked at
    assert shared_server_with_large_bodies.client.get("/readyz").status_code == 200
    after = memory(shared_server_with_large_bodies)
    assert after["anonymous_bytes"] - before["anonymous_bytes"] < 8 * MB
    assert after["peak_rss_bytes"] - before["peak_rss_bytes"] < 3 * DEEP  # the body, as it came and in one piece


def memory(server):
    return server.client.get("/info").json()["memory"]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:14].decode())
def test_numbers_that_are_none(shared_server_with_large_bodies, number):
    vector = b"[" + b",".join([number] * 384) + b"]"
    refused(post(shared_server_with_large_bodies, "/rank", b'{"embedding":%s,"candidates":["a"]}' % vector))
    refused(
        post(
            shared_server_with_large_bodies,
            "/rank",
            b'{"user_id":"u","candidates":[{"id":"b","embedding":%s}]}' % vector,
        )
    )
    if not number.isdigit():  # more than there are is all of them
        refused(
            post(shared_server_with_large_bodies, "/rank", b'{"user_id":"u","candidates":["a"],"top_k":%s}' % number)
        )
    refused(
        post(shared_server_with_large_bodies, "/v1/embeddings", b'{"model":"sentence-bert-v1","input":[%s]}' % number)
    )
    if number != NEARLY_ZERO:  # 0.0 to every reader of doubles, and 0.0 is an integer
        event = b'{"user_id":"u","content_id":"a","type":"view","duration_ms":%s}'
        refused(post(shared_server_with_large_bodies, "/interactions", event % number))


def test_a_context_of_numbers_that_are_none(shared_server_with_large_bodies):
    event = b'{"user_id":"u","content_id":"a","type":"view","context":{"days":%s}}'
    for number in (b"NaN", b"Infinity", b"1e999"):
        refused(post(shared_server_with_large_bodies, "/interactions", event % number))


@pytest.mark.parametrize("dimensions", [0, 1, 383, 385, 768, 100_000])
def test_wrong_dimensions(shared_server_with_large_bodies, dimensions):
    vector = json.dumps([0.1] * dimensions).encode()
    refused(post(shared_server_with_large_bodies, "/rank", b'{"embedding":%s,"candidates":["a"]}' % vector), 422)
    refused(
        post(
            shared_server_with_large_bodies,
            "/rank",
            b'{"user_id":"u","candidates":["a",{"id":"b","embedding":%s}]}' % vector,
        ),
        422,
    )
    body = b'{"model":"sentence-bert-v1","input":"a","dimensions":%d}' % (dimensions if dimensions != 1 else -1)
    answer = post(shared_server_with_large_bodies, "/v1/embeddings", body)
    assert answer.status_code == (200 if dimensions == 383 else 400)


@pytest.mark.parametrize("text", SURROGATES, ids=repr)
def test_text_that_is_not_unicode(shared_server_with_large_bodies, text):
    refused(post(shared_server_with_large_bodies, "/embed", b'{"text":"%s"}' % text), 400, 422)
    refused(
        post(
            shared_server_with_large_bodies, "/v1/embeddings", b'{"model":"sentence-bert-v1","input":["a","%s"]}' % text
        ),
        400,
        422,
    )
    refused(
        post(
            shared_server_with_large_bodies, "/interactions", b'{"user_id":"%s","content_id":"a","type":"view"}' % text
        ),
        400,
        422,
    )
    refused(post(shared_server_with_large_bodies, "/rank", b'{"user_id":"%s","candidates":["a"]}' % text), 400, 422)
    refused(
        shared_server_with_large_bodies.client.put("/content/b", content=b'{"text":"a","tags":["%s"]}' % text), 400, 422
    )
    answer = post(shared_server_with_large_bodies, "/content/batch", b'[{"id":"b","text":"%s"}]' % text).json()
    assert "error" in answer or answer["rejected"] == 1


@pytest.mark.parametrize("path", ["/content/%ED%A0%80", "/user/%C0%80/embedding", "/v1/models/%FF"])
def test_paths_that_are_not_unicode(shared_server_with_large_bodies, path):
    refused(shared_server_with_large_bodies.client.get(path), 400)


LONG = {
    "/embed": [{"text": "a" * 32_769}, {"title": "a" * 1_001}, {"tags": ["a" * 201]}, {"images": ["a" * 2_049] * 65},
               {"tags": ["a"] * 65}],
    "/embed/batch": [{"items": [{"text": "a"}] * 257}, {"items": [{"text": "a" * 32_769}]}],
    "/v1/embeddings": [{"model": "m" * 257, "input": "a"}, {"model": "sentence-bert-v1", "input": ["a"] * 2_049},
                       {"model": "sentence-bert-v1", "input": "a" * 65_537},
                       {"model": "sentence-bert-v1", "input": [[101] * 257]}],
    "/interactions": [{"user_id": "u" * 257, "content_id": "a", "type": "view"},
                      {"user_id": "u", "content_id": "a", "type": "view", "device": "d" * 65},
                      {"user_id": "u", "content_id": "a", "type": "view", "context": {"a": "b" * 4_096}},
                      [{"user_id": "u", "content_id": "a", "type": "view"}] * 1_001],
    "/rank": [{"user_id": "u", "candidates": ["a"] * 2_001}, {"user_id": "u", "candidates": ["a" * 257]}],
}  # fmt: skip


@pytest.mark.parametrize(("path", "body"), [(path, body) for path, bodies in LONG.items() for body in bodies])
def test_strings_and_arrays_over_their_limits(shared_server_with_large_bodies, path, body):
    refused(post(shared_server_with_large_bodies, path, json.dumps(body).encode()), 400, 422)


def test_preferences_over_their_limits(shared_server_with_large_bodies):
    for preferences in (["a" * 501], ["a"] * 65, [], [""]):
        refused(
            shared_server_with_large_bodies.client.put("/user/u/preferences", json={"preferences": preferences}), 422
        )


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/rank", b'{"user_id":"u","candidates":[' + b",".join([b'"ab"'] * 399_000) + b"]}"),
        ("/rank", b'{"user_id":"u","candidates":[' + b",".join([b'{"id":"a","embedding":[]}'] * 100_000) + b"]}"),
        ("/embed/batch", b'{"items":[' + b",".join([b'{"text":"a"}'] * 131_000) + b"]}"),
    ],
    ids=["ids", "candidates", "items"],
)
def test_as_many_strings_as_values_are_not_decoded(start_server, path, body):
    server = start_server()
    refused(post(server, path, body[:200]))
    before = memory(server)
    answer = post(server, path, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_many_values")
    assert memory(server)["peak_rss_bytes"] - before["rss_bytes"] < 6 * MB


def test_memory_is_flat_over_a_day_of_it(shared_server_with_large_bodies):
    """The same attacks a second time, and a third, take nothing that the first had not taken."""
    bodies = [b"[" * DEEP, b'{"candidates":["a"],"embedding":[' + b"1," * 1_000_000, b'{"text":"' + b"a" * DEEP + b'"}']

    def attack():
        for body in bodies:
            for path in ("/embed", "/rank", "/interactions", "/content/batch"):
                refused(post(shared_server_with_large_bodies, path, body))

    attack()
    before = memory(shared_server_with_large_bodies)
    for _ in range(2):
        attack()
    assert memory(shared_server_with_large_bodies)["peak_rss_bytes"] - before["peak_rss_bytes"] < 4 * MB


def test_a_refusal_quotes_no_more_than_an_id(shared_server_with_large_bodies):
    answer = shared_server_with_large_bodies.client.get("/content/" + "x" * 256)
    assert answer.status_code == 404
    assert len(answer.content) < 1_000
    assert not re.search(r"File|Traceback|site-packages", answer.text)
