"""What every request goes through before its endpoint: ids, origin, admission, and the way to the route."""

import time
from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.http.admission import Admission
from runtime.http.origins import Header, Origins
from runtime.http.tracing import begin, headers, log_request
from runtime.system.metrics import RequestMetrics
from runtime.system.trace import Trace

NO_RESPONSE = 499  # no answer was begun


class Front:
    """ASGI application around `routed`, the application with all routes.

    exact: endpoints by method and path as it is sent, which need no search among the routes. Layers of middleware would
    each wrap both channels of every request: after a run of the model has emptied the caches, code costs by its size.
    """

    def __init__(
        self,
        routed: ASGIApp,
        exact: Mapping[tuple[str, bytes], ASGIApp],
        *,
        metrics: RequestMetrics,
        origins: Origins,
        admission: Admission,
    ) -> None:
        self._routed = routed
        self._exact = exact
        self._metrics = metrics
        self._origins = origins
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Each request is counted and logged when it is over."""
        if scope["type"] != "http":
            await self._routed(scope, receive, send)
            return
        started = time.monotonic()
        _drop_trailing_slash(scope)
        channels = _Channels(begin(scope), started, receive, send)
        try:
            await self._answer(scope, channels)
        finally:
            seconds = time.monotonic() - started
            self._metrics.observe(channels.trace, channels.status or NO_RESPONSE, seconds)
            log_request(scope["method"], channels.trace, channels.status, seconds)

    async def _answer(self, scope: Scope, channels: "_Channels") -> None:
        admission = self._admission
        answer, channels.headers = self._origins.check(scope)
        counts = answer is None and admission.counts(scope)
        if counts and (refusal := admission.refusal()) is not None:
            answer, counts = refusal.response(), False
        if answer is not None:
            await answer(scope, channels.receive, channels.send)
            return
        endpoint = self._exact.get((scope["method"], scope["raw_path"]), self._routed)
        if not counts:
            await endpoint(scope, channels.receive, channels.send)
            return
        channels.admission = admission
        admission.served += 1
        try:
            await endpoint(scope, channels.receive, channels.send)
        finally:
            admission.served -= 1


class _Channels:
    """The two channels of one request. Times and ids are added to its answer; while it waits for its client, it takes
    no place among those that are served.

    headers: for the answer, too. status: of the answer, 0 until it begins.
    """

    __slots__ = ("_receive", "_send", "_started", "_waits", "admission", "headers", "status", "trace")

    def __init__(self, trace: Trace, started: float, receive: Receive, send: Send) -> None:
        self.trace = trace
        self.headers: Sequence[Header] = ()
        self.status = 0
        self.admission: Admission | None = None  # None: it takes no place
        self._started = started
        self._waits = 0  # a stream listens for its client while it sends
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        """The next message from the client."""
        if self.admission is None:
            return await self._receive()
        self._waits_more()
        try:
            return await self._receive()
        finally:
            self._waits_less()

    async def send(self, message: Message) -> None:
        """A message to the client."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            added = headers(self.trace, time.monotonic() - self._started)
            message["headers"] = [*message["headers"], *self.headers, *added]
        if self.admission is None:
            await self._send(message)
            return
        self._waits_more()
        try:
            await self._send(message)
        finally:
            self._waits_less()

    def _waits_more(self) -> None:
        assert self.admission is not None
        self.admission.served -= self._waits == 0
        self._waits += 1

    def _waits_less(self) -> None:
        assert self.admission is not None
        self._waits -= 1
        self.admission.served += self._waits == 0


def _drop_trailing_slash(scope: Scope) -> None:
    """A slash at the end of a path means nothing, so that DELETE /user/ada/ deletes "ada".

    Ids may hold slashes, also at their end, where they are sent as %2F.
    """
    raw = scope["raw_path"]
    if raw[-1:] == b"/" and len(raw) > 1:
        shorter = raw.rstrip(b"/") or b"/"
        scope["path"] = scope["path"][: len(scope["path"]) - len(raw) + len(shorter)]
        scope["raw_path"] = shorter
