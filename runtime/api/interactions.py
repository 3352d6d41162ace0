"""What users did: appended to the log, durable before it is acknowledged."""

import time
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from runtime.http.batch import Reader
from runtime.http.endpoint import Endpoint
from runtime.http.errors import ApiError, Error, invalid, not_found
from runtime.http.ids import Id, check_id, path_id
from runtime.personalization.actions import InteractionType
from runtime.serving.interactions import InvalidInteraction, Reported, interaction, record, take_back
from runtime.state import State
from runtime.store import Interaction

MAX_BATCH = 1_000


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
    skew_s = state.settings.max_clock_skew_s
    reader = Reader(_decode, lambda item, path: _accepted(item, path, now_us=now_us, max_clock_skew_s=skew_s))
    outcomes: list[InteractionOutcome] = []
    good: list[tuple[int, Interaction]] = []  # with their positions in `outcomes`
    if body.lstrip()[:1] == b"[":
        for one in reader.batch(body, limit=MAX_BATCH):
            if isinstance(one.result, ApiError):
                event_id = None if one.decoded is None else one.decoded.event_id
                outcomes.append(InteractionOutcome(event_id, "rejected", one.result.error))
            else:
                good.append((len(outcomes), one.result))
                outcomes.append(InteractionOutcome(one.result.event_id, "pending"))
    else:
        good.append((0, reader.single(body)))
        outcomes.append(InteractionOutcome(good[0][1].event_id, "pending"))
    stored = await record(state, [event for _, event in good])
    for (position, event), outcome in zip(good, stored, strict=True):
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
    if not await take_back(state, id):
        raise not_found("interaction", id)
    return Response(status_code=204)


def _accepted(item: InteractionRequest, path: str, *, now_us: int, max_clock_skew_s: float) -> Interaction:
    check_id(item.user_id, f"{path}.user_id")
    check_id(item.content_id, f"{path}.content_id")
    if item.event_id is not None:
        check_id(item.event_id, f"{path}.event_id")
    try:
        return interaction(Reported(**msgspec.structs.asdict(item)), now_us=now_us, max_clock_skew_s=max_clock_skew_s)
    except InvalidInteraction as error:
        raise invalid(str(error), f"{path}.{error.field}") from None


def _unknown(event: Interaction, path: str) -> Error:
    return Error("unknown_content", f"there is no content with id {event.content_id!r}", f"{path}.content_id")


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
