"""What clients write for "not given", for ids and for answers sent back is taken as it is meant."""

from typing import Annotated

import msgspec
import pytest

from runtime.api.endpoints import ENDPOINTS
from runtime.http.ids import Id
from runtime.http.lenient import mended, mender


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    id: Id
    note: str = "-"


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    key: Id
    many: Annotated[list[Id | Inner], msgspec.Meta(max_length=5)] = []
    one: Inner | None = None
    free: dict[str, int | None] = {}
    number: int | Id = 0
    vector: list[float] = []
    size: int | None = None
    time: int | float | str = 0


decode = msgspec.json.Decoder(Outer).decode


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (b'{"key":7}', b'{"key":"7"}'),
        (b'{"key":"a","many":null,"one":null}', b'{"key":"a"}'),
        (b'{"key":"a","many":[1,"2",{"id":3,"note":null}]}', b'{"key":"a","many":["1","2",{"id":"3"}]}'),
        (b'{"key":"a","one":{"id":-1},"number":null}', b'{"key":"a","one":{"id":"-1"}}'),
        (b'{"key":"a","number":3.0,"size":-2e1}', b'{"key":"a","number":3,"size":-20}'),
    ],
)
def test_what_is_clear_is_put_in_its_place(given, meant):
    better = mended(decode, given)
    assert better == meant
    decode(better)
    assert mended(decode, better) is None


@pytest.mark.parametrize(
    "given",
    [b'{"key":null}', b'{"key":true}', b'{"key":1.5}', b'{"key":"a","free":{"x":null}}', b'{"many":[null],"key":"a"}',
     b'{"key":"a","vector":[null]}', b'{"key":"a","number":3}',
     b'{"key":"a","size":2.5}', b'{"key":"a","size":1e30}', b'{"key":"a","size":true}',
     b'{"key":"a","time":3.0}', b"[", b"null", b"[" * 5_000],
)  # fmt: skip
def test_what_is_not_clear_is_left(given):
    assert mended(decode, given) is None


def test_lists_of_numbers_are_not_searched():
    assert mender(list[float]) is None
    assert mender(dict[str, int | None]) is None


# Of each endpoint with a body: one that works, and paths for those that have an id in theirs.
TEXT = {"title": "Barn", "text": "a barn"}
CONTENT = {"id": "lenient", **TEXT}
BODIES = {
    "POST /embed": TEXT,
    "POST /embed/batch": {"items": [TEXT]},
    "PUT /content/{id}": TEXT,
    "PATCH /content/{id}": {"hidden": False},
    "POST /content/batch": [CONTENT],
    "POST /interactions": {"user_id": "lenient", "content_id": "lenient", "type": "view"},
    "PUT /user/{id}/preferences": {"preferences": ["rustic"]},
    "POST /rank": {"user_id": "lenient", "candidates": [{"id": "lenient"}]},
    "POST /user/{id}/next-action": {"candidates": [{"id": "lenient"}]},
    "POST /search": {"text": "a barn", "filters": {}},
    "POST /v1/embeddings": {"input": "a barn", "model": "sentence-bert-v1"},
    "POST /events/import": [{
        "kind": "exposure", "ranking_id": "lenient", "user_id": "lenient", "experiment": "lenient", "period": 1,
        "arm": "a", "model_version": "m", "timestamp": "2026-01-01T00:00:00Z", "items": [{"id": "a", "propensity": 1}],
    }],
}  # fmt: skip
LINES = {"content-type": "application/x-ndjson"}


def optional_fields(kind, path=()):
    """The paths of all optional fields of a body's type, those of its lists' first items included."""
    kind = msgspec.inspect.type_info(kind) if not isinstance(kind, msgspec.inspect.Type) else kind
    while isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    if isinstance(kind, msgspec.inspect.UnionType):
        for member in kind.types:
            yield from optional_fields(member, path)
    elif isinstance(kind, msgspec.inspect.ListType):
        yield from optional_fields(kind.item_type, (*path, 0))
    elif isinstance(kind, msgspec.inspect.StructType):
        for field in kind.fields:
            if not field.required:
                yield (*path, field.encode_name)
            yield from optional_fields(field.type, (*path, field.encode_name))


def with_null(body, path):
    """A copy of the body with null at a path; None where the body has no such place."""
    if not path:
        return None
    at, *rest = path
    if isinstance(at, int) != isinstance(body, list) or not isinstance(body, (list, dict)):
        return None
    copy = list(body) if isinstance(body, list) else dict(body)
    if rest:
        if isinstance(at, str) and at not in copy:
            return None
        inner = with_null(copy[at], rest)
        if inner is None:
            return None
        copy[at] = inner
    else:
        copy[at] = None
    return copy


ENDPOINTS_WITH_BODIES = {f"{e.method} {e.path.replace(':path', '')}": e for e in ENDPOINTS if e.request is not None}
CASES = [
    (name, path)
    for name, body in BODIES.items()
    for path in dict.fromkeys(optional_fields(ENDPOINTS_WITH_BODIES[name].request))
    if with_null(body, path) is not None and (name, path) != ("POST /rank", ("user_id",))  # one of two is required
]


