"""What users did: appended to the log, durable before it is acknowledged."""

import time
import uuid
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from runtime.http.batch import decode_items
from runtime.http.endpoint import Endpoint, decode_json
from runtime.http.errors import ApiError, Error, invalid, not_found
from runtime.http.ids import Id, check_id, path_id
from runtime.personalization.actions import InteractionType
from runtime.state import State
from runtime.store import Interaction

MAX_BATCH = 1_000
MAX_CONTEXT_BYTES = 4_096


class InteractionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event. `timestamp` defaults to now; `event_id` makes a retry safe and is generated if absent.

    `context` is for the sequence model, such as {"days_to_wedding": 120}: names to numbers, strings, booleans, nulls.
    """

    user_id: Id
    content_id: Id
    type: InteractionType
    timestamp: Annotated[datetime, Meta(tz=True)] | None = None
    event_id: Id | None = None
    duration_ms: Annotated[int, Meta(ge=0, le=7 * 86_400_000)] | None = None
    device: Annotated[str, Meta(max_length=64)] | None = None
    context: dict[str, str | int | float | bool | None] | None = None


class InteractionOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """`status`: stored, duplicate (this event_id was stored before; nothing changed), or rejected with an `error`."""

    event_id: str | None
    status: str
    error: Error | None = None


class InteractionsResponse(msgspec.Struct, frozen=True):
    """One result an event, in order."""

    results: list[InteractionOutcome]
    stored: int
    duplicates: int
    rejected: int


async def post_interactions(state: State, request: Request, body: bytes) -> InteractionsResponse:
    """One event or an array of up to 1,000. A bad event in an array is rejected alone; the others are stored."""
    now_us = time.time_ns() // 1_000
    outcomes: list[InteractionOutcome] = []
    events: list[Interaction] = []
    positions: list[int] = []
    if body.lstrip()[:1] == b"[":
        items = decode_items(body, _decode, limit=MAX_BATCH)
    else:
        items = iter([("$", decode_json(_decode, body))])
    for path, item in items:
        try:
            if isinstance(item, ApiError):
                raise item
            event = _event(state, item, path, now_us)
            positions.append(len(outcomes))
            events.append(event)
            outcomes.append(InteractionOutcome(event.event_id, "pending"))
        except ApiError as error:
            if path == "$":
                raise
            event_id = None if isinstance(item, ApiError) else item.event_id
            outcomes.append(InteractionOutcome(event_id, "rejected", error.error))
    stored = await state.store.add_interactions(events) if events else []
    for position, event, outcome in zip(positions, events, stored, strict=True):
        if outcome == "unknown_content":
            outcomes[position] = InteractionOutcome(event.event_id, "rejected", _unknown(event, f"$[{position}]"))
        else:
            outcomes[position] = InteractionOutcome(event.event_id, outcome)
    statuses = [outcome.status for outcome in outcomes]
    return InteractionsResponse(
        outcomes, statuses.count("stored"), statuses.count("duplicate"), statuses.count("rejected")
    )


async def delete_interaction(state: State, request: Request) -> Response:
    """Undo: the event is removed from the log, the counts and the user's vector."""
    id = path_id(request)
    if not await state.store.delete_interaction(id):
        raise not_found("interaction", id)
    return Response(status_code=204)


def _event(state: State, item: InteractionRequest, path: str, now_us: int) -> Interaction:
    check_id(item.user_id, f"{path}.user_id")
    check_id(item.content_id, f"{path}.content_id")
    if item.event_id is not None:
        check_id(item.event_id, f"{path}.event_id")
    time_us = now_us if item.timestamp is None else _microseconds(item.timestamp)
    ahead_s = (time_us - now_us) / 1e6
    if ahead_s > state.settings.max_clock_skew_s:
        raise invalid(
            f"the timestamp is {ahead_s:.0f} s ahead of the server's clock, at most "
            f"{state.settings.max_clock_skew_s:.0f} s are taken; set the clock of whichever is wrong",
            f"{path}.timestamp",
        )
    context = None if item.context is None else _context.encode(item.context)
    if context is not None and len(context) > MAX_CONTEXT_BYTES:
        raise invalid(f"the context has {len(context)} bytes, the limit is {MAX_CONTEXT_BYTES}", f"{path}.context")
    return Interaction(
        event_id=item.event_id or str(uuid.uuid4()),
        user_id=item.user_id,
        content_id=item.content_id,
        type=item.type,
        time_us=time_us,
        duration_ms=item.duration_ms,
        device=item.device,
        context=context,
    )


def _microseconds(time: datetime) -> int:
    """Since 1970, exactly: a float of seconds would lose the last digit."""
    delta = time - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _unknown(event: Interaction, path: str) -> Error:
    return Error("unknown_content", f"there is no content with id {event.content_id!r}", f"{path}.content_id")


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_context = msgspec.json.Encoder()
_decode = msgspec.json.Decoder(InteractionRequest).decode

ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "POST", "/interactions", post_interactions, "Record interactions",
        request=InteractionRequest | Annotated[list[InteractionRequest], Meta(min_length=1, max_length=MAX_BATCH)],
        response=InteractionsResponse, raw=True,
        errors=(400, 413, 415, 422, 503),
        example={"user_id": "ada", "content_id": "hollow-oak-barn", "type": "save", "event_id": "e-1"},
    ),
    Endpoint(
        "DELETE", "/interactions/{id:path}", delete_interaction, "Undo an interaction, by its event_id",
        status=204, errors=(404, 422, 503),
    ),
]  # fmt: skip
