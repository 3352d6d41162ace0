"""JSON out: one encoder, one response constructor."""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

_encoder = msgspec.json.Encoder()


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The value as JSON. `value`: anything that msgspec encodes."""
    body = _encoder.encode(value)
    if headers:
        return Response(body, status, headers, media_type="application/json")
    return _Json(body, status)


class _Json(Response):
    """JSON without headers of its own: those that there are need no look at what was given."""

    def __init__(self, body: bytes, status: int) -> None:
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
