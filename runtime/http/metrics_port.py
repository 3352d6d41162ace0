"""A port for metrics alone, which needs no key: for scrapers that cannot send one, on a network that is private."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

_HEAD_BYTES = 8 * 1024
_TIMEOUT_S = 5.0
_MOST_AT_ONCE = 8

Metrics = Callable[[], Awaitable[bytes]]


async def serve_metrics(host: str, port: int, metrics: Metrics) -> asyncio.Server:
    """Answer GET /metrics until the server is closed; anything else is 404. Raises OSError where the port cannot be
    had."""
    open_now = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        try:
            if open_now <= _MOST_AT_ONCE:
                async with asyncio.timeout(_TIMEOUT_S):
                    writer.write(await _response(reader, metrics))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a scraper that left, is slow or sends no request: it comes again
        finally:
            open_now -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    return await asyncio.start_server(answer, host, port, limit=_HEAD_BYTES)


async def _response(reader: asyncio.StreamReader, metrics: Metrics) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    method, _, rest = head.partition(b" ")
    found = method == b"GET" and rest.partition(b" ")[0].partition(b"?")[0] == b"/metrics"
    body = await metrics() if found else b"this port serves GET /metrics\n"
    status = b"200 OK" if found else b"404 Not Found"
    return (
        b"HTTP/1.1 %b\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"
        b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (status, len(body), body)
    )
