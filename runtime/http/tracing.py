"""What is known of each request: ids in, ids and times out, and a line in the log when it is over."""

import logging
from typing import Any

from starlette.types import Scope

from runtime.system.logs import request_line
from runtime.system.trace import Trace, current

log = logging.getLogger("vows.request")


def begin(scope: Scope) -> Trace:
    """The trace of a request that comes in, in force for the task that serves it and ends with it."""
    request_id = traceparent = None
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            request_id = value
        elif name == b"traceparent":
            traceparent = value
    trace = Trace(request_id, traceparent)
    current.set(trace)
    return trace


def headers(trace: Trace, total_s: float) -> list[tuple[bytes, bytes]]:
    """`X-Request-Id`, the `traceparent` that came in, and `Server-Timing`: milliseconds up to here, stage by stage and
    in all."""
    stages = [f"{stage};dur={seconds * 1e3:.3f}" for stage, seconds in trace.seconds.items()]
    timing = ", ".join([*stages, f"total;dur={total_s * 1e3:.3f}"])
    found = [(b"x-request-id", trace.request_id.encode()), (b"server-timing", timing.encode())]
    if trace.traceparent is not None:
        found.append((b"traceparent", trace.traceparent.encode()))
    return found


def log_request(method: str, trace: Trace, status: int, total_s: float) -> None:
    """The line of a request that is over.

    Lines are `info`; requests rejected by capacity `warning`, defects `error`, and health checks, which come every few
    seconds, `debug`. status: 0 where no answer was begun.
    """
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
