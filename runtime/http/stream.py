"""Bodies of any length, read line by line while lines go back: both bounded in memory, whatever their number."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from runtime.http.errors import ApiError
from runtime.http.media import NDJSON, in_utf8, without_mark

# Of one line: the largest item that is allowed takes 540 KB of JSON.
MAX_LINE_BYTES = 640 << 10


class LineStream(Response):
    """Sends lines as they come, while the request's body may still be read.

    Starlette's StreamingResponse reads the request itself, to notice a client that left: it would take the body away.
    """

    media_type = NDJSON

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self._lines = lines
        self.status_code = 200
        self.background = None
        self.init_headers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for line in self._lines:
            await send({"type": "http.response.body", "body": line + b"\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def numbered_lines(request: Request, *, stalled_s: float) -> AsyncIterator[tuple[int, bytes]]:
    """The body's lines that are not blank, with their numbers from 1.

    Raises ApiError: 413 for a line over MAX_LINE_BYTES, 408 when nothing came for `stalled_s`, 400 when the client
    left.
    """
    number, rest = 0, b""
    chunks = request.stream()
    while (chunk := await _next(chunks, stalled_s)) is not None:
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            number += 1
            if line := (without_mark if number > 1 else in_utf8)(line).strip():
                yield number, line
        if len(rest) > MAX_LINE_BYTES:
            raise ApiError(413, "line_too_long", f"line {number + 1} has {len(rest)} bytes or more, the limit is "
                           f"{MAX_LINE_BYTES}")  # fmt: skip
    if rest := (without_mark if number else in_utf8)(rest).strip():
        yield number + 1, rest


async def _next(chunks: AsyncIterator[bytes], stalled_s: float) -> bytes | None:
    try:
        async with asyncio.timeout(stalled_s):
            return await anext(chunks, None)
    except TimeoutError:
        raise ApiError(408, "stalled", f"nothing of the body came for {stalled_s:g} s") from None
    except ClientDisconnect:
        raise ApiError(400, "client_disconnected", "the client disconnected before the body was complete") from None
