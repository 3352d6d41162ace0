"""One request and its answer on a connection: what uvicorn does for it, with waits that end and writes that count."""

import re
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE, STATUS_LINE, RequestResponseCycle

from runtime.http.errors import ApiError

# Names of headers that were looked at before. The application alone makes them, and it has few.
_sound_names: set[bytes] = set()

_CLOSE = re.compile(rb"(?i)(?:^|,)\s*close\s*(?:,|$)")


class Connection(Protocol):
    """Where a request reports its waits."""

    def waits_for_body(self) -> None:
        """The application waits for more of a request's body."""
        ...

    def waits_for_reader(self) -> None:
        """The application waits for the client to read more of its answer."""
        ...

    def waits_no_more(self) -> None:
        """Neither of the two any longer."""
        ...

    def answered(self, exchange: "Exchange") -> None:
        """An answer is complete: the next request may be read."""


class Exchange(RequestResponseCycle):
    """uvicorn's cycle, except for three things.

    A body part is sent when the client has taken all but a few kilobytes of it, so that whoever answers holds its share
    of the memory budget until then. The connection knows when it waits for the client, and can end the wait with an
    error (`fault`), which is raised to the application where it reads the body. And head and body go out in one write.
    """

    connection: Connection
    fault: ApiError | None = None
    _head: list[bytes] | None = None

    def fail(self, fault: ApiError) -> None:
        """End the request with an error: the application gets it instead of the rest of the body."""
        self.fault = fault
        self.keep_alive = False
        self.message_event.set()

    async def receive(self) -> Any:
        """The next message of ASGI: a part of the body, or the client's disconnect. Raises `fault`, if there is one."""
        connection = self.connection
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not self.disconnected and not self.response_complete:
            self.flow.resume_reading()
            if self.more_body and not self.message_event.is_set():
                connection.waits_for_body()
                try:
                    await self.message_event.wait()
                finally:
                    connection.waits_no_more()
            else:
                await self.message_event.wait()
            self.message_event.clear()
        if self.fault is not None and not self.response_complete:
            raise self.fault
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        message = {"type": "http.request", "body": bytes(self.body), "more_body": self.more_body}
        self.body = bytearray()
        return message

    async def send(self, message: Any) -> None:
        """Take a message of ASGI: the answer's head, which waits for its first body part, or a part of the body."""
        if self.disconnected:
            return
        if not self.response_started:
            if message["type"] != "http.response.start":
                raise RuntimeError(f"this is a bug: the answer starts with {message['type']!r}")
            self._start(message["status"], message.get("headers", ()))
        elif self.response_complete or message["type"] != "http.response.body":
            raise RuntimeError(f"this is a bug: {message['type']!r} is sent when that is not due")
        else:
            await self._body(message.get("body", b""), last=not message.get("more_body", False))

    def _start(self, status: int, given: Any) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        head = [STATUS_LINE[status]]
        closes = False
        for name, value in [*self.default_headers, *given]:
            if name not in _sound_names:
                if HEADER_RE.search(name):
                    raise RuntimeError(f"this is a bug: the header {name!r} cannot be sent")
                _sound_names.add(name)
            if HEADER_VALUE_RE.search(value):
                raise RuntimeError(f"this is a bug: the value of the header {name!r} cannot be sent")
            if name == b"content-length":
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"connection" and _CLOSE.search(value):
                self.keep_alive, closes = False, True
            head += (name, b": ", value, b"\r\n")
        if not self.keep_alive and not closes:
            head.append(b"connection: close\r\n")
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in (204, 304):
            self.chunked_encoding = True
            head.append(b"transfer-encoding: chunked\r\n")
        head.append(b"\r\n")
        if self.chunked_encoding:  # a stream's client may wait for the head before it sends the rest of its body
            self.transport.write(b"".join(head))
        else:
            self._head = head

    async def _body(self, body: bytes, *, last: bool) -> None:
        parts: list[bytes] = []
        if self._head is not None:
            parts.append(b"".join(self._head))
            self._head = None
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
        elif self.chunked_encoding:
            if body:
                parts += (b"%x\r\n" % len(body), body, b"\r\n")
            if last:
                parts.append(b"0\r\n\r\n")
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (last and self.expected_content_length):
                raise RuntimeError("this is a bug: the answer is not as long as its content-length")
            parts.append(body)
        self.transport.writelines(parts)
        if self.flow.write_paused:
            self.connection.waits_for_reader()
            try:
                await self.flow.drain()
            finally:
                self.connection.waits_no_more()
            if self.disconnected:
                return
        if last:
            self.response_complete = True
            self.message_event.set()
            self.connection.answered(self)
            self.on_response()
