"""Pages for people, the same on every server: the one to try it on, and the documentation. Nothing of them is fetched
from elsewhere, and a browser that shows them may fetch nothing from elsewhere."""

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from runtime.http.docs_page import docs_page
from runtime.http.endpoint import Endpoint
from runtime.http.errors import not_found
from runtime.http.ids import path_id
from runtime.http.media import JSON
from runtime.http.security_schemes import with_keys
from runtime.personalization.actions import event_types
from runtime.state import State

FOLDER = Path(__file__).parents[1] / "page"
OPENAPI_FILE = Path(__file__).with_name("openapi.json")
ANSWERS_FILE = Path(__file__).with_name("example_answers.json")  # see docs/example_answers.py
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".json": JSON}

# Ids that work in the examples of the documentation, by the first part of the path.
EXAMPLE_IDS = {
    "content": "hollow-oak-barn",
    "user": "ada",
    "interactions": "e-1",
    "experiments": "first-trial",
    "models": "sequence",
    "page": "page.css",
    "v1": "sentence-bert-v1",
}

_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
}


@cache
def _files() -> dict[str, Path]:
    """The files of the pages by name: nothing else is served."""
    return {path.name: path for path in FOLDER.iterdir() if path.suffix in KINDS}


async def get_page(state: State, request: Request) -> Response:
    """Search and browse the catalogue, and see how a click changes a ranking."""
    return _response("index.html")


async def get_page_file(state: State, request: Request) -> Response:
    """The other pages, scripts, styles and sample data."""
    return _response(path_id(request))


async def get_openapi(state: State, request: Request) -> Response | dict[str, Any]:
    """OpenAPI 3.1, with the event types of this server, and its keys if it has any."""
    document = _document(state)
    return Response(document, media_type=JSON) if isinstance(document, bytes) else document


async def get_docs(state: State, request: Request) -> HTMLResponse:
    """Every operation with its fields, an example answer, and a form that sends it to this server."""
    page = docs_page(
        _decoded(_document(state)),
        base=str(request.base_url).rstrip("/"),
        ids=EXAMPLE_IDS,
        answers=msgspec.json.decode(ANSWERS_FILE.read_bytes()),
    )
    return HTMLResponse(page, headers=_HEADERS)


def _document(state: State) -> bytes | dict[str, Any]:
    """Read at each request: a page of the system's cache costs this process nothing."""
    content, settings = OPENAPI_FILE.read_bytes(), state.settings
    if settings.event_types:
        document = _decoded(content)
        types = document["components"]["schemas"]["InteractionRequest"]["properties"]["type"]
        types["enum"] = list(event_types(settings.event_types))
        content = msgspec.json.encode(document)
    return with_keys(_decoded(content)) if settings.api_keys else content


def _decoded(document: bytes | dict[str, Any]) -> dict[str, Any]:
    if isinstance(document, dict):
        return document
    decoded: dict[str, Any] = msgspec.json.decode(document)
    return decoded


def _response(name: str) -> Response:
    """Read when it is asked for: a page of the system's cache costs this process nothing."""
    path = _files().get(name)
    if path is None:
        raise not_found("page", name)
    return Response(path.read_bytes(), headers=_HEADERS, media_type=KINDS[path.suffix])


_HTML = "text/html"

ENDPOINTS: list[Endpoint[State]] = [
    Endpoint("GET", "/", get_page, "Demo page", response=str, response_media=_HTML, access="open"),
    Endpoint(
        "GET", "/page/{id}", get_page_file, "A file of the demo page",
        response=str, response_media="text/plain", errors=(404, 422), access="open",
    ),
    Endpoint(
        "GET", "/openapi.json", get_openapi, "This API as an OpenAPI document", response=dict[str, Any], access="open",
    ),
    Endpoint("GET", "/docs", get_docs, "API reference as a page", response=str, response_media=_HTML, access="open"),
]  # fmt: skip
