"""JSON out: one encoder, one response constructor."""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

_encoder = msgspec.json.Encoder()


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The value as JSON. `value`: anything that msgspec encodes."""
    return Response(_encoder.encode(value), status, headers, media_type="application/json")
