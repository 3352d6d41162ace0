"""Half of a surrogate pair: named, and only its item is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.http.surrogates import first_half, has_half, without_halves

HALF = rb'{"text":"a \ud83d b"}'
FIELD = "half of a character"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (rb'"\ud83d\ude00"', None),
        (rb'"\\ud83d"', None),
        (rb'"\\\ud83d"', ("$", r"\ud83d")),
        (rb'"\ude00\ud83d"', ("$", r"\ude00")),
        (rb'"\ud83d\ud83d\ude00"', ("$", r"\ud83d")),
        (rb'{"a":[{"b":"c"},{"b":"\udc00"}]}', ("$.a[1].b", r"\udc00")),
        (rb'{"\ud83d":1}', ("$", r"\ud83d")),
        (rb'"\ud83d', None),
    ],
)
def test_a_half_is_found_by_its_path(content, found):
    assert first_half(content) == found


@given(st.text(st.characters(exclude_categories=()) | st.sampled_from('\\"u\ud83d\ude00')))
def test_json_without_halves_has_the_same_length_and_is_sound(text):
    content = json.dumps([text, "\ud83d"]).encode()
    mended = without_halves(content)
    assert has_half(content)
    assert len(mended) == len(content)
    assert not has_half(mended)
    assert json.loads(mended)[1] == "\ufffd"


@pytest.mark.parametrize(
    ("path", "content", "field"),
    [
        ("/embed", HALF, "$.text"),
        ("/embed/batch", b'{"items":[{"text":"a"},%b]}' % HALF, "$.items[1].text"),
        ("/search", HALF, "$.text"),
        ("/v1/embeddings", rb'{"model":"sentence-bert-v1","input":["a","\ud83d"]}', "input[1]"),
    ],
)
def test_the_text_is_named(shared_server, path, content, field):
    answer = shared_server.client.post(path, content=content)
    error = answer.json()["error"]
    assert answer.status_code == (400 if path.startswith("/v1") else 422)
    assert (error.get("field") or error.get("param")) == field
    assert r"\ud83d" in error["message"]
    assert FIELD in error["message"]


@pytest.mark.parametrize("lines", [False, True])
def test_in_a_batch_its_item_alone_is_refused(shared_server, lines):
    items = [
        rb'{"id":"half-%d","text":"%b"}' % (n, text) for n, text in enumerate([b"a", rb"b \ud83d", rb"\ud83d\ude00 c"])
    ]
    content = b"\n".join(items) if lines else b"[" + b" , ".join(items) + b"]"
    media = "application/x-ndjson" if lines else "application/json"
    answer = shared_server.client.post("/content/batch", content=content, headers={"content-type": media}).json()
    assert (answer["stored"], answer["rejected"]) == (2, 1)
    error = answer["results"][1]["error"]
    assert error["field"] == "$[1].text"
    assert FIELD in error["message"]


def test_in_a_stream_its_line_alone_is_refused(shared_server):
    ndjson = {"content-type": "application/x-ndjson", "accept": "application/x-ndjson"}
    content = b'{"id":"half-0","text":"a"}\n{"id":"half-1","text":"\\udc00"}\n'
    events = [
        json.loads(line)
        for line in shared_server.client.post("/content/batch", content=content, headers=ndjson).text.splitlines()
    ]
    assert [(one["event"], one.get("line")) for one in events] == [("rejected", 2), ("done", None)]
    assert FIELD in events[0]["error"]["message"]
