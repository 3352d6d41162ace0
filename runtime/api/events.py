"""The interaction log, and what experiments showed, as training reads them."""

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import StreamingResponse

from runtime.api.content import utc
from runtime.http.endpoint import Endpoint
from runtime.http.ids import Id, check_id
from runtime.http.media import NDJSON
from runtime.personalization.actions import InteractionType
from runtime.serving.experiment_state import arm_and_batch
from runtime.serving.interactions import export, export_changes, export_exposures
from runtime.state import State
from runtime.store import ChangeKind, ExperimentChange, LoggedExposure, LoggedInteraction

# Reserved for a page of events that each have the largest context.
_PAGE_BYTES = 1 << 20

_encode = msgspec.json.Encoder()
_decode_items = msgspec.json.Decoder(list[list[str | float]]).decode


class ExportQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`after`: the `sequence` of the last event that was read before; `limit`: the most events to send; `user_id`: what
    is stored of one user alone. `exposures_after`: send what experiments showed too, behind this `sequence` of theirs,
    after the events. `changes_after`: send what was done to experiments behind this `sequence`, at the end; together
    they are what `vows-edge import` moves to another server."""

    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    limit: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    user_id: Id | None = None
    exposures_after: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    changes_after: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


class ExportedEvent(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="interaction"):
    """An event as it was sent, with its time of arrival (`received_at`) and position in the log. `sequence` rises and
    is never used twice; `context` is the JSON that was sent. `ranking_id`: the exposure that it answers. `action`: what
    a type of the site's own is for the models."""

    sequence: int
    event_id: str
    user_id: str
    content_id: str
    type: str
    timestamp: datetime
    received_at: datetime
    duration_ms: int | None = None
    device: str | None = None
    context: msgspec.Raw | None = None
    ranking_id: str | None = None
    action: InteractionType | None = None


class ShownItem(msgspec.Struct, frozen=True):
    """`propensity`: the probability of the item at its position, given those before it."""

    id: str
    position: int
    propensity: float


class ExportedExposure(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="exposure"):
    """A ranking that was shown within an experiment; `sequence` is its position among exposures. `not_shown`: what
    exploration could have put at the positions shown, and did not. `batch`: of users whose arms had the same weights.
    `arm_propensity`: the probability with which the user was assigned to the arm."""

    sequence: int
    ranking_id: str
    user_id: str
    experiment: str
    period: int
    arm: str
    model_version: str
    timestamp: datetime
    items: list[ShownItem]
    not_shown: list[str] = []
    batch: int = 0
    arm_propensity: float | None = None


class ExportedChange(msgspec.Struct, frozen=True, tag_field="kind", tag="change"):
    """Something that was done to an experiment. `details`: the definition, or else reason, arm, model and weights."""

    sequence: int
    experiment: str
    change: ChangeKind
    period: int
    timestamp: datetime
    details: msgspec.Raw


async def get_events_export(state: State, request: Request, query: ExportQuery) -> StreamingResponse:
    """One JSON object a line, in the order of the log, up to its end. The last line's `sequence` is where the next
    export continues; an interrupted response is continued in the same way. Deleted users and undone events are not
    included. Exposures follow the events, and changes of experiments those, each with a `sequence` of their own."""
    if query.user_id is not None:
        check_id(query.user_id, "user_id")
    pages = export(state, after=query.after, limit=query.limit, user_id=query.user_id)
    first: list[LoggedInteraction] = await anext(pages, [])  # a failure is an answer, before the stream begins
    shown = None
    if query.exposures_after is not None:
        shown = export_exposures(state, after=query.exposures_after, limit=query.limit, user_id=query.user_id)
    changes = [] if query.changes_after is None else await export_changes(state, after=query.changes_after)
    return StreamingResponse(_lines(first, pages, shown, changes), media_type=NDJSON)


async def _lines(
    first: list[LoggedInteraction],
    others: AsyncIterator[list[LoggedInteraction]],
    shown: AsyncIterator[list[LoggedExposure]] | None,
    changes: list[ExperimentChange],
) -> AsyncIterator[bytes]:
    yield _encoded(map(_event, first))
    async for page in others:
        yield _encoded(map(_event, page))
    if shown is not None:
        async for exposures in shown:
            yield _encoded(map(_exposure, exposures))
    yield _encoded(map(_change, changes))


def _encoded(lines: Iterable[ExportedEvent | ExportedExposure | ExportedChange]) -> bytes:
    return b"".join(_encode.encode(one) + b"\n" for one in lines)


def _event(event: LoggedInteraction) -> ExportedEvent:
    return ExportedEvent(
        sequence=event.sequence,
        event_id=event.event_id,
        user_id=event.user_id,
        content_id=event.content_id,
        type=event.type_name,
        timestamp=utc(event.time_us),
        received_at=utc(event.received_us),
        duration_ms=event.duration_ms,
        device=event.device,
        context=None if event.context is None else msgspec.Raw(event.context),
        ranking_id=event.ranking_id,
        action=None if event.own_type is None else event.type,
    )


def _exposure(shown: LoggedExposure) -> ExportedExposure:
    items = _decode_items(shown.items)
    placed = [one for one in items if len(one) > 1]
    arm, batch = arm_and_batch(shown.arm)
    return ExportedExposure(
        sequence=shown.sequence,
        ranking_id=shown.ranking_id,
        user_id=shown.user_id,
        experiment=shown.experiment,
        period=shown.period,
        arm=arm,
        model_version=shown.model_version,
        timestamp=utc(shown.time_us),
        items=[ShownItem(str(id), position, float(p)) for position, (id, p) in enumerate(placed, 1)],
        not_shown=[str(one[0]) for one in items if len(one) == 1],
        batch=batch,
        arm_propensity=shown.arm_propensity,
    )


def _change(made: ExperimentChange) -> ExportedChange:
    return ExportedChange(
        sequence=made.sequence,
        experiment=made.experiment,
        change=made.kind,
        period=made.period,
        timestamp=utc(made.time_us),
        details=msgspec.Raw(made.details),
    )


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "GET", "/events/export", get_events_export, "Export the interaction log",
        query=ExportQuery, response=ExportedEvent | ExportedExposure | ExportedChange, response_media=NDJSON,
        errors=(400, 422, 503),
        answer_bytes=lambda query: _PAGE_BYTES,
    ),
]  # fmt: skip
