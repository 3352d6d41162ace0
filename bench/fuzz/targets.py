"""What coverage-guided fuzzing feeds: each target takes any bytes, and raises for what no client may cause."""

import asyncio
import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import uvicorn
from starlette.requests import Request
from uvicorn.server import ServerState

from bench.fuzz.mutations import NASTY, WORKING
from runtime.api.endpoints import ENDPOINTS
from runtime.app import create_app
from runtime.catalog.item_fields import Content, embedding_text, labels
from runtime.http.api_keys import ApiKeys
from runtime.http.batch import Reader
from runtime.http.decoding import check_values, decode_json
from runtime.http.errors import ApiError
from runtime.http.media import check_media, in_utf8
from runtime.http.protocol import HttpProtocol
from runtime.http.query import decode_query
from runtime.http.timestamps import microseconds
from runtime.models.installed import PACKAGED, TEXT_ENCODER
from runtime.models.tokenizer import Tokenizer
from runtime.personalization.actions import event_types
from runtime.settings import Settings
from runtime.system.text import folded, visible

ANSWER_S = 60.0  # later than any deadline of the server: a hang
MOST_TOKENS = 256
_ALLOWED = {503, 507}
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,30})([.][0-9]{1,30})?")
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_BODIES = [(method, path) for method, path, value in WORKING if value is not None]
_BODYLESS = [method for method, _, value in WORKING if value is None]


class Wrong(Exception):
    """What no input may cause; the message says what."""


