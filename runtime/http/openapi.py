"""The OpenAPI document, generated from the declared endpoints and their typed structs.

`make docs` writes it to `openapi.json`, which is what the server sends: it starts without making it, and can leave
docstrings out of its memory (PYTHONOPTIMIZE=2).
"""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from runtime import VERSION
from runtime.http.endpoint import Endpoint
from runtime.http.media import JSON, NDJSON

_SCHEMAS = "#/components/schemas/"
_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")


def openapi_document(endpoints: Sequence[Endpoint[Any]]) -> dict[str, Any]:
    """OpenAPI 3.1 for `endpoints`; path parameters are ids of 1 to 256 bytes.

    `x-needs` says what a key must allow: see `runtime/http/security_schemes.py` for servers that ask for one.
    """
    types = [
        kind
        for e in endpoints
        for kind in (e.request, e.query, e.response, e.stream_line, e.error_shape.body)
        if kind is not None
    ]
    schemas, components = msgspec.json.schema_components(types, ref_template=f"{_SCHEMAS}{{name}}")
    by_type = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
    for query in {endpoint.query for endpoint in endpoints} - {None}:  # listed where they are used, not as types
        by_type[id(query)] = components.pop(by_type[id(query)]["$ref"].removeprefix(_SCHEMAS))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = _PARAMETER.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vows-edge",
            "version": VERSION,
            "description": "Text embeddings, user vectors and ranking from one small process. "
            "Vectors are unit float32; times are UTC, RFC 3339.",
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(endpoint: Endpoint[Any], by_type: dict[int, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.handler.__name__,
        "summary": endpoint.summary,
        "x-needs": endpoint.needs,
        "responses": {str(endpoint.status): _success(endpoint, by_type)},
    }
    if endpoint.handler.__doc__:
        operation["description"] = endpoint.handler.__doc__.strip()
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 256}}
        for name in _PARAMETER.findall(endpoint.path)
    ]
    if endpoint.query is not None:
        parameters += [
            {"name": name, "in": "query", "schema": schema, **_example(endpoint, name)}
            for name, schema in by_type[id(endpoint.query)]["properties"].items()
        ]
        about = by_type[id(endpoint.query)].get("description")
        operation["description"] = " ".join(filter(None, (operation.get("description"), about)))
    if parameters:
        operation["parameters"] = parameters
    if endpoint.request is not None:
        schema = by_type[id(endpoint.request)]
        content: dict[str, Any] = {}
        for media in endpoint.media:
            content[media] = {"schema": {"type": "string", "description": "one JSON object a line"}}
            if media != NDJSON:
                content[media] = {"schema": schema}
                if endpoint.example is not None:
                    content[media]["example"] = endpoint.example
        operation["requestBody"] = {"required": True, "content": content}
    error = {"content": {JSON: {"schema": by_type[id(endpoint.error_shape.body)]}}}
    for status in endpoint.errors:
        operation["responses"][str(status)] = {"description": HTTPStatus(status).phrase, **error}
    return operation


def _example(endpoint: Endpoint[Any], parameter: str) -> dict[str, Any]:
    example = endpoint.example or {}
    return {"example": example[parameter]} if parameter in example else {}


def _success(endpoint: Endpoint[Any], by_type: dict[int, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(endpoint.status).phrase}
    if endpoint.response is not None:
        answer["content"] = {endpoint.response_media: {"schema": by_type[id(endpoint.response)]}}
    if endpoint.stream_line is not None:
        answer["content"][NDJSON] = {"schema": by_type[id(endpoint.stream_line)]}
    return answer
