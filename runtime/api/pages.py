"""Pages for people, the same on every server: the one to try it on, and the documentation. Nothing of them is fetched
from elsewhere, and a browser that shows them may fetch nothing from elsewhere."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from runtime.http.docs_page import STYLE, docs_page
from runtime.http.endpoint import Endpoint
from runtime.http.errors import not_found
from runtime.http.ids import path_id
from runtime.http.media import JSON
from runtime.http.security_schemes import guarded
from runtime.personalization.actions import event_types
from runtime.state import State

FOLDER = Path(__file__).parents[1] / "page"
OPENAPI_FILE = Path(__file__).with_name("openapi.json")
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

_COMMON = {
    "cache-control": "no-cache",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
}
_POLICY = "default-src 'none'; {}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PAGE = _COMMON | {
    "content-security-policy": _POLICY.format("script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'")
}
_DOCS = _COMMON | {
    "content-security-policy": _POLICY.format(
        f"style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'"
    )
}


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """Bytes and media type of the page's files, 60 KB in all, held once one of them was asked for."""
    return {path.name: (path.read_bytes(), KINDS[path.suffix]) for path in FOLDER.iterdir() if path.suffix in KINDS}


async def get_page(state: State, request: Request) -> Response:
    """Embed a text, browse the catalogue, and see how a click changes a ranking."""
    return _response("index.html")


async def get_page_file(state: State, request: Request) -> Response:
    """Scripts and styles of the page at `/`."""
    return _response(path_id(request))


async def get_openapi(state: State, request: Request) -> Response | dict[str, Any]:
    document = _document(state)
    return Response(document, media_type=JSON) if isinstance(document, bytes) else document


async def get_docs(state: State, request: Request) -> HTMLResponse:
    return HTMLResponse(docs_page(_decoded(_document(state))), headers=_DOCS)


def _document(state: State) -> bytes | dict[str, Any]:
    """Read when it is asked for: a page of the system's cache costs this process nothing."""
    content, settings = OPENAPI_FILE.read_bytes(), state.settings
    if settings.event_types:
        document = _decoded(content)
        types = document["components"]["schemas"]["InteractionRequest"]["properties"]["type"]
        types["enum"] = list(event_types(settings.event_types))
        content = msgspec.json.encode(document)
    if not settings.api_keys and not settings.rate_per_s:
        return content
    return guarded(_decoded(content), keys=bool(settings.api_keys), limited=settings.rate_per_s > 0)


def _decoded(document: bytes | dict[str, Any]) -> dict[str, Any]:
    if isinstance(document, dict):
        return document
    decoded: dict[str, Any] = msgspec.json.decode(document)
    return decoded


def _response(name: str) -> Response:
    found = _files().get(name)
    if found is None:
        raise not_found("page", name)
    return Response(found[0], headers=_PAGE, media_type=found[1])


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint("GET", "/", get_page, "Demo page", access="open"),
    Endpoint("GET", "/page/{id}", get_page_file, "A file of the demo page", errors=(404, 422), access="open"),
    Endpoint("GET", "/openapi.json", get_openapi, "This API as an OpenAPI document", access="open"),
    Endpoint("GET", "/docs", get_docs, "API reference as a page", access="open"),
]