class Target(NamedTuple):
    """`run` takes an input; `seeds` are inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]


def parsers() -> Target:
    """Parsers of what clients send, by the input's first byte. Each returns, or raises the error that it declares."""
    requests = [one.request for one in ENDPOINTS if one.request is not None]
    decoders = [msgspec.json.Decoder(kind).decode for kind in requests]
    readers = [Reader(decode, lambda item, path: item) for decode in decoders]
    queries = [one.query for one in ENDPOINTS if one.query is not None]
    tokenizer = Tokenizer(PACKAGED / TEXT_ENCODER / "tokenizer.json", max_tokens=MOST_TOKENS)
    content = msgspec.json.Decoder(Content).decode

    def decode(number: int, data: bytes) -> None:
        check_values(in_utf8(data), 1_000)
        decode_json(decoders[number % len(decoders)], data)

    def batch(number: int, data: bytes) -> None:
        for one in readers[number % len(readers)].batch(data, limit=100, lines=bool(number & 1)):
            if isinstance(one.result, ApiError):
                one.result.response()

    def query(number: int, data: bytes) -> None:
        scope = {"type": "http", "query_string": data, "headers": []}
        decode_query(Request(scope), queries[number % len(queries)])

    def time(number: int, data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        with suppress(ApiError):
            microseconds(text, "$")
        microseconds(msgspec.json.decode(text) if _NUMBER.fullmatch(text) else 0, "$")

    def media(number: int, data: bytes) -> None:
        names = (b"content-type", b"content-encoding", b"accept")
        check_media({"headers": [(names[number % 3], data)]}, ("application/json",))

    def tokens(number: int, data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        whole = tokenizer._ids([tokenizer.readable(text)])[0][: MOST_TOKENS - 2]  # of the whole text, before the cut
        batch = [one for step in tokenizer.in_steps([text, "a barn", text]) for one in step]
        for found in (tokenizer.tokenize(text), batch[0], batch[2]):
            if found.ids[1:-1].tolist() != whole:
                raise Wrong("other tokens than those of the whole text")

    def item(number: int, data: bytes) -> None:
        decoded = decode_json(content, data)
        text, _ = embedding_text(decoded)
        if text != (visible(text) or ""):
            raise Wrong("the text that is embedded has blanks around it")
        labels(tags=decoded.tags, vendor=decoded.vendor_name, category=decoded.category)

    def fold(number: int, data: bytes) -> None:
        once = folded(data.decode("utf-8", "replace"))
        if once is not None and folded(once) != once:
            raise Wrong("folding twice is not folding once")

    def settings(number: int, data: bytes) -> None:
        with suppress(ValueError):
            (event_types, ApiKeys.parse)[number & 1](data.decode("utf-8", "replace"))

    all_parsers = (decode, batch, query, time, media, tokens, item, fold, settings)

    def run(data: bytes) -> None:
        if len(data) < 2:
            return
        with suppress(ApiError):
            all_parsers[data[0] % len(all_parsers)](data[1], data[2:])

    bodies = [json.dumps(value).encode() for _, _, value in WORKING if value is not None]
    texts = [b"2026-01-31 10:00:00 UTC", b"1700000000.5", b"top_k=3&tag=a&diversity=0.3", b"text/json; charset=utf-16",
             b"purchase=share:10, like=save", "a barn \N{WEDDING} caf\u00e9 [SEP]".encode(), *NASTY]  # fmt: skip
    seeds = [bytes([kind, number]) + text for kind in (0, 1, 6) for number, text in enumerate(bodies)]
    return Target(run, seeds + [bytes([kind, 0]) + text for kind in range(2, 9) for text in texts])


class Server:
    """The application in this process, each input on a connection of its own, whose other end is in memory."""

    def __init__(self, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        app = self._loop.run_until_complete(create_app(Settings(data_dir=folder, threads=1, log_level="error")))
        self._lifespan = app.router.lifespan_context(app)
        self._loop.run_until_complete(self._lifespan.__aenter__())
        kind = partial(HttpProtocol, connections=app.state.connections)
        self._config = uvicorn.Config(app, http=kind, ws="none", lifespan="off", log_config=None)  # type: ignore[arg-type]
        self._config.load()
        self._state = ServerState()
        self._bugs: list[str] = []
        handler = logging.Handler(logging.ERROR)
        handler.emit = self._note  # type: ignore[method-assign]
        logging.getLogger("vows").addHandler(handler)

    def send(self, data: bytes, cut: int) -> None:
        """Send bytes in two pieces, and look at the answers once the server waits for more. Raises Wrong."""
        self._bugs.clear()
        received = self._loop.run_until_complete(self._exchange([data[:cut], data[cut:]]))
        if self._bugs:
            raise Wrong(self._bugs[0])
        for status in _STATUS.findall(received):
            if int(status) >= 500 and int(status) not in _ALLOWED:
                raise Wrong(received[:500].decode("latin-1"))

    async def _exchange(self, pieces: Sequence[bytes]) -> bytes:
        protocol: Any = self._config.http_protocol_class(
            config=self._config,
            server_state=self._state,
            app_state={},
            _loop=self._loop,  # type: ignore[call-arg]
        )
        transport = _Memory(protocol)
        protocol.connection_made(transport)
        try:
            async with asyncio.timeout(ANSWER_S):
                for piece in pieces:
                    protocol.data_received(piece)
                    await asyncio.sleep(0)
                while not transport.closed and not protocol._waits:
                    await asyncio.sleep(0.0002)
        except TimeoutError:
            raise Wrong(f"no answer within {ANSWER_S:g} s") from None
        finally:
            transport.abort()
            for _ in range(3):  # what the end of the connection sets off
                await asyncio.sleep(0)
        return bytes(transport.received)

    def _note(self, record: logging.LogRecord) -> None:
        if "bug" in record.getMessage():
            error = record.exc_info[1] if record.exc_info else None
            self._bugs.append(f"{record.getMessage()}: {type(error).__name__} {error}")


class _Memory(asyncio.Transport):
    """A connection whose client takes everything at once."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__({"sockname": ("127.0.0.1", 8080), "peername": ("127.0.0.1", 40_000)})
        self.received = bytearray()
        self.closed = False
        self._protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.received += data

    def writelines(self, parts: Any) -> None:
        self.received += b"".join(parts)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._protocol.connection_lost(None)

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def http(folder: Path) -> Target:
    """Connections: the bytes as they are, a path, or a body behind a right head, by the input's first byte."""
    server = Server(folder)
    for name in ("item-1", "item-2", "item-3"):
        server.send(_with_body("PUT", f"/content/{name}", b'{"text":"a barn"}'), 0)

    def run(data: bytes) -> None:
        if len(data) < 3:
            return
        kind, number, cut, rest = data[0], data[1], data[2], data[3:]
        match kind % 4:
            case 0:
                server.send(rest, cut)
            case 1:
                line = _BODYLESS[number % len(_BODYLESS)].encode() + b" /" + rest
                server.send(line + b" HTTP/1.1\r\nhost: localhost\r\n\r\n", cut)
            case _:
                method, path = _BODIES[number % len(_BODIES)]
                server.send(_with_body(method, path, rest), cut)

    return Target(run, list(_http_seeds()))


def _http_seeds() -> Iterator[bytes]:
    for number, (method, path) in enumerate(_BODIES):
        value = next(value for one, where, value in WORKING if (one, where) == (method, path) and value is not None)
        body = json.dumps(value).encode()
        yield bytes([2, number, 20]) + body
        yield bytes([0, 0, 90]) + _with_body(method, path, body)
    for number, (_, path, _) in enumerate(one for one in WORKING if one[2] is None):
        yield bytes([1, number, 9]) + path[1:].encode()
    chunked = (
        b'POST /embed HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"tex\r\n7\r\nt":"a"}\r\n0\r\n'
    )
    for raw in (
        chunked + b"x: y\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: \r\n\r\n",
        b"GET /docs HTTP/1.1\r\nhost: localhost\r\norigin: http://a.example\r\n\r\n" * 3,
        b"OPTIONS /embed HTTP/1.1\r\nhost: localhost\r\norigin: null\r\naccess-control-request-method: POST\r\n\r\n",
        b"POST /embed HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
    ):  # fmt: skip
        yield bytes([0, 0, 30]) + raw


def _with_body(method: str, path: str, body: bytes) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def target(name: str) -> Target:
    """A target by its name."""
    if name == "parsers":
        return parsers()
    memory = Path("/dev/shm")  # syncs cost nothing there
    folder = tempfile.mkdtemp(prefix="vows-fuzz-", dir=memory if memory.is_dir() else None)
    return http(Path(folder))
