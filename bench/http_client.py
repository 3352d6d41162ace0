"""A keep-alive HTTP/1.1 client on a bare socket: requests are bytes made beforehand, answers are read by length.

`http.client` costs about as much as the server's own overhead, which is what is being measured.
"""

import json
import socket
import time
from types import TracebackType
from typing import Any

HOST = "127.0.0.1"
_RECEIVE_BYTES = 1 << 16


def build_request(method: str, path: str, body: object = None, content_type: str = "application/json") -> bytes:
    """A whole request as bytes. `body`: None, bytes as they are, or anything JSON can say."""
    payload = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: {HOST}\r\n"
    if body is not None:
        head += f"content-type: {content_type}\r\ncontent-length: {len(payload)}\r\n"
    return head.encode() + b"\r\n" + payload


def parse_head(head: bytes) -> tuple[int, int]:
    """Status and content length of a response head. Raises ValueError when it gives no length (204 and 304 need none).

    Chunked answers have none: see `Connection.send`.
    """
    lines = head.split(b"\r\n")
    status = int(lines[0].split(b" ", 2)[1])
    for line in lines[1:]:
        if line[:15].lower() == b"content-length:":
            return status, int(line[15:])
    if status in (204, 304):
        return status, 0
    raise ValueError(f"answer {status} without content-length: {head[:200]!r}")


class Connection:
    """One connection; `send` sends a request and waits for the whole response. Closed by `with`.

    `awake`: wait for the answer without sleeping. A core that sleeps takes 0.1 to 0.4 ms to wake in a virtual machine,
    the longer it slept the more, and that is the client's time, not the server's. It needs a core of its own.
    """

    def __init__(self, port: int, timeout_s: float = 60.0, *, awake: bool = False) -> None:
        self.head = b""  # of the last answer
        self._timeout_s = timeout_s
        self._awake = awake
        self._socket = socket.create_connection((HOST, port), timeout=timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. Raises ConnectionError when the server closes first."""
        self._socket.sendall(request)
        received = self._receive()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        self.head = received[:end]
        if b"\r\ntransfer-encoding: chunked" in received[:end].lower():
            return int(received[:end].split(b" ", 2)[1]), self._chunks(received[end + 4 :])
        status, length = parse_head(received[:end])
        parts, missing = [received[end + 4 :]], length - (len(received) - end - 4)
        while missing > 0:
            parts.append(self._more())
            missing -= len(parts[-1])
        return status, b"".join(parts)

    def _chunks(self, received: bytes) -> bytes:
        """The body of a chunked answer, of which `received` is the beginning."""
        body: list[bytes] = []
        while True:
            while (end := received.find(b"\r\n")) < 0:
                received += self._more()
            size, received = int(received[:end], 16), received[end + 2 :]
            while len(received) < size + 2:
                received += self._more()
            body.append(received[:size])
            received = received[size + 2 :]
            if size == 0:
                return b"".join(body)

    def timed(self, request: bytes) -> tuple[float, int]:
        """Milliseconds from the first byte sent to the last received, and the status."""
        start = time.perf_counter_ns()
        status, _ = self.send(request)
        return (time.perf_counter_ns() - start) / 1e6, status

    def request_json(self, request: bytes) -> Any:
        """The decoded body of a 2xx answer. Raises RuntimeError with the answer otherwise."""
        status, body = self.send(request)
        if status >= 300:
            raise RuntimeError(f"{request.split(b' HTTP', 1)[0].decode()} answered {status}: {body[:300]!r}")
        return json.loads(body) if body else None

    def _receive(self) -> bytes:
        if not self._awake:
            return self._socket.recv(_RECEIVE_BYTES)
        deadline = time.monotonic() + self._timeout_s
        while time.monotonic() < deadline:
            try:
                return self._socket.recv(_RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
        raise TimeoutError(f"no answer within {self._timeout_s:g} s")

    def _more(self) -> bytes:
        received = self._receive()
        if not received:
            raise ConnectionError("the server closed the connection before its answer was complete")
        return received

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()
