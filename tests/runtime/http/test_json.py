"""JSON as chunkers, editors and other systems write it: read where it is clear, else refused with what is wrong."""

import gzip
import json
import zlib

import pytest

from runtime.http.api_keys import entry, make_key

BOM = b"\xef\xbb\xbf"
ITEM = {"id": "json-a", "text": "a barn"}
LINES = {"content-type": "application/x-ndjson"}


def post(server, path, body, **headers):
    headers = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return server.client.post(path, content=body, headers=headers)


def error(response, status, code):
    assert response.status_code == status, response.text
    found = response.json()["error"]
    assert found["code"] == code
    return found


BODIES = {
    "/embed": {"text": "a barn"},
    "/embed/batch": {"items": [{"text": "a barn"}]},
    "/v1/embeddings": {"model": "sentence-bert-v1", "input": "a barn"},
    "/content/batch": [ITEM],
    "/interactions": [{"user_id": "u", "content_id": "json-a", "type": "view"}],
    "/rank": {"user_id": "u", "candidates": ["json-a"]},
}


@pytest.mark.parametrize(("path", "value"), BODIES.items())
def test_a_byte_order_mark_is_skipped(shared_server, path, value):
    assert post(shared_server, path, BOM + json.dumps(value).encode()).status_code == 200


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
@pytest.mark.parametrize(("path", "value"), BODIES.items())
def test_other_unicode_is_named(shared_server, path, value, coding):
    found = error(post(shared_server, path, json.dumps(value).encode(coding)), 415, "unsupported_charset")
    assert "UTF-16" in found["message"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("accept", ["*/*", "application/x-ndjson"])
def test_marks_within_lines(shared_server, accept, end):
    """Files that were made on Windows, and joined."""
    body = end.join(BOM + json.dumps({"id": f"mark-{n}", "text": "a barn"}).encode() for n in range(3)) + end
    response = shared_server.client.post("/content/batch", content=body, headers=LINES | {"accept": accept})
    assert b'"rejected":0' in response.content
    assert shared_server.client.get("/content/mark-2").status_code == 200
    for coding in ("utf-16", "utf-16-le"):
        body = json.dumps(ITEM).encode(coding)
        response = shared_server.client.post("/content/batch", content=body, headers=LINES | {"accept": accept})
        error(response, 415, "unsupported_charset")


CODINGS = {"gzip": gzip.compress, "deflate": zlib.compress, "br": bytes, "zstd": bytes, "x-unheard-of": bytes}


@pytest.mark.parametrize("accept", ["*/*", "application/x-ndjson"])
@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(("coding", "encode"), CODINGS.items())
def test_a_compressed_body_is_an_error_that_names_its_encoding(shared_server, path, coding, encode, accept):
    body = encode(json.dumps(BODIES[path]).encode())
    media = "application/x-ndjson" if path == "/content/batch" else JSON
    response = post(shared_server, path, body, content_encoding=coding.upper(), accept=accept, content_type=media)
    found = error(response, 415, "unsupported_content_encoding")
    assert repr(coding) in found["message"]
    assert response.headers["accept-encoding"] == "identity"


JSON = "application/json"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("application/json; charset=utf-8", 200),
        ('Application/JSON;charset="UTF-8"', 200),
        ("application/json; charset=utf8; profile=x", 200),
        ("application/json; charset=us-ascii", 200),
        ("application/json;", 200),
        ("application/json; charset=iso-8859-1", 415),
        ("application/json; charset=windows-1252", 415),
        ('application/json; a=b; CharSet="utf-16"', 415),
        ("application/json; charset=", 415),
    ],
)
def test_character_sets(shared_server, given, status):
    response = post(shared_server, "/embed", b'{"text":"a barn"}', content_type=given)
    assert response.status_code == status
    if status == 415:
        error(response, 415, "unsupported_charset")


def test_no_coding_is_a_coding(shared_server):
    assert post(shared_server, "/embed", b'{"text":"a"}', content_encoding="identity").status_code == 200


