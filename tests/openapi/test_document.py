"""What generators of clients need of the OpenAPI document, checked without them."""

import json
from pathlib import Path

import pytest

from runtime.http.api_keys import entry, make_key
from runtime.http.openapi_schemas import accepts, clean, reachable

NDJSON = "application/x-ndjson"
DOCUMENT = json.loads((Path(__file__).parents[2] / "runtime/api/openapi.json").read_text())
OPERATIONS = [(path, method, it) for path, item in DOCUMENT["paths"].items() for method, it in item.items()]


def objects(value):
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from objects(one)


def test_no_default_says_nothing_and_no_body_has_one():
    """`"default": null` makes clients of openapi-typescript demand the field, and so does every other in a body."""
    assert all(one.get("default", 0) not in (None, [], {}) for one in objects(DOCUMENT["paths"]))
    assert all("default" not in one for one in objects(DOCUMENT["components"]) if one.get("type") != "object")
    assert DOCUMENT["components"]["schemas"]["SearchRequest"]["properties"]["top_k"]["x-default"] == 10


def test_every_operation_has_what_clients_are_made_from():
    names = [it["operationId"] for _, _, it in OPERATIONS]
    assert len(set(names)) == len(names)
    known = {tag["name"] for tag in DOCUMENT["tags"]}
    assert all(tag["description"] for tag in DOCUMENT["tags"])
    for path, _, it in OPERATIONS:
        assert set(it["tags"]) <= known, path
        assert it["description"], path
        assert "\n    " not in it["description"], path
        needed = {"401", "403", "429"} if it["x-needs"] in ("metrics", "read", "write", "admin") else set()
        assert needed <= set(it["responses"]), path
        assert it["security"] == [{}, {"bearer": []}, {"header": []}] if needed else it["security"] == []
    assert {tag for _, _, it in OPERATIONS for tag in it["tags"]} == known
    assert DOCUMENT["servers"] == [{"url": "/", "description": "This server."}]
    assert DOCUMENT["info"]["license"]["identifier"] == "Apache-2.0"


def bodies():
    """The schemas of objects in request bodies."""
    components = DOCUMENT["components"]["schemas"]
    given = [it["requestBody"] for _, _, it in OPERATIONS if "requestBody" in it]
    return {name: components[name] for name in reachable(given, components)}


def takes(schema, kind):
    """Whether a value of a JSON type fits a property."""
    members = schema.get("anyOf", [schema])
    return any(("type" not in one and "$ref" not in one) or kind in [one.get("type")] for one in members) or any(
        kind in one.get("type", ()) for one in members if isinstance(one.get("type"), list)
    )


def test_the_document_says_what_is_read():
    """Null for what is not given, numbers for ids, our own fields, and times in each form: see test_lenient.py and
    test_timestamps.py for the server's side."""
    assert len(bodies()) >= 15
    for name, body in bodies().items():
        for field, schema in body["properties"].items():
            assert field in body.get("required", ()) or takes(schema, "null"), (name, field)
    event = bodies()["InteractionRequest"]["properties"]
    for id in ("user_id", "content_id", "event_id", "ranking_id"):
        assert takes(event[id], "integer"), id
    assert not takes(event["device"], "integer")
    for kind in ("string", "integer", "number"):
        assert takes(event["timestamp"], kind)
    assert event["sequence"] == {"description": "Ignored: an answer can be sent back as it came."}
    assert all("readOnly" not in one for one in objects(DOCUMENT))


def test_enumerations_have_a_type_and_lines_are_described():
    assert all("type" in one for one in objects(DOCUMENT) if isinstance(one.get("enum"), list))
    kinds = DOCUMENT["components"]["schemas"]["InteractionOutcome"]["properties"]["status"]
    assert kinds["enum"] == ["stored", "duplicate", "rejected"]
    lines = [one[NDJSON]["schema"] for one in objects(DOCUMENT["paths"]) if "application/x-ndjson" in one]
    assert len(lines) >= 4
    assert all(one["type"] == "string" and one["contentSchema"] for one in lines)


def test_a_server_with_keys_says_that_they_are_needed(start_server):
    key = make_key()
    server = start_server(api_keys=entry("app", "read", key))
    served = server.client.get("/openapi.json").json()
    assert served["paths"]["/search"]["post"]["security"] == [{"bearer": []}, {"header": []}]
    assert served["paths"]["/healthz"]["get"]["security"] == []


@pytest.mark.parametrize(
    ("schema", "cleaned"),
    [
        ({"type": "string", "default": None}, {"type": "string"}),
        ({"type": "array", "default": []}, {"type": "array"}),
        ({"type": "boolean", "default": True}, {"type": "boolean", "x-default": True, "description": "Default: true."}),
        ({"enum": ["a"]}, {"enum": ["a"], "type": "string"}),
        ({"enum": ["a", 1]}, {"enum": ["a", 1]}),
        ({"anyOf": [{}, {"type": "null"}]}, {}),
        ({"description": "one\n    two\n\n    three"}, {"description": "one two\n\nthree"}),
        ({"type": "array", "default": ()}, {"type": "array"}),
        ({"type": "string", "x-or-integer": True}, {"type": ["string", "integer"]}),
        (
            {"anyOf": [{"type": "string", "anyOf": [{"format": "date"}, {"minLength": 1}]}, {"type": "null"}]},
            {"anyOf": [{"type": "string", "format": "date"}, {"type": "string", "minLength": 1}, {"type": "null"}]},
        ),
        ({"properties": {"default": {"default": None}}}, {"properties": {"default": {}}}),
    ],
)
def test_schemas(schema, cleaned):
    assert clean(schema, optional=True) == cleaned


def test_optional_fields_take_null_once():
    fields = {
        "id": {"type": "string"},
        "tags": {"type": "array", "description": "Of it.", "x-default": ["a"]},
        "text": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "any": {"description": "Anything."},
    }
    found = accepts({"properties": fields, "required": ["id"]})["properties"]
    assert found == fields | {
        "tags": {"anyOf": [{"type": "array"}, {"type": "null"}], "description": "Of it.", "x-default": ["a"]}
    }
