"""Mutated requests at a running server: each is answered, none by a 500, and what was acknowledged meanwhile stays."""

import json
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from bench.faults.ledger import Ledger
from bench.fuzz.mutations import WORKING, Request, requests
from bench.http_client import HOST, build_request

ANSWER_S = 60.0  # later than any deadline of the server: a hang
EXAMPLES, AT_ONCE = 400, 10  # sequences a run of hypothesis, requests a sequence
REFUSALS = {503: {"overloaded"}, 507: {"catalog_full"}}
_NOT_HTTP = b"Invalid HTTP request received."


class Wrong(Exception):
    """An answer that no request deserves; the message has both."""


class Bombardment:
    """One connection, opened again where the server closes it; counts the statuses it gets."""

    def __init__(self, port: int, ledger: Ledger) -> None:
        self.statuses: Counter[int] = Counter()
        self._port = port
        self._ledger = ledger
        self._socket: socket.socket | None = None

    def send(self, request: Request) -> None:
        """Send it and look at the answer. Raises Wrong."""
        try:
            status, content = self._send(request.to_bytes(), has_body=request.method != "HEAD")
        except OSError as error:
            raise Wrong(f"{request}: no answer, {type(error).__name__} {error}") from error
        self.statuses[status] += 1
        if status < 400 or request.method == "HEAD" or (status == 400 and content == _NOT_HTTP):
            return
        try:
            refusal = json.loads(content)["error"]
            code = refusal["code"]
        except (ValueError, KeyError, TypeError) as missing:
            raise Wrong(f"{request}: {status} without an error's code: {content[:200]!r}") from missing
        if status >= 500 and code not in REFUSALS.get(status, ()):
            raise Wrong(f"{request}: {status} {refusal}")

    def remember(self) -> None:
        """Store an event of our own between the others, and note that it was acknowledged."""
        id = f"anchor-{len(self._ledger.sent)}"
        self._ledger.sent.add(id)
        event = {"user_id": "anchor", "content_id": "anchor", "type": "view", "event_id": id}
        status, content = self._send(build_request("POST", "/interactions", event))
        if status != 200 or json.loads(content)["stored"] != 1:
            raise Wrong(f"a plain event was answered {status}: {content[:200]!r}")
        self._ledger.acknowledged.add(id)

    def close(self) -> None:
        """Leave the server."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, request: bytes, *, has_body: bool = True) -> tuple[int, bytes]:
        """Status and content; on a new connection where the server closed the last one without an answer."""
        for fresh in (self._socket is None, True):
            if fresh:
                self.close()
                self._socket = socket.create_connection((HOST, self._port), timeout=ANSWER_S)
            try:
                return self._answer(request, has_body)
            except ConnectionError:
                if fresh:
                    raise
        raise ConnectionError("the server closes every connection")

    def _answer(self, request: bytes, has_body: bool) -> tuple[int, bytes]:
        assert self._socket is not None
        self._socket.sendall(request)
        received = b""
        while True:
            head, end, rest = received.partition(b"\r\n\r\n")
            if end and head.split(b" ", 2)[1][:1] == b"1":  # 100 Continue
                received = rest
            elif end:
                break
            else:
                received += self._more()
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            rest = self._chunks(rest)
        missing = int(fields.get(b"content-length", b"0")) - len(rest) if has_body else 0
        while missing > 0:
            rest += self._more()
            missing = int(fields[b"content-length"]) - len(rest)
        if fields.get(b"connection", b"").strip() == b"close":
            self.close()
        return int(head.split(b" ", 2)[1]), rest

    def _chunks(self, received: bytes) -> bytes:
        content = b""
        while True:
            while b"\r\n" not in received:
                received += self._more()
            size, _, received = received.partition(b"\r\n")
            while len(received) < int(size, 16) + 2:
                received += self._more()
            content, received = content + received[: int(size, 16)], received[int(size, 16) + 2 :]
            if int(size, 16) == 0:
                return content

    def _more(self) -> bytes:
        assert self._socket is not None
        received = self._socket.recv(1 << 16)
        if not received:
            raise ConnectionResetError("closed before the answer was complete")
        return received


def prepare(port: int) -> None:
    """The content and users that requests are about, and the anchor that none of them touches."""
    bombardment = Bombardment(port, Ledger())
    bombardment.send(Request("PUT", "/content/anchor", b'{"text":"an anchor"}', {"content-type": "application/json"}))
    for method, path, body in WORKING:
        headers = {} if body is None else {"content-type": "application/json"}
        bombardment.send(Request(method, path, None if body is None else json.dumps(body).encode(), headers))
    bombardment.close()
    refused = [status for status in bombardment.statuses if status not in (200, 204, 404)]
    if refused:
        raise Wrong(f"requests that should work were answered {refused}")


def bombard(port: int, ledger: Ledger, *, count: int, first_seed: int, progress: Callable[[int], None]) -> Counter[int]:
    """At least `count` mutated requests; how often each status came. Raises Wrong with a smallest case that fails."""
    bombardment = Bombardment(port, ledger)
    number = 0

    def one(requests: list[Request]) -> None:
        for request in requests:
            bombardment.send(request)
        bombardment.remember()

    while (sent := bombardment.statuses.total()) < count:
        progress(sent)
        examples = min(EXAMPLES, max(1, (count - sent) // AT_ONCE + 1))
        strategy: Any = given(st.lists(requests(), min_size=AT_ONCE // 2, max_size=AT_ONCE))
        limits = settings(max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        limits(seed(first_seed + number)(strategy(one)))()
        number += 1
    bombardment.close()
    return bombardment.statuses
