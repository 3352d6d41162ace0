"""An endpoint is declared once; its route, its parsing, its errors and its page in the documentation follow from it."""

import logging
import re
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, Protocol, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from runtime.http.auth import Access, Gate
from runtime.http.body import BodyBudget, HeldBytes
from runtime.http.decoding import check_values, decode_json
from runtime.http.errors import ERRORS, ApiError, ErrorShape
from runtime.http.json import json_response
from runtime.http.media import JSON, NDJSON, accepts_lines, check_media, in_utf8
from runtime.http.query import decode_query
from runtime.system.trace import current

log = logging.getLogger("vows")

_SMALL_ANSWER_BYTES = 4 * 1024  # counted with its connection


# The answer to an exception that the application knows; None for any other.
Problem = Callable[[BaseException], ApiError | None]


class HttpState(Protocol):
    """What this module needs of the application's state; handlers use the rest."""

    @property
    def gate(self) -> Gate:
        """Who may call what, and how often."""

    @property
    def bodies(self) -> BodyBudget:
        """The memory that bodies and answers share."""


S = TypeVar("S", bound=HttpState)


@dataclass(frozen=True)
class Endpoint(Generic[S]):
    """`handler(state, request[, body][, query])` returns `response` (sent as JSON with `status`) or a ready Response
    (of `response_media`; as NDJSON, `response` is a line).

    `request` is the type the JSON body is decoded to; `raw` passes the body undecoded, for endpoints that take
    other media types (`media`). `query` is the struct that the parameters after the `?` are decoded to. `errors` lists
    the statuses, besides success, that the endpoint itself can answer, and `error_shape` is how they look. `example` is
    a request that works, for the documentation: the body, or else the query. `access` is what the caller's key must
    allow, by default read for GET and write for the rest. `max_values` bounds the JSON values in the body,
    and `answer_bytes` estimates, from the decoded body and query, the bytes held for an answer larger than a few
    kilobytes. `stream(state, request)` answers requests that accept NDJSON instead of `handler`: it reads the body
    itself, line by line, holds at most `stream_bytes`, and sends lines of the type `stream_line`.
    """

    method: str
    path: str
    handler: Callable[Concatenate[S, Request, ...], Awaitable[Any]]
    summary: str
    request: Any = None
    query: Any = None
    response: Any = None
    response_media: str = JSON
    status: int = 200
    errors: Sequence[int] = ()
    error_shape: ErrorShape = ERRORS
    raw: bool = False
    media: Sequence[str] = (JSON,)
    example: Any = None
    access: Access | None = None
    stream: Callable[[S, Request], Awaitable[Response]] | None = None
    stream_line: Any = None
    stream_bytes: int = 0
    max_values: int = 131_072
    answer_bytes: Callable[..., int] = lambda *_: 0

    @property
    def needs(self) -> Access:
        """What the caller's key must allow: `access`, or its default."""
        return self.access or ("read" if self.method == "GET" else "write")


def routes(endpoints: Sequence[Endpoint[S]], state: S, problem: Problem) -> list[Route]:
    """The Starlette routes of endpoints; `problem` knows the exceptions of the application."""
    parents: dict[str, set[bytes]] = {}
    for endpoint in endpoints:
        parent, _, last = endpoint.path.rpartition("/")
        parents.setdefault(parent, set()).add(last.encode())
    return [
        _Route(
            endpoint.path,
            _Serve(endpoint, state, problem),
            methods=[endpoint.method],
            name=f"{endpoint.method} {endpoint.path}",
            children=frozenset(parents.get(endpoint.path, ())),
        )
        for endpoint in endpoints
    ]


def exact_paths(routes: Sequence[Route]) -> dict[tuple[str, bytes], ASGIApp]:
    """The endpoints of paths without parameters, by method and path as it is sent: those need no search."""
    return {
        (method, route.path.encode()): route.endpoint
        for route in routes
        if "{" not in route.path
        for method in route.methods or ()
        if method != "HEAD"
    }


