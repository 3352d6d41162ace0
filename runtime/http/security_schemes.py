"""What keys and rates add to the OpenAPI document: how a key is sent, and who is refused how."""

from http import HTTPStatus
from typing import Any

from runtime.http.media import JSON

_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def guarded(document: dict[str, Any], *, keys: bool, limited: bool) -> dict[str, Any]:
    """The document of a server that asks for keys, or that tells callers to come back later; `document` is changed."""
    for path, item in document["paths"].items():
        error = "OpenAIErrorBody" if path.startswith("/v1/") else "ErrorBody"
        content = {JSON: {"schema": {"$ref": f"#/components/schemas/{error}"}}}
        for operation in item.values():
            statuses = [] if operation["x-needs"] == "health" or not limited else [429]
            if keys and operation["x-needs"] in ("read", "write", "admin"):
                operation["security"] = [{scheme: []} for scheme in _SCHEMES]
                statuses += [401, 403]
            for status in statuses:
                operation["responses"][str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    if keys:
        document["components"]["securitySchemes"] = _SCHEMES
    return document