def test_there_is_a_body_for_every_endpoint():
    assert {
        name for name in ENDPOINTS_WITH_BODIES if not name.startswith(("POST /experiments", "PUT /experiments"))
    } <= set(BODIES)
    assert len(CASES) > 60


@pytest.mark.parametrize(
    ("name", "path"), CASES, ids=lambda case: case if isinstance(case, str) else ".".join(map(str, case))
)
def test_null_is_as_if_it_were_not_there(shared_server, name, path):
    client, (method, address) = shared_server.client, name.split(" ")
    client.put("/content/lenient", json={"text": "a barn"})
    address = address.replace("{id}", "lenient")
    body = with_null(BODIES[name], path)
    expected = client.request(method, address, json=BODIES[name])
    answer = client.request(method, address, json=body)
    assert answer.status_code == expected.status_code, answer.text
    if isinstance(body, dict) and "filters" not in path:  # one object a line, and an array of objects, likewise
        for form, headers in ((f"[{msgspec.json.encode(body).decode()}]", {}), (msgspec.json.encode(body), LINES)):
            if name == "POST /interactions":
                found = client.post(address, content=form, headers={"content-type": "application/json"} | headers)
                assert found.json()["stored"] == 1, found.text


@pytest.mark.parametrize("field", ["tags", "images", "title", "type", "hidden", "embedding"])
def test_null_in_lines_and_streams(shared_server, field):
    line = msgspec.json.encode({"id": "lenient-line", "text": "a barn", field: None})
    for accept in ("*/*", "application/x-ndjson"):
        answer = shared_server.client.post("/content/batch", content=line, headers=LINES | {"accept": accept})
        assert '"rejected":0' in answer.text


@pytest.mark.parametrize("field", ["user_id", "content_id", "type"])
def test_null_in_a_required_field_is_refused(shared_server, field):
    body = BODIES["POST /interactions"] | {field: None}
    answer = shared_server.client.post("/interactions", json=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, f"$.{field}")


def test_numbers_are_ids_everywhere(start_server):
    client = start_server().client
    assert client.put("/content/1", json={"text": "a barn", "id": 1}).status_code == 200
    assert (
        client.post("/content/batch", json=[{"id": 2, "text": "a hall"}, {"id": 3, "text": "x"}]).json()["stored"] == 2
    )
    event = {"user_id": 42, "content_id": 1, "type": "save", "event_id": 9007199254740993}
    assert client.post("/interactions", json=event).json()["results"][0]["event_id"] == "9007199254740993"
    assert client.post("/interactions", json=[event]).json()["duplicates"] == 1
    ranked = client.post("/rank", json={"user_id": 42, "candidates": [2, "1", {"id": 3}]}).json()
    assert {one["id"] for one in ranked["ranked"]} == {"1", "2", "3"}
    assert client.post("/user/42/next-action", json={"candidates": [1, 2]}).json()["unknown"] == []
    assert client.put("/user/42/preferences", json={"preferences": ["rustic"], "user_id": 42}).status_code == 200
    assert client.delete("/interactions/9007199254740993").status_code == 204
    assert client.delete("/user/42").json()["deleted"]["preferences"] == 1


@pytest.mark.parametrize("id", [1.5, True, False, [], {}])
def test_other_values_are_no_ids(shared_server, id):
    answer = shared_server.client.post("/interactions", json=BODIES["POST /interactions"] | {"user_id": id})
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "$.user_id")


def test_a_whole_number_may_have_a_decimal_point(shared_server):
    """As some encoders write every number: in JSON, and in the schema of the documentation, 2.0 is an integer."""
    client = shared_server.client
    client.put("/content/lenient", json=TEXT)
    event = {"user_id": "lenient", "content_id": "lenient", "type": "view", "duration_ms": 12.0}
    assert client.post("/interactions", json=event).status_code == 200
    assert client.post("/interactions", json=event | {"duration_ms": 12.5}).status_code == 422
    ranking = {"user_id": "lenient", "candidates": ["lenient"], "top_k": 1.0}
    assert len(client.post("/rank", json=ranking).json()["ranked"]) == 1


def test_a_boolean_in_a_query_says_what_it_can_be(shared_server):
    for path in ("/user/lenient/style?dislikes=perhaps", "/user/lenient/recommendations?exclude_seen=maybe"):
        error = shared_server.client.get(path).json()["error"]
        assert error["message"].startswith("Expected true or false")


REFUSED = [
    b'"text":3',
    b'"text":"a \\ud83d b"',
    b'"text":"\xff"',
    b'"text":"a","tags":[null]',
    b'"text":" "',
    b'"oops":1',
]


@pytest.mark.parametrize("fault", REFUSED, ids=repr)
def test_a_refused_item_is_named(shared_server, fault):
    """By its id, in an array and in lines: its place says nothing to who reads the log of an import."""
    item, event = b'{"id":"named",%b}' % fault, b'{"event_id":7,"user_id":"u",%b}' % fault
    for path, bad, field in (("/content/batch", item, "id"), ("/interactions", event, "event_id")):
        wanted = "named" if field == "id" else "7"
        for body, headers in ((b"[%b]" % bad, {"content-type": "application/json"}), (bad + b"\n", LINES)):
            (result,) = shared_server.client.post(path, content=body, headers=headers).json()["results"]
            assert (result[field], result["status"]) == (wanted, "rejected"), result
