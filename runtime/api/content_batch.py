"""Many items in one request: up to a thousand in one answer, any number as a stream."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request

from runtime.api.content import EXAMPLE, READER, IdentifiedContent
from runtime.api.content_stream import STREAM_BYTES, ContentProgress, stream_content
from runtime.http.endpoint import Endpoint
from runtime.http.enumeration import one_of
from runtime.http.errors import ApiError, Error
from runtime.http.media import JSON, NDJSON, media_type
from runtime.serving.content import NewItem, store_items
from runtime.state import State

MAX_BATCH = 1_000
_SLICE = 256  # items embedded and stored together: an answerable bound on memory and on one transaction


class ContentOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """`status`: created, replaced, unchanged, or rejected with an `error`. `id` is null where it could not be read."""

    id: str | None
    status: Annotated[str, one_of("created", "replaced", "unchanged", "rejected")]
    error: Error | None = None


class ContentBatchResponse(msgspec.Struct, frozen=True):
    """One result an item, in order. `stored` counts created, replaced and unchanged ones."""

    results: list[ContentOutcome]
    stored: int
    rejected: int


async def post_content_batch(state: State, request: Request, body: bytes) -> ContentBatchResponse:
    """A JSON array, or one JSON object a line (application/x-ndjson). A bad item is reported, the others are stored.

    With `Accept: application/x-ndjson` the lines may be any number and are stored as they come in, behind interactive
    requests. The answer is a line every 1,000 items (`event` progress), one for each of the first 100 that were
    rejected, and at the end done or failed.
    """
    lines = media_type(request.scope) == NDJSON
    outcomes: list[ContentOutcome] = []
    good: list[tuple[int, NewItem]] = []  # with their positions in `outcomes`
    for one in READER.batch(body, limit=MAX_BATCH, lines=lines):
        if isinstance(one.result, ApiError):
            outcomes.append(ContentOutcome(one.id, "rejected", one.result.error))
        else:
            good.append((len(outcomes), one.result))
            outcomes.append(ContentOutcome(one.id, "pending"))
    for start in range(0, len(good), _SLICE):
        part = good[start : start + _SLICE]
        statuses = await store_items(state, [item for _, item in part], request.is_disconnected)
        for (position, item), status in zip(part, statuses, strict=True):
            outcomes[position] = ContentOutcome(item.id, status)
    return ContentBatchResponse(outcomes, len(good), len(outcomes) - len(good))


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "POST", "/content/batch", post_content_batch, "Store up to 1,000 items, or stream any number",
        request=Annotated[list[IdentifiedContent], Meta(min_length=1, max_length=MAX_BATCH)],
        response=ContentBatchResponse, raw=True, media=(JSON, NDJSON),
        stream=stream_content, stream_line=ContentProgress, stream_bytes=STREAM_BYTES,
        errors=(400, 408, 413, 415, 422, 503, 507), example=[{"id": "hollow-oak-barn", **EXAMPLE}],
    ),
]  # fmt: skip
