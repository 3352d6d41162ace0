"""Experiments of another server, as its log is exported there."""

import time
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request

from runtime.http.batch import Reader
from runtime.http.endpoint import Endpoint
from runtime.http.enumeration import one_of
from runtime.http.errors import ApiError, Error, invalid
from runtime.http.ids import Id, check_id
from runtime.http.media import JSON, NDJSON, media_type
from runtime.http.timestamps import Timestamp, microseconds
from runtime.serving.experiment_state import InvalidExperiment, Name
from runtime.serving.moved_experiments import (
    ExposureOutcome,
    MovedExposure,
    check_change,
    move_change,
    move_exposures,
)
from runtime.state import State
from runtime.store import ChangeKind, ExperimentChange

MAX_BATCH = 1_000
MAX_POSITIONS = 500  # of one ranking, with those that were not shown

Period = Annotated[int, Meta(ge=1, le=2**31)]
Propensity = Annotated[float, Meta(ge=0, le=1)]


class ImportedItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item at a position, which the order of the list says, too."""

    id: Id
    propensity: Propensity
    position: int = 0


class ImportedExposure(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="exposure"):
    """A ranking that another server showed, as /events/export gives it."""

    ranking_id: Id
    user_id: Id
    experiment: Name
    period: Period
    arm: Name
    model_version: Annotated[str, Meta(max_length=256)]
    timestamp: Timestamp
    items: Annotated[list[ImportedItem], Meta(max_length=MAX_POSITIONS)]
    not_shown: Annotated[list[Id], Meta(max_length=MAX_POSITIONS)] = []
    batch: Annotated[int, Meta(ge=0, le=2**31)] = 0
    arm_propensity: Propensity | None = None
    sequence: int = 0


class ImportedChange(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="change"):
    """Something that was done to an experiment of another server, as /events/export gives it."""

    experiment: Name
    change: ChangeKind
    period: Period
    timestamp: Timestamp
    details: msgspec.Raw
    sequence: int = 0


class ImportedOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """`status`: stored, duplicate (it was there), deleted (with its user, and this is a late copy), too_old (as
    VOWS_EXPOSURE_DAYS says), or rejected with an `error`. `ranking_id`: of an exposure."""

    status: Annotated[str, one_of("stored", "duplicate", "deleted", "too_old", "rejected")]
    ranking_id: str | None = None
    error: Error | None = None


class ImportResponse(msgspec.Struct, frozen=True):
    """One result a line, in order."""

    results: list[ImportedOutcome]


async def post_events_import(state: State, request: Request, body: bytes) -> ImportResponse:
    """Up to 1,000 lines of the kinds `change` and `exposure`, as /events/export gives them: take over experiments of
    another server. Send changes first; then events, to /interactions; then exposures, since a window that is over is
    measured within a second of its exposure; then once more the events that have a `ranking_id`. `vows-edge import`
    does all of it. Each line counts once, however often it is sent."""
    lines = media_type(request.scope) == NDJSON
    results: list[ImportedOutcome] = []
    exposures: list[tuple[int, MovedExposure]] = []  # with their positions in `results`
    for one in READER.batch(body, limit=MAX_BATCH, lines=lines):
        if isinstance(one.result, ApiError):
            results.append(ImportedOutcome("rejected", one.id, one.result.error))
        elif isinstance(one.result, ExperimentChange):
            results.append(ImportedOutcome(await move_change(state, one.result)))
        else:
            exposures.append((len(results), one.result))
            results.append(ImportedOutcome("stored", one.id))
    moved = await move_exposures(state, [one for _, one in exposures], now_us=time.time_ns() // 1_000)
    for (place, shown), outcome in zip(exposures, moved, strict=True):
        results[place] = _outcome(shown, outcome, f"$[{place}]")
    return ImportResponse(results)


def _outcome(one: MovedExposure, outcome: ExposureOutcome, path: str) -> ImportedOutcome:
    if outcome != "unknown_experiment":
        return ImportedOutcome(outcome, one.ranking_id)
    batch = f", batch {one.batch}" if one.batch else ""
    text = f"there is no arm {one.arm!r} of {one.experiment!r} in period {one.period}{batch}: send its changes first"
    return ImportedOutcome("rejected", one.ranking_id, Error("unknown_experiment", text, f"{path}.experiment"))


def _accepted(line: ImportedExposure | ImportedChange, path: str) -> MovedExposure | ExperimentChange:
    time_us = microseconds(line.timestamp, f"{path}.timestamp")
    if time_us < 0:
        raise invalid("the timestamp is before 1970-01-01T00:00:00Z, the first that is taken", f"{path}.timestamp")
    if isinstance(line, ImportedChange):
        change = ExperimentChange(
            experiment=line.experiment,
            kind=line.change,
            period=line.period,
            details=bytes(line.details),
            time_us=time_us,
        )
        try:
            check_change(change)
        except InvalidExperiment as error:
            raise invalid(str(error), f"{path}.details") from None
        return change
    for name in ("ranking_id", "user_id"):
        check_id(getattr(line, name), f"{path}.{name}")
    return MovedExposure(
        line.ranking_id, line.user_id, line.experiment, line.period, line.arm, line.batch, line.model_version, time_us,
        [(item.id, item.propensity) for item in line.items], line.not_shown, line.arm_propensity,
    )  # fmt: skip


READER = Reader(msgspec.json.Decoder(ImportedExposure | ImportedChange).decode, _accepted, id_field="ranking_id")

ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "POST", "/events/import", post_events_import, "Take over experiments of another server", raw=True,
        request=Annotated[list[ImportedExposure | ImportedChange], Meta(min_length=1, max_length=MAX_BATCH)],
        response=ImportResponse, media=(JSON, NDJSON), access="admin", errors=(400, 409, 413, 415, 422, 503),
        example=[{
            "kind": "exposure", "ranking_id": "r-1", "user_id": "ada", "experiment": "feed-ranker", "period": 1,
            "arm": "control", "model_version": "simple-v1", "timestamp": "2026-01-31T10:00:00Z",
            "items": [{"id": "hollow-oak-barn", "position": 1, "propensity": 1.0}],
        }],
    ),
]  # fmt: skip