@pytest.mark.parametrize(
    "name", ["x-ndjson", "ndjson", "jsonl", "x-jsonlines", "jsonlines", "NDJSON; charset=utf-8", "json-lines"]
)
@pytest.mark.parametrize("accept", ["*/*", "application/ndjson", "application/jsonl; q=1, */*", "application/x-ndjson"])
def test_the_names_of_one_document_a_line(shared_server, name, accept):
    headers = {"content-type": f"application/{name}", "accept": accept}
    body = b'{"id":"named","text":"a barn"}\n'
    response = shared_server.client.post("/content/batch", content=body, headers=headers)
    assert response.status_code == 200, response.text
    assert ('"event":"done"' in response.text) == (accept != "*/*")


HALVES = {
    "a first half": (b"a \\ud83d b", "\\ud83d"),
    "a second half": (b"a \\udc00 b", "\\udc00"),
    "the wrong way round": (b"\\ude00\\ud83d", "\\ude00"),
    "two first halves": (b"\\uD83D\\uD83D\\uDE00", "\\uD83D"),
    "before another escape": (b"\\ud83d\\n", "\\ud83d"),
    "at the end": (b"cut \\ud83d", "\\ud83d"),
    "after an escaped backslash": (b"\\\\\\ud83d", "\\ud83d"),
    "after a pair": (b"\\ud83d\\ude00\\ud83d", "\\ud83d"),
}


@pytest.mark.parametrize(("text", "half"), HALVES.values(), ids=HALVES)
def test_half_a_surrogate_pair_is_named(shared_server, text, half):
    for path, body, where in [
        ("/embed", b'{"title":"x","text":"%s"}', "$.text"),
        ("/embed/batch", b'{"items":[{"text":"a"},{"text":"b"},{"text":"%s"}]}', "$.items[2].text"),
        ("/v1/embeddings", b'{"model":"sentence-bert-v1","input":["a, b","%s"]}', "$.input[1]"),
        ("/interactions", b'{"user_id":"%s","content_id":"a","type":"view"}', "$.user_id"),
        ("/rank", b'{"user_id":"u","candidates":["a",{"id":"%s"}]}', "$.candidates[1].id"),
    ]:
        refusal = post(shared_server, path, body % text)
        assert refusal.status_code in (400, 422)  # as OpenAI has it, and as others
        found = refusal.json()["error"]
        assert half.lower() in found["message"]
        assert found.get("field", found.get("param")) in (where, where.removeprefix("$."))


@pytest.mark.parametrize(("text", "half"), HALVES.values(), ids=HALVES)
def test_half_a_pair_takes_its_item_alone(shared_server, text, half):
    items = [b'{"id":"half-%d","text":"a barn, with \\"lights\\" \\ud83d\\ude00 \\\\ud83d"}' % n for n in range(4)]
    items[2] = b'{"id":"half-bad","title":"x","text":"%s"}' % text
    for body, headers in ((b"[" + b" , ".join(items) + b"]", {}), (b"\n".join(items), LINES)):
        response = shared_server.client.post("/content/batch", content=body, headers={"content-type": JSON, **headers})
        results = response.json()["results"]
        assert [result["status"] == "rejected" for result in results] == [False, False, True, False]
        assert (results[2]["error"]["code"], results[2]["error"]["field"]) == ("invalid_request", "$[2].text")
        assert half.lower() in results[2]["error"]["message"]
    events = [b'{"user_id":"half","content_id":"half-1","type":"view"}'] * 2
    events.insert(1, b'{"user_id":"half","content_id":"half-1","type":"view","device":"%s"}' % text)
    body = post(shared_server, "/interactions", b"[" + b",".join(events) + b"]").json()
    assert (body["stored"], body["rejected"], body["results"][1]["error"]["field"]) == (2, 1, "$[1].device")


def test_bytes_that_are_not_utf8_are_named(shared_server):
    found = error(post(shared_server, "/embed", b'{"title":"x","text":"caf\xe9"}'), 400, "malformed_json")
    assert (found["field"], "0xe9" in found["message"]) == ("$.text", True)


ROW = 'oak barn, "rustic", 120 guests, 51.5, -0.1, yes, no, maybe, {a, [b, c]}\n'


