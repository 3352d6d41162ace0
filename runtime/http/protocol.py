"""HTTP/1.1 on one connection: uvicorn's parser glue, with a bound on everything that a client can send or leave unread.

What this adds to uvicorn is about clients that send too much, too little or nonsense, and never touches a healthy
request: no timer is set for one, a sweep looks at all connections once a second (connections.py).
"""

import asyncio
import logging
from typing import Any, cast
from urllib.parse import unquote

import httptools
import msgspec
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from runtime.http.connections import LINGER_BYTES, LINGER_S, Connections
from runtime.http.errors import ApiError, Error, ErrorBody
from runtime.http.exchange import Exchange

log = logging.getLogger("vows")

MAX_HEADERS = 128  # of a request; each takes up to a hundred bytes beside its own
MAX_PIPELINED = 16  # requests sent ahead on one connection
WRITE_BUFFER_BYTES = 16 * 1024  # of an answer, in this process, when it counts as written

# What a connection waits for.
_REQUEST, _HEAD, _BODY, _READER, _END, _NOTHING = "request", "head", "body", "reader", "end", ""

# Headers that offer another protocol. The offer is ignored (RFC 9110 §7.8), and nothing behind this needs to see it.
_UPGRADE = (b"upgrade", b"http2-settings")


class HttpProtocol(HttpToolsProtocol):
    """One connection of `connections`; its limits say how much and how slowly a client may send and read.

    Refused before there is a request, always as JSON: 431 for a head or trailers that are too long, 400 for what is not
    HTTP, 408 for a head that does not end, 503 on one connection too many. Requests that came whole before are answered
    first.
    """

    def __init__(self, *args: Any, connections: Connections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.open = connections
        self.limits = connections.limits
        self.limit_concurrency = None
        self._waits = _REQUEST
        self._since = self.loop.time()  # of the wait
        self._checked = 0.0  # when lateness was last looked at
        self._late_s = 0.0
        self._moved = 0  # bytes of the body that came, or (negative) of the answer that are not read, when checked
        self._received = 0  # of the body
        self._in_head = True
        self._unparsed = 0  # bytes since a head, a piece of a body or a message ended
        self._offered = False  # an upgrade; the rest of this head's connection is parsed anew
        self._refusal: tuple[str, Error, str] | None = None  # due when what came before it is answered
        self._served: Exchange | None = None  # the oldest request without a complete answer

    # Connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self.open.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open.closed(self)
        if self._served is not None and self._served is not self.cycle:  # a pipelined one is the newest
            self._served.disconnected = True
            self._served.message_event.set()
        self.pipeline.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unparsed += len(data)
        if self.transport.is_closing() or self._refusal is not None:
            if self._unparsed > LINGER_BYTES and self._waits is _END:
                self.transport.abort()
            return
        while data:
            data = self._parse(data)
        if self._unparsed > self.limits.max_head_bytes:
            self._refuse_head()
        elif self._waits is _REQUEST and self._unparsed:
            self._waits, self._since = _HEAD, self.loop.time()
            self.open.begins(self)

    def _parse(self, data: bytes) -> bytes:
        """Parse, and return what has to be parsed again: a request without its offer to upgrade, and what follows."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._without_offer() + data[upgrade.args[0] :] if self._offered else b""
        except httptools.HttpParserError as error:
            if self._refusal is None and not self.transport.is_closing():
                self._refuse_garbage(error)
        return b""

    def _without_offer(self) -> bytes:
        """The head that was just parsed, for a new parser: the old one takes what follows for another protocol."""
        self._offered = False
        version = self.parser.get_http_version()
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        head = [b"%s %s HTTP/%s\r\n" % (self.scope["method"].encode(), self.url, version.encode())]
        for name, value in self.headers:
            if name == b"connection":
                options = [option.strip() for option in value.split(b",")]
                value = b", ".join(option for option in options if option.lower() not in _UPGRADE) or b"keep-alive"
            if name not in _UPGRADE:
                head.append(b"%s: %s\r\n" % (name, value))
        return b"".join(head) + b"\r\n"

    # What the parser found

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:  # a trailer: of no use here, and not kept
            return
        if len(self.headers) < MAX_HEADERS:
            super().on_header(name, value)
        else:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        method = self.parser.get_method()
        self.scope["method"] = method.decode("ascii")
        if self._refusal is not None or self.transport.is_closing():  # the rest of what came is parsed to no end
            return
        if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > self.limits.max_head_bytes:
            self._refuse_head()
            return
        if self.parser.should_upgrade():
            self._offered = method != b"CONNECT"
            if not self._offered:
                error = Error("method_not_allowed", "this is no proxy: CONNECT is not served; see /docs")
                self._refuse("405 Method Not Allowed", error)
            return
        self._in_head = False
        self._unparsed = 0
        self.open.works(self)
        target = httptools.parse_url(self.url)
        path = target.path or b"/"  # http://host alone is that of "/" (RFC 9112 §3.2.2)
        self.scope["raw_path"] = path
        self.scope["path"] = unquote(path.decode("ascii")) if b"%" in path else path.decode("ascii")
        self.scope["query_string"] = target.query or b""
        version = self.parser.get_http_version()
        self.scope["http_version"] = version
        if self._served is None and self.open.overfull and not self._has_place(path):
            self.refuse_for_room()
            return
        exchange = Exchange(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        exchange.connection = self
        self.cycle = exchange
        if self._served is None:
            self._begin(exchange)
            return
        self.flow.pause_reading()
        self.pipeline.appendleft((exchange, self.app))
        if len(self.pipeline) > MAX_PIPELINED:
            self.open.drop(self, "pipelined")

    def _has_place(self, path: bytes) -> bool:
        return path.rstrip(b"/") in self.limits.health_paths or self.open.make_way(self.loop.time())

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        self._received += len(body)
        if self._refusal is not None or self.transport.is_closing() or self.cycle.response_complete:
            return
        self.cycle.body += body
        if len(self.cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._unparsed = 0
        if self._offered or self._refusal is not None or self.transport.is_closing():
            return
        self._in_head = True
        self.cycle.more_body = False
        self.cycle.message_event.set()
        if self._waits is _BODY and self.cycle.response_complete:  # an answer did not need the body, which is over now
            self._idle()

    # Requests, one after the other

    def _begin(self, exchange: RequestResponseCycle) -> None:
        self._served = cast(Exchange, exchange)
        self._waits = _NOTHING
        self._late_s = 0.0
        self._start_asgi_task(exchange, self.app)

    def answered(self, exchange: Exchange) -> None:
        """The answer is written, but for what fits WRITE_BUFFER_BYTES."""
        self._served = None
        if not exchange.keep_alive:
            self._end(gently=exchange.more_body)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing() or self._waits is _END:
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._begin(self.pipeline.pop()[0])
        elif self._refusal is not None:
            self._refuse(*self._refusal)
        elif self.cycle.more_body:  # it was refused before it was read; a limited time is given for the rest
            self.waits_for_body()
        else:
            self._idle()

    def _idle(self) -> None:
        self._waits, self._since = _HEAD if self._unparsed else _REQUEST, self.loop.time()
        self.open.idles(self)

    def shutdown(self) -> None:
        """The server stops: close now, or after the answer."""
        if self._served is None:
            self.transport.close()
        else:
            self.cycle.keep_alive = False
            self._served.keep_alive = self._served is not self.cycle

    # Waiting for the client

    def waits_for_body(self) -> None:
        """From now on the client's rate of sending counts."""
        self._wait(_BODY, self._received)

    def waits_for_reader(self) -> None:
        """From now on the client's rate of reading counts."""
        self._wait(_READER, -self.transport.get_write_buffer_size())

    def waits_no_more(self) -> None:
        """The server works: the client is behind with nothing."""
        if self._waits is _BODY or self._waits is _READER:
            self.late_s(self.loop.time())
            self._waits = _NOTHING

    def _wait(self, what: str, moved: int) -> None:
        self._waits, self._moved = what, moved
        self._since = self._checked = self.loop.time()

    def late_s(self, now: float) -> float:
        """Seconds that the client is behind the rate it has to keep, while a request waits for it and nothing else."""
        if self._waits is not _BODY and self._waits is not _READER:
            return 0.0
        moved = self._received if self._waits is _BODY else -self.transport.get_write_buffer_size()
        credit_s = (moved - self._moved) / self.limits.min_bytes_per_s
        self._late_s = max(0.0, self._late_s + (now - self._checked) - credit_s)
        self._moved, self._checked = moved, now
        return self._late_s

    def check(self, now: float) -> None:
        """End a wait that took too long. Called about once a second."""
        limits, waited_s = self.limits, now - self._since
        if self._waits is _READER:
            if self.late_s(now) > limits.write_timeout_s:
                self.open.drop(self, "unread")
        elif self._waits is _BODY:
            if self._served is None:
                if waited_s > limits.body_timeout_s:
                    self.open.drop(self, "body")
            elif self.late_s(now) > limits.body_timeout_s:
                self.open.dropped["body"] += 1
                text = f"the body came too slowly: it was more than {limits.body_timeout_s:g} s behind "
                self._served.fail(ApiError(408, "body_timeout", f"{text}{limits.min_bytes_per_s} bytes a second"))
        elif self._waits is _HEAD:
            if waited_s > limits.header_timeout_s:
                self.open.dropped["head"] += 1
                text = f"the request's head was not complete after {limits.header_timeout_s:g} s"
                self._refuse("408 Request Timeout", Error("header_timeout", text))
        elif self._waits is _REQUEST:
            unused = self.cycle is None
            if waited_s > (limits.header_timeout_s if unused else limits.keep_alive_s):
                self.open.drop(self, "idle")
        elif self._waits is _END:
            unread = self.transport.get_write_buffer_size() > 0
            if waited_s > (limits.write_timeout_s if unread else LINGER_S):
                self.open.drop(self, "unread") if unread else self.transport.abort()

    # Refusals

    def refuse_for_room(self) -> None:
        """Answer 503, and end."""
        limit = self.limits.max_connections
        error = Error("overloaded", f"there are {len(self.open)} connections, the limit is {limit}; try again")
        self._refuse("503 Service Unavailable", error, "retry-after: 1\r\n")

    def _refuse_head(self) -> None:
        limit = self.limits.max_head_bytes
        text = f"the request line and headers, or the trailers, exceed {limit} bytes or {MAX_HEADERS} lines"
        self._fault("431 Request Header Fields Too Large", Error("headers_too_large", text))

    def _refuse_garbage(self, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        if isinstance(error, httptools.HttpParserCallbackError) and not isinstance(
            cause, httptools.HttpParserError | UnicodeDecodeError | None
        ):
            log.error("this is a bug", exc_info=cause)
        self._fault("400 Bad Request", Error("malformed_http", f"this is not an HTTP/1.1 request: {error}"))

    def _fault(self, status: str, error: Error) -> None:
        """Nothing that comes now can be understood. A request that was not complete fails; others are answered."""
        if self._refusal is not None or self.transport.is_closing():
            return
        self.open.dropped["fault"] += 1
        if not self._in_head and self.cycle is not None and not self.cycle.response_complete:
            self._refusal = (status, error, "")  # nothing more is read; the request itself gets the answer
            cast(Exchange, self.cycle).fail(ApiError(int(status[:3]), error.code, error.message))
        elif self._served is not None:
            self._refusal = (status, error, "")
        else:
            self._refuse(status, error)

    def _refuse(self, status: str, error: Error, headers: str = "") -> None:
        """Answer without a request, and end."""
        self._refusal = (status, error, headers)
        content = msgspec.json.encode(ErrorBody(error))
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}"
            f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + content)
        self._end(gently=True)

    def _end(self, *, gently: bool) -> None:
        """Close; `gently`: when the client has, or LINGER_S later, since what it still sends would undo the answer."""
        self._refusal = self._refusal or ("", Error("", ""), "")
        self._waits, self._since = _END, self.loop.time()
        if gently and self.transport.can_write_eof() and not self.transport.is_closing():
            self.open.ends(self)
            self.flow.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()