class _Route(Route):
    """What follows an id, as in /content/{id:path}/similar, counts only after a slash that was sent as a slash.

    Starlette matches the decoded path, where the id "a/similar" sent as a%2Fsimilar looks like the item "a". And after
    such a slash it always counts: DELETE /user/ada/embedding is not allowed, instead of deleting "ada/embedding".
    `children` are the names that can follow this route's id.
    """

    def __init__(self, *args: Any, children: frozenset[bytes], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.path_regex = re.compile(self.path_regex.pattern, re.DOTALL)  # an id may hold a line break
        self._children = children

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        last = self.path.rpartition("/")[2]
        if scope["type"] == "http":
            before, _, sent = scope["raw_path"].rpartition(b"/")
            if not last.startswith("{") and unquote_to_bytes(sent) != last.encode():
                return Match.NONE, {}
            if sent in self._children and before.count(b"/") >= self.path.count("/"):
                return Match.NONE, {}
        return super().matches(scope)


class _Serve(Generic[S]):
    """An endpoint as an ASGI application. The share of the body budget is held until the answer is sent."""

    def __init__(self, endpoint: Endpoint[S], state: S, problem: Problem) -> None:
        self._endpoint = endpoint
        self._state = state
        self._problem = problem
        typed = endpoint.request is not None and not endpoint.raw
        self._name = f"{endpoint.method} {endpoint.path.replace(':path', '')}"
        self._decode = msgspec.json.Decoder(endpoint.request).decode if typed else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held = HeldBytes(self._state.bodies)
        try:
            response = await self._answer(Request(scope, receive), held)
            if len(body := getattr(response, "body", b"")) > _SMALL_ANSWER_BYTES:
                try:
                    await held.become(len(body))  # until it is written, however long its reader takes
                except ApiError as error:
                    response = error.response(self._endpoint.error_shape)
            await response(scope, receive, send)
        finally:
            held.release()

    async def _answer(self, request: Request, held: HeldBytes) -> Response:
        endpoint, state, trace = self._endpoint, self._state, current.get()
        if trace is not None:
            trace.endpoint = self._name
        try:
            client = state.gate.admit(request.scope, endpoint.needs)
            if trace is not None:
                trace.client = client
            if "\ufffd" in request.scope["path"] and b"%EF%BF%BD" not in request.scope["raw_path"].upper():
                raise ApiError(400, "bad_request", "the path is not valid UTF-8")
            query = () if endpoint.query is None else (decode_query(request, endpoint.query),)
            if endpoint.request is None:
                await held.grow_by(endpoint.answer_bytes(*query))
                reply = await endpoint.handler(state, request, *query)
            elif endpoint.stream is not None and accepts_lines(request.scope):
                check_media(request.scope, (NDJSON,))
                await held.grow_by(endpoint.stream_bytes)
                reply = await endpoint.stream(state, request)
            else:
                check_media(request.scope, endpoint.media)
                body: Any = in_utf8(await held.read(request))
                check_values(body, endpoint.max_values)
                if self._decode is not None:
                    body = decode_json(self._decode, body)
                await held.grow_by(endpoint.answer_bytes(body, *query))
                reply = await endpoint.handler(state, request, body, *query)
        except (Exception, CancelledError) as error:
            return refused(error, self._problem).with_example(endpoint.example).response(endpoint.error_shape)
        return reply if isinstance(reply, Response) else json_response(reply, status=endpoint.status)


def refused(error: BaseException, problem: Problem) -> ApiError:
    """The answer to whatever was raised while a request was served."""
    if isinstance(error, ApiError):
        return error
    if (known := problem(error)) is not None:
        return known
    if isinstance(error, CancelledError):  # nobody but the server cancels a request: when its time to end is over
        return ApiError(
            503, "shutting_down", "the server is shutting down; repeat the request after the start", retry_after_s=1
        )
    log.error("this is a bug", exc_info=error)
    return ApiError(500, "internal", "an unexpected error happened; the server's log says more")