def test_commas_and_quotes_in_text_are_text(shared_server):
    """230 chunks of CSV: 136,000 commas and 31,000 quotes in 232 values."""
    chunk = ROW * 70
    assert chunk.count(",") * 230 > 131_072
    body = {"model": "sentence-bert-v1", "input": [chunk] * 230}
    assert shared_server.client.post("/v1/embeddings", json=body).status_code == 200
    texts = [{"text": ROW * 60 + str(n)} for n in range(200)]
    assert shared_server.client.post("/embed/batch", json={"items": texts}).status_code == 200
    texts = [{"id": f"csv-{n}", "text": '"' * 3_000 + "," * 3_000} for n in range(60)]
    assert shared_server.client.post("/content/batch", json=texts).json()["rejected"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"text":' + b"1," * 200_000 + b"1}",
        b"[" + b'"a",' * 150_000 + b'"a"]',
        b'{"' + b'":1,"' * 140_000 + b'":1}',
        b'{"text":"' + b"," * 500_000 + b'","x":[' + b"1," * 200_000 + b"1]}",
        b'["\\"",' * 150_000 + b"1]",
    ],
    ids=["numbers", "strings", "names", "after text", "escapes"],
)
def test_values_outside_text_are_still_bounded(shared_server, body):
    error(post(shared_server, "/embed", body), 413, "too_many_values")


@pytest.mark.parametrize("body", [b'"' + b'\\"' * 1_500_000, b'{"a' + b"," * 3_000_000, b'"\\' * 1_500_000])
def test_text_without_an_end_is_refused(shared_server, body):
    """Within the client's timeout: a search that starts again at each character would take hours."""
    assert post(shared_server, "/embed", body).status_code in (400, 413)


ENUMERATIONS = [
    ("/interactions", {"user_id": "u", "content_id": "c", "type": "click"}, "view, save, share, skip"),
    ("/v1/embeddings", {"model": "sentence-bert-v1", "input": "a", "encoding_format": "hex"}, "base64, float"),
]


@pytest.mark.parametrize(("path", "value", "allowed"), ENUMERATIONS)
def test_an_enumeration_says_what_is_allowed(shared_server, path, value, allowed):
    message = shared_server.client.post(path, json=value).json()["error"]["message"]
    listed = message.split("is not one of ")[1].split(". This works")[0]
    assert set(listed.split(", ")) == set(allowed.split(", "))


def test_in_queries_and_in_batches_too(shared_server):
    found = shared_server.client.get("/content", params={"encoding_format": "hex"}).json()["error"]
    assert (found["field"], "'hex' is not one of" in found["message"]) == ("encoding_format", True)
    events = [{"user_id": "u", "content_id": "c", "type": "click"}, {"user_id": "u", "content_id": "c", "type": 3}]
    results = shared_server.client.post("/interactions", json=events).json()["results"]
    assert "'click' is not one of view, save, share, skip" in results[0]["error"]["message"]
    assert results[0]["error"]["field"] == "$[0].type"


def test_everything_that_is_wrong_is_in_one_message_with_an_example(shared_server):
    event = {"user_id": 3.5, "content": "c", "type": "click", "weight": 2, "duration_ms": -1}
    found = error(shared_server.client.post("/interactions", json=event), 422, "invalid_request")
    for said in ("`content`", "did you mean content_id?", "`weight`", "$.type", "$.duration_ms", "`content_id`",
                 "$.user_id", "This works: {"):  # fmt: skip
        assert said in found["message"]
    works = json.loads(found["message"].split("This works: ")[1])
    assert shared_server.client.post("/interactions", json=[works]).status_code == 200
    found = shared_server.client.post("/embed", json={"txt": "a", "titel": "b"}).json()["error"]
    assert "`txt`" in found["message"]
    assert "did you mean title?" in found["message"]
    found = shared_server.client.get("/content", params={"limit": "many", "page": 3, "after": -1}).json()["error"]
    for said in ("limit", "`page`", "after"):
        assert said in found["message"]


def test_no_message_is_long(shared_server):
    for path, value in {
        "/embed": {f"unknown{n}": n for n in range(5_000)},
        "/interactions": {"x" * 100_000: 1},
        "/rank": {"user_id": "u", "candidates": [{"id": 1, "x": 2}] * 2_000},
        "/embed/batch": {"items": [{"text": n} for n in range(200)]},
    }.items():
        response = shared_server.client.post(path, json=value)
        assert response.status_code == 422
        assert len(response.content) < 4_000


def test_a_key_is_required_before_anything_is_explained(start_server):
    server = start_server(api_keys=entry("app", "read", make_key()))
    for body in (BOM, b"\xff\xfea\0", b'{"x":1}'):
        assert post(server, "/embed", body, content_encoding="gzip").status_code == 401
