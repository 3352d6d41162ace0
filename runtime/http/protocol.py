"""uvicorn's HTTP protocol with a bound on what a client can make it hold before a request exists."""

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runtime.http.errors import Error, ErrorBody

MAX_HEAD_BYTES = 32 * 1024  # request line and headers
MAX_PIPELINED = 16  # requests sent ahead on one connection


class BoundedHttpProtocol(HttpToolsProtocol):
    """httptools keeps an unfinished header however long it gets, and uvicorn queues every pipelined request.

    Beyond MAX_HEAD_BYTES: 431 and the connection is closed. Beyond MAX_PIPELINED: closed. On more connections than
    uvicorn's `limit_concurrency`: 503 as every other refusal is, where uvicorn's own has no JSON and no Retry-After.
    """

    def __init__(self, *args, **kwargs) -> None:  # type: ignore[no-untyped-def]
        super().__init__(*args, **kwargs)
        self._max_connections, self.limit_concurrency = self.limit_concurrency, None
        self._in_head = True
        self._head_bytes = 0

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if self.transport.is_closing():  # refused already; the rest of what was received is parsed to no end
            return
        if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > MAX_HEAD_BYTES:
            self._refuse_head()
            return
        idle = self.cycle is None or self.cycle.response_complete  # else the refusal would overtake an answer
        if idle and self._max_connections is not None and len(self.connections) > self._max_connections:
            error = Error("overloaded", f"there are {len(self.connections)} connections, the limit; try again")
            self._refuse("503 Service Unavailable", error, "retry-after: 1\r\n")
            return
        super().on_headers_complete()
        if len(self.pipeline) > MAX_PIPELINED:
            self.transport.abort()

    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        if not self.transport.is_closing():
            super().on_message_complete()

    def _refuse_head(self) -> None:
        error = Error("headers_too_large", f"the request line and headers exceed {MAX_HEAD_BYTES} bytes")
        self._refuse("431 Request Header Fields Too Large", error)

    def _refuse(self, status: str, error: Error, headers: str = "") -> None:
        content = msgspec.json.encode(ErrorBody(error))
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}"
            f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + content)
        self.transport.close()
