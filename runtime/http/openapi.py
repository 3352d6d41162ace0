"""The OpenAPI document, generated from the declared endpoints and their typed structs.

`make docs` writes it to `openapi.json`, which is what the server sends: it starts without making it, and can leave
docstrings out of its memory (PYTHONOPTIMIZE=2). Linters and generators of clients are tried on it in tests/openapi.
"""

import re
from collections.abc import Sequence
from http import HTTPStatus
from inspect import cleandoc
from typing import Any, NamedTuple

import msgspec

from runtime import VERSION
from runtime.http.endpoint import Endpoint
from runtime.http.media import JSON, NDJSON
from runtime.http.openapi_schemas import accepts, clean, reachable
from runtime.http.security_schemes import SCHEMES, refusals, security

_SCHEMAS = "#/components/schemas/"
_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")


class Tag(NamedTuple):
    """A group of endpoints: those whose paths begin with one of `prefixes`; the first group that fits is theirs."""

    name: str
    description: str
    prefixes: tuple[str, ...]


def openapi_document(endpoints: Sequence[Endpoint[Any]], tags: Sequence[Tag]) -> dict[str, Any]:
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
    components = {name: clean(schema, optional=True) for name, schema in components.items()}
    for name in reachable([by_type[id(e.request)] for e in endpoints if e.request is not None], components):
        components[name] = accepts(components[name])
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        path = _PARAMETER.sub(r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, by_type, tags)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vows-edge",
            "version": VERSION,
            "description": "Text embeddings, user vectors and ranking from one small process. "
            "Vectors are unit float32; times are UTC, RFC 3339.",
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
            "contact": {"name": "the authors of vows-edge"},
        },
        "servers": [{"url": "/", "description": "This server."}],
        "tags": [{"name": tag.name, "description": tag.description} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": SCHEMES,
        },
    }


def _operation(endpoint: Endpoint[Any], by_type: dict[int, Any], tags: Sequence[Tag]) -> dict[str, Any]:
    about = [cleandoc(endpoint.handler.__doc__ or f"{endpoint.summary}.")]
    parameters = [
        {"name": name, "in": "path", "required": True, "description": "An id.",
         "schema": {"type": "string", "minLength": 1, "maxLength": 256}}
        for name in _PARAMETER.findall(endpoint.path)
    ]  # fmt: skip
    if endpoint.query is not None:
        query = clean(by_type[id(endpoint.query)], optional=False)
        required = query.get("required", ())
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": schema, **_example(endpoint, name)}
            for name, schema in query["properties"].items()
        ]
        about.append(query.get("description", ""))
    operation: dict[str, Any] = {
        "operationId": endpoint.handler.__name__,
        "tags": [_tag(endpoint.path, tags)],
        "summary": endpoint.summary,
        "description": " ".join(filter(None, about)),
        "x-needs": endpoint.needs,
        "security": security(endpoint.needs),
    }
    if parameters:
        operation["parameters"] = parameters
    if endpoint.request is not None:
        operation["requestBody"] = {"required": True, "content": _bodies(endpoint, by_type)}
    operation["responses"] = {str(endpoint.status): _success(endpoint, by_type)}
    error = {"content": {JSON: {"schema": by_type[id(endpoint.error_shape.body)]}}}
    for status in sorted({400, *endpoint.errors, *refusals(endpoint.needs)}):
        operation["responses"][str(status)] = {"description": HTTPStatus(status).phrase, **error}
    return operation


def _tag(path: str, tags: Sequence[Tag]) -> str:
    return next(tag.name for tag in tags if path.startswith(tag.prefixes))


def _bodies(endpoint: Endpoint[Any], by_type: dict[int, Any]) -> dict[str, Any]:
    schema = clean(by_type[id(endpoint.request)], optional=True)
    content: dict[str, Any] = {}
    for media in endpoint.media:
        if media == NDJSON:
            content[media] = {"schema": _lines(_item(schema))}
        else:
            content[media] = {"schema": schema}
            if endpoint.example is not None:
                content[media]["example"] = endpoint.example
    return content


def _item(schema: dict[str, Any]) -> dict[str, Any]:
    """What a line is where a body is an array of it."""
    found = next((one["items"] for one in schema.get("anyOf", (schema,)) if "items" in one), schema)
    return found if isinstance(found, dict) else schema


def _lines(item: dict[str, Any]) -> dict[str, Any]:
    """JSON documents, one a line: OpenAPI 3.1 knows no such body, so it is text whose content is described."""
    name = item.get("$ref", "").removeprefix(_SCHEMAS)
    return {
        "type": "string",
        "description": f"One JSON object a line{f', each as {name}' if name else ''}.",
        "contentMediaType": NDJSON,
        "contentSchema": item,
    }


def _example(endpoint: Endpoint[Any], parameter: str) -> dict[str, Any]:
    example = endpoint.example or {}
    return {"example": example[parameter]} if parameter in example else {}


def _success(endpoint: Endpoint[Any], by_type: dict[int, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(endpoint.status).phrase}
    if endpoint.response is not None:
        schema = by_type[id(endpoint.response)]
        lines = endpoint.response_media == NDJSON
        answer["content"] = {endpoint.response_media: {"schema": _lines(schema) if lines else schema}}
    if endpoint.stream_line is not None:
        answer["content"][NDJSON] = {"schema": _lines(by_type[id(endpoint.stream_line)])}
    return answer
