"""Clients that hold what others need, in every way that costs them little, and one honest client beside them."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from bench.http_client import HOST, build_request, parse_head

CONNECTIONS = 250  # of each kind at once: more than a server keeps
PROBE_EVERY_S = 0.02
PROBE_TIMEOUT_S = 10.0

_CHUNKED = b"POST /embed HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
_EMBED = build_request("POST", "/embed", {"text": "a barn"})


@dataclass(frozen=True)
class Kind:
    """What one connection sends: `first`, and then `again` every 50 ms for as long as the server takes it."""

    first: bytes
    again: bytes = b""


KINDS: Mapping[str, Kind] = {
    "silent": Kind(b""),
    "half_a_head": Kind(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nx-slow: ", b"a"),
    "many_headers": Kind(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n", b"a: b\r\n" * 200),
    "idle_after_an_answer": Kind(build_request("GET", "/healthz")),
    "body_lacks_a_byte": Kind(_EMBED[:-1]),
    "large_body_promised": Kind(build_request("POST", "/embed/batch", b" " * 4_000_000)[:200]),
    "large_body_lacks_a_byte": Kind(build_request("POST", "/embed/batch", b" " * 1_000_000)[:-1]),
    "body_trickles": Kind(_EMBED[:-10], b" "),
    "trailers": Kind(_CHUNKED + b"2\r\n{}\r\n0\r\n", b"a: b\r\n" * 2_000),
    "unread_catalogue": Kind(build_request("GET", "/content?limit=100") * 3),
    "unread_export": Kind(build_request("GET", "/events/export") * 3),
    "unread_metrics": Kind(build_request("GET", "/metrics") * 14),
    "pipelined": Kind(build_request("GET", "/healthz") * 16, build_request("GET", "/healthz") * 16),
    "garbage": Kind(b"\x00\x01\x02\r\n\r\n"),
}


@contextmanager
def attack(port: int, kind: Kind, connections: int = CONNECTIONS) -> Iterator[None]:
    """So many connections of a kind, made anew where the server closes them, until the block ends."""
    ends = threading.Event()
    thread = threading.Thread(target=_attack, args=(port, kind, connections, ends))
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


def probe(port: int, seconds: float, every_s: float = PROBE_EVERY_S) -> Iterator[tuple[bool, float]]:
    """An honest client: a request on a new connection, and another `every_s` after its end. Whether it was answered
    with 200, and milliseconds from connecting to the last byte."""
    end = time.monotonic() + seconds
    while (started := time.monotonic()) < end:
        status = 0
        with contextlib.suppress(OSError, ValueError):
            status = _status(port)
        yield status == 200, (time.monotonic() - started) * 1e3
        time.sleep(every_s)


def _status(port: int) -> int:
    with socket.create_connection((HOST, port), timeout=PROBE_TIMEOUT_S) as connection:
        connection.sendall(_EMBED)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += _more(connection)
        status, length = parse_head(received[:end])
        while len(received) < end + 4 + length:
            received += _more(connection)
        return status


def _more(connection: socket.socket) -> bytes:
    chunk = connection.recv(1 << 16)
    if not chunk:
        raise ConnectionError("closed before the answer was complete")
    return chunk


def _attack(port: int, kind: Kind, connections: int, ends: threading.Event) -> None:
    held: list[socket.socket] = []
    while not ends.is_set():
        for _ in range(min(10, connections - len(held))):
            with contextlib.suppress(OSError):
                held.append(_open(port, kind))
        held = [one for one in held if _stays_open(one, kind)]
        ends.wait(0.05)
    for one in held:
        one.close()


def _open(port: int, kind: Kind) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.settimeout(1.0)
    one.connect((HOST, port))
    one.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        one.send(kind.first)
    return one


def _stays_open(one: socket.socket, kind: Kind) -> bool:
    """Send more; whether the server still keeps the connection. What it answered stays unread."""
    try:
        if kind.again:
            one.send(kind.again)
        if one.recv(1, socket.MSG_PEEK):
            return True
    except BlockingIOError:
        return True
    except OSError:
        pass
    one.close()
    return False
