"""What users did: appended to the log, durable before it is acknowledged."""

import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from runtime.http.batch import Reader
from runtime.http.endpoint import Endpoint
from runtime.http.enumeration import one_of
from runtime.http.errors import ApiError, Error, invalid, not_found
from runtime.http.ids import Id, check_id, path_id
from runtime.http.lenient import NOT_GIVEN, ReadOnly
from runtime.http.media import JSON, NDJSON, media_type
from runtime.http.timestamps import Timestamp, microseconds
from runtime.personalization.actions import EventType, InteractionType, event_types
from runtime.serving.interactions import InvalidInteraction, Reported, interaction, record, take_back
from runtime.state import State
from runtime.store import AddOutcome, Conflict, Interaction

MAX_BATCH = 1_000


class InteractionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event. `type`: view, save, share, skip or one that VOWS_EVENT_TYPES declares. `timestamp` defaults to now;
    `event_id` makes a retry safe and is generated if absent.

    `context` is for the sequence model, such as {"days_to_wedding": 120}: names to numbers, strings, booleans, nulls.
    `ranking_id`: the ranking that it answers; without one it is the last that showed the content to the user. What
    /events/export adds to an event is ignored.
    """

    user_id: Id
    content_id: Id
    type: InteractionType
    timestamp: Timestamp | None = None
    event_id: Id | None = None
    duration_ms: Annotated[int, Meta(ge=0, le=7 * 86_400_000)] | None = None
    device: Annotated[str, Meta(max_length=64)] | None = None
    context: dict[str, str | int | float | bool | None] | None = None
    ranking_id: Id | None = None
    sequence: ReadOnly = NOT_GIVEN
    received_at: ReadOnly = NOT_GIVEN
    kind: ReadOnly = NOT_GIVEN
    action: ReadOnly = NOT_GIVEN


class InteractionOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """`status`: stored, duplicate (the same event was stored before; nothing changed), or rejected with an `error`."""

    event_id: str | None
    status: Annotated[str, one_of("stored", "duplicate", "rejected")]
    error: Error | None = None


class InteractionsResponse(msgspec.Struct, frozen=True):
    """One result an event, in order."""

    results: list[InteractionOutcome]
    stored: int
    duplicates: int
    rejected: int


async def post_interactions(state: State, request: Request, body: bytes) -> InteractionsResponse:
    """One event, or up to 1,000: as an array, or one a line (application/x-ndjson).

    A bad event among several is rejected alone; the others are stored. One that is sent alone and is not stored is an
    error: 404 where there is no such content, 409 where its `event_id` is that of another event, or where the event or
    its user was deleted: for VOWS_TOMBSTONE_S a late retry does not bring it back.
    """
    now_us = time.time_ns() // 1_000
    skew_s = state.settings.max_clock_skew_s
    types = event_types(state.settings.event_types)
    reader = Reader(
        _decoder(tuple(types)),
        lambda item, path: _accepted(item, path, types=types, now_us=now_us, max_clock_skew_s=skew_s),
        id_field="event_id",
    )
    lines = media_type(request.scope) == NDJSON
    if not lines and body.lstrip()[:1] != b"[":
        event = reader.single(body)
        (outcome,) = await record(state, [event])
        if (refusal := _refusal(event, outcome, "$")) is not None:
            raise refusal
        return _response([InteractionOutcome(event.event_id, str(outcome))])
    outcomes: list[InteractionOutcome] = []
    good: list[tuple[int, Interaction]] = []  # with their positions in `outcomes`
    for one in reader.batch(body, limit=MAX_BATCH, lines=lines):
        if isinstance(one.result, ApiError):
            outcomes.append(InteractionOutcome(one.id, "rejected", one.result.error))
        else:
            good.append((len(outcomes), one.result))
            outcomes.append(InteractionOutcome(one.result.event_id, "pending"))
    stored = await record(state, [event for _, event in good])
    for (position, event), outcome in zip(good, stored, strict=True):
        refusal = _refusal(event, outcome, f"$[{position}]")
        outcomes[position] = (
            InteractionOutcome(event.event_id, str(outcome))
            if refusal is None
            else InteractionOutcome(event.event_id, "rejected", refusal.error)
        )
    return _response(outcomes)


async def delete_interaction(state: State, request: Request) -> Response:
    """Undo: the event is removed from the log, the counts and the user's vector. A retry of it that comes later is
    refused for VOWS_TOMBSTONE_S, so give the same action an `event_id` of its own when it is done again."""
    id = path_id(request)
    if not await take_back(state, id):
        raise not_found("interaction", id)
    return Response(status_code=204)


def _accepted(
    item: InteractionRequest, path: str, *, types: Mapping[str, EventType], now_us: int, max_clock_skew_s: float
) -> Interaction:
    check_id(item.user_id, f"{path}.user_id")
    check_id(item.content_id, f"{path}.content_id")
    if item.event_id is not None:
        check_id(item.event_id, f"{path}.event_id")
    if item.ranking_id is not None:
        check_id(item.ranking_id, f"{path}.ranking_id")
    try:
        return interaction(
            Reported(
                user_id=item.user_id,
                content_id=item.content_id,
                type=types[item.type],
                time_us=None if item.timestamp is None else microseconds(item.timestamp, f"{path}.timestamp"),
                event_id=item.event_id,
                duration_ms=item.duration_ms,
                device=item.device,
                context=item.context,
                ranking_id=item.ranking_id,
            ),
            now_us=now_us,
            max_clock_skew_s=max_clock_skew_s,
        )
    except InvalidInteraction as error:
        raise invalid(str(error), f"{path}.{error.field}") from None


def _refusal(event: Interaction, outcome: AddOutcome, path: str) -> ApiError | None:
    """Why an event at a JSON path was not stored; None where it is there."""
    if outcome == "unknown_content":
        return ApiError(
            404, "unknown_content", f"there is no content with id {event.content_id!r}", field=f"{path}.content_id"
        )
    if outcome == "deleted":
        return ApiError(
            409,
            "event_deleted",
            f"event {event.event_id!r} was taken back, or deleted with its user, and a late retry does not bring it "
            "back; give a new event an id of its own",
            field=f"{path}.event_id",
        )
    if isinstance(outcome, Conflict):
        return ApiError(
            409,
            "event_id_conflict",
            f"event_id {event.event_id!r} is that of another event, with a different {' and '.join(outcome.differs)}; "
            "give each event an id of its own",
            field=f"{path}.event_id",
        )
    return None


def _response(outcomes: list[InteractionOutcome]) -> InteractionsResponse:
    statuses = [outcome.status for outcome in outcomes]
    return InteractionsResponse(
        outcomes, statuses.count("stored"), statuses.count("duplicate"), statuses.count("rejected")
    )


@cache
def _decoder(types: tuple[str, ...]) -> Callable[[bytes], InteractionRequest]:
    """Decodes events of these types, and names them where one has another."""
    kind = msgspec.defstruct(
        "InteractionRequest",
        [("type", Literal[types])],
        bases=(InteractionRequest,),
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    decode: Callable[[bytes], InteractionRequest] = msgspec.json.Decoder(kind).decode  # type: ignore[assignment]
    return decode


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "POST", "/interactions", post_interactions, "Record interactions",
        request=InteractionRequest | Annotated[list[InteractionRequest], Meta(min_length=1, max_length=MAX_BATCH)],
        response=InteractionsResponse, raw=True, media=(JSON, NDJSON),
        errors=(400, 404, 409, 413, 415, 422, 503),
        example={"user_id": "ada", "content_id": "hollow-oak-barn", "type": "save", "event_id": "e-1"},
    ),
    Endpoint(
        "DELETE", "/interactions/{id:path}", delete_interaction, "Undo an interaction, by its event_id",
        status=204, errors=(404, 422, 503),
    ),
]  # fmt: skip
