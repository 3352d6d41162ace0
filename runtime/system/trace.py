"""The request that is being served: its ids and where its time goes, for logs, headers and metrics."""

import itertools
import re
import secrets
from contextvars import ContextVar

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_PROCESS = secrets.token_hex(6)
_numbers = itertools.count(1)


class Trace:
    """One request, from its head to the end of its answer.

    request_id: the client's, or one that is unique over restarts. traceparent: W3C trace context, None without a valid
    one. endpoint: "POST /embed" with the names of parameters, never their values; None where nothing is served.
    client: the name of the key. code, reason: of the error that was returned. seconds: time by stage.
    """

    __slots__ = ("client", "code", "endpoint", "reason", "request_id", "seconds", "traceparent")

    def __init__(self, request_id: bytes | None, traceparent: bytes | None) -> None:
        sane = request_id is not None and _REQUEST_ID.fullmatch(request_id)
        self.request_id = request_id.decode() if sane and request_id else f"{_PROCESS}-{next(_numbers):x}"
        valid = traceparent is not None and _TRACEPARENT.fullmatch(traceparent)
        self.traceparent = traceparent.decode() if valid and traceparent else None
        self.endpoint: str | None = None
        self.client: str | None = None
        self.code: str | None = None
        self.reason: str | None = None
        self.seconds: dict[str, float] = {}

    def spent(self, stage: str, seconds: float) -> None:
        """Count time to a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def spent(stage: str, seconds: float) -> None:
    """Count time to a stage of the request that is being served here; nothing happens outside of one."""
    trace = current.get()
    if trace is not None:
        trace.spent(stage, seconds)
