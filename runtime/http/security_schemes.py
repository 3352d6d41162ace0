"""How keys are sent and who is refused how, in the OpenAPI document."""

from collections.abc import Sequence
from typing import Any

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer KEY"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "X-API-Key: KEY"},
}

_OPEN = ("health", "open")


def security(needs: str) -> list[dict[str, list[str]]]:
    """The ways to be let in: none is needed for what is open; elsewhere a key, or nothing where a server has none."""
    keys: list[dict[str, list[str]]] = [{scheme: []} for scheme in SCHEMES]
    return [] if needs in _OPEN else [{}, *keys]


def refusals(needs: str) -> Sequence[int]:
    """The statuses of who may not call, who calls too often, and whose path and headers are too long."""
    return (431,) if needs == "health" else (429, 431) if needs in _OPEN else (401, 403, 429, 431)


def with_keys(document: dict[str, Any]) -> dict[str, Any]:
    """The document of a server that asks for keys; `document` is changed."""
    for item in document["paths"].values():
        for operation in item.values():
            operation["security"] = [way for way in operation["security"] if way]
    return document
