"""The outermost layer: ids in, ids and times out; each request counted and logged when it is over."""

import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.system.logs import request_line
from runtime.system.metrics import RequestMetrics
from runtime.system.trace import Trace, current

NO_RESPONSE = 499  # no answer was begun

log = logging.getLogger("vows.request")


class Tracing:
    """ASGI middleware. Answers carry `X-Request-Id`, `Server-Timing` and the `traceparent` that came in.

    Lines are `info`; requests rejected by capacity `warning`, defects `error`, and health checks, which come every few
    seconds, `debug`.
    """

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        request_id = traceparent = None
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                request_id = value
            elif name == b"traceparent":
                traceparent = value
        trace = Trace(request_id, traceparent)
        current.set(trace)  # a request is a task of its own, so this ends with it
        status = 0

        async def send_traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_headers(trace, time.monotonic() - started)]
            await send(message)

        try:
            await self._app(scope, receive, send_traced)
        finally:
            seconds = time.monotonic() - started
            self._metrics.observe(trace, status or NO_RESPONSE, seconds)
            _log(scope["method"], trace, status, seconds)


def _headers(trace: Trace, total_s: float) -> list[tuple[bytes, bytes]]:
    """Times in milliseconds up to here, stage by stage and in all."""
    stages = [f"{stage};dur={seconds * 1e3:.3f}" for stage, seconds in trace.seconds.items()]
    timing = ", ".join([*stages, f"total;dur={total_s * 1e3:.3f}"])
    headers = [(b"x-request-id", trace.request_id.encode()), (b"server-timing", timing.encode())]
    if trace.traceparent is not None:
        headers.append((b"traceparent", trace.traceparent.encode()))
    return headers


def _log(method: str, trace: Trace, status: int, total_s: float) -> None:
    level = _level(trace.endpoint, status)
    if not log.isEnabledFor(level):
        return
    fields: dict[str, Any] = {"status": status, "ms": round(total_s * 1e3, 3)}
    if trace.client is not None:
        fields["client"] = trace.client
    if trace.reason is not None:
        fields["reason"] = trace.reason
    if trace.traceparent is not None:
        fields["trace_id"], fields["parent_id"] = trace.traceparent[3:35], trace.traceparent[36:52]
    for stage, seconds in trace.seconds.items():
        fields[f"{stage}_ms"] = round(seconds * 1e3, 3)
    request_line(log, level, trace.endpoint or f"{method} (unmatched route)", fields)


def _level(endpoint: str | None, status: int) -> int:
    if status in (429, 503, 507):
        return logging.WARNING
    if status >= 500 or status == 0:
        return logging.ERROR
    if endpoint in ("GET /healthz", "GET /readyz"):
        return logging.DEBUG
    return logging.INFO
