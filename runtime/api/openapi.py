"""The OpenAPI document, generated from the declared endpoints and their typed structs."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from runtime.api.endpoint import JSON, NDJSON, Endpoint
from runtime.api.errors import ErrorBody

VERSION = "0.1.0"

_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")


def openapi_document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """OpenAPI 3.1 for `endpoints`; path parameters are ids of 1 to 256 bytes."""
    types = [kind for e in endpoints for kind in (e.request, e.response) if kind is not None] + [ErrorBody]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = {id(kind): schema for kind, schema in zip(types, schemas, strict=True)}
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


def _operation(endpoint: Endpoint, by_type: dict[int, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.handler.__name__,
        "summary": endpoint.summary,
        "responses": {str(endpoint.status): _success(endpoint, by_type)},
    }
    if endpoint.handler.__doc__:
        operation["description"] = endpoint.handler.__doc__.strip()
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "maxLength": 256}}
        for name in _PARAMETER.findall(endpoint.path)
    ]
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
    error = {"content": {JSON: {"schema": by_type[id(ErrorBody)]}}}
    for status in endpoint.errors:
        operation["responses"][str(status)] = {"description": HTTPStatus(status).phrase, **error}
    return operation


def _success(endpoint: Endpoint, by_type: dict[int, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(endpoint.status).phrase}
    if endpoint.response is not None:
        answer["content"] = {JSON: {"schema": by_type[id(endpoint.response)]}}
    return answer
