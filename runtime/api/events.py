"""The interaction log as training reads it."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import StreamingResponse

from runtime.api.content import utc
from runtime.http.endpoint import Endpoint
from runtime.http.media import NDJSON
from runtime.personalization.actions import InteractionType
from runtime.serving.interactions import export
from runtime.state import State
from runtime.store import LoggedInteraction

# Reserved for a page of events that each have the largest context.
_PAGE_BYTES = 1 << 20

_encode = msgspec.json.Encoder()


class ExportQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`after`: the `sequence` of the last event that was read before; `limit`: the most events to send."""

    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    limit: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None


class ExportedEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event as it was sent, with its time of arrival (`received_at`) and position in the log. `sequence` rises and
    is never used twice; `context` is the JSON that was sent."""

    sequence: int
    event_id: str
    user_id: str
    content_id: str
    type: InteractionType
    timestamp: datetime
    received_at: datetime
    duration_ms: int | None = None
    device: str | None = None
    context: msgspec.Raw | None = None


async def get_events_export(state: State, request: Request, query: ExportQuery) -> StreamingResponse:
    """One JSON object a line, in the order of the log, up to its end. The last line's `sequence` is where the next
    export continues; an interrupted response is continued in the same way. Deleted users and undone events are not
    included."""
    pages = export(state, after=query.after, limit=query.limit)
    first: list[LoggedInteraction] = await anext(pages, [])  # a failure is an answer, before the stream begins
    return StreamingResponse(_lines(first, pages), media_type=NDJSON)


async def _lines(
    first: list[LoggedInteraction], others: AsyncIterator[list[LoggedInteraction]]
) -> AsyncIterator[bytes]:
    yield _encoded(first)
    async for page in others:
        yield _encoded(page)


def _encoded(page: list[LoggedInteraction]) -> bytes:
    return b"".join(_encode.encode(_event(one)) + b"\n" for one in page)


def _event(event: LoggedInteraction) -> ExportedEvent:
    return ExportedEvent(
        sequence=event.sequence,
        event_id=event.event_id,
        user_id=event.user_id,
        content_id=event.content_id,
        type=event.type,
        timestamp=utc(event.time_us),
        received_at=utc(event.received_us),
        duration_ms=event.duration_ms,
        device=event.device,
        context=None if event.context is None else msgspec.Raw(event.context),
    )


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "GET", "/events/export", get_events_export, "Export the interaction log",
        query=ExportQuery, response=ExportedEvent, response_media=NDJSON, errors=(400, 422, 503),
        answer_bytes=lambda query: _PAGE_BYTES,
    ),
]  # fmt: skip
