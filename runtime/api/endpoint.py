"""An endpoint is declared once; its route, its parsing, its errors and its page in the documentation follow from it."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.api.errors import ApiError, from_validation
from runtime.api.json import json_response
from runtime.catalog import CatalogFull
from runtime.models.embedder import ClientGone
from runtime.models.scheduler import QueueFull
from runtime.models.worker_pool import DeadlineExceeded
from runtime.store import StoreBusy, StoreError

if TYPE_CHECKING:
    from runtime.parts import Parts

log = logging.getLogger("vows")

JSON = "application/json"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True)
class Endpoint:
    """`handler(parts, request[, body])` returns `response` (sent as JSON with `status`) or a ready Response.

    `request` is the type the JSON body is decoded to; `raw` hands the body over undecoded, for endpoints that take
    other media types (`media`). `errors` lists the statuses, besides success, that the endpoint itself can answer.
    `example` is a request that works, for the documentation.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[Any]]
    summary: str
    request: Any = None
    response: Any = None
    status: int = 200
    errors: Sequence[int] = ()
    raw: bool = False
    media: Sequence[str] = (JSON,)
    example: Any = None


def route(endpoint: Endpoint, parts: "Parts") -> Route:
    """The Starlette route of an endpoint, its decoder built once."""
    decode = None if endpoint.request is None or endpoint.raw else msgspec.json.Decoder(endpoint.request).decode
    has_body = endpoint.request is not None

    async def serve(request: Request) -> Response:
        try:
            if "\ufffd" in request.scope["path"] and b"%EF%BF%BD" not in request.scope["raw_path"].upper():
                raise ApiError(400, "bad_request", "the path is not valid UTF-8")
            if not has_body:
                return _response(endpoint, await endpoint.handler(parts, request))
            _check_media(request, endpoint.media)
            held = await parts.bodies.read(request)
            try:
                body = decode_json(decode, held.content) if decode else held.content
                return _response(endpoint, await endpoint.handler(parts, request, body))
            finally:
                held.release()
        except Exception as error:
            return answer(error)

    return Route(endpoint.path, serve, methods=[endpoint.method], name=f"{endpoint.method} {endpoint.path}")


def decode_json(decode: Callable[[bytes], Any], content: bytes, prefix: str = "$") -> Any:
    """Decode, turning msgspec's complaints into 400 (not JSON) and 422 (JSON of another shape).

    `prefix` is the JSON path of `content` where it is a part of the request.
    """
    try:
        return decode(content)
    except msgspec.ValidationError as error:
        raise from_validation(error, prefix) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, "malformed_json", str(error) or "the body is not JSON", field=prefix) from None
    except RecursionError:
        raise ApiError(400, "malformed_json", "the JSON is nested too deeply", field=prefix) from None


def answer(error: Exception) -> Response:
    """The one place where what went wrong below becomes a status."""
    match error:
        case ApiError():
            return error.response()
        case QueueFull() | DeadlineExceeded() | StoreBusy():
            return ApiError(503, "overloaded", str(error), retry_after_s=1).response()
        case CatalogFull():
            return ApiError(507, "catalog_full", str(error)).response()
        case StoreError():
            log.error("storage: %s", error)
            return ApiError(503, "storage_unavailable", str(error), retry_after_s=5).response()
        case ClientGone():
            return Response(status_code=499)  # never seen by anyone
    log.error("this is a bug: %s", error, exc_info=error)
    return ApiError(500, "internal", "an unexpected error happened; the server's log says more").response()


def _response(endpoint: Endpoint, reply: Any) -> Response:
    return reply if isinstance(reply, Response) else json_response(reply, status=endpoint.status)


def _check_media(request: Request, accepted: Sequence[str]) -> None:
    given = request.headers.get("content-type")
    if given is None:
        return
    kind = given.partition(";")[0].strip().lower()
    if kind not in accepted:
        raise ApiError(
            415, "unsupported_media_type", f"Content-Type is {kind!r}; send -H 'Content-Type: {accepted[0]}'"
        )
