"""Ids: opaque strings of 1 to 256 bytes, the same rule in bodies and in paths. A whole number stands for its digits."""

from typing import Annotated

from msgspec import Meta
from starlette.requests import Request

from runtime.http.errors import invalid
from runtime.http.lenient import NUMBERS
from runtime.http.openapi_schemas import OR_INTEGER

MAX_ID_BYTES = 256
SURELY_SHORT = MAX_ID_BYTES // 4  # characters: UTF-8 takes four bytes of one at the most

Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_ID_BYTES,
        extra={NUMBERS: True},
        extra_json_schema={OR_INTEGER: True},
    ),
]


def check_id(id: str, field: str) -> str:
    """The id itself. Raises ApiError 422 when it is empty or longer than 256 bytes in UTF-8."""
    if 0 < len(id) <= SURELY_SHORT:
        return id
    size = len(id.encode("utf-8"))
    if not 1 <= size <= MAX_ID_BYTES:
        raise invalid(f"an id has 1 to {MAX_ID_BYTES} bytes, this one has {size}", field)
    return id


def path_id(request: Request) -> str:
    """The id in the path. A slash inside it may be sent as it is or as %2F."""
    id: str = request.path_params["id"]
    return check_id(id, "id")
