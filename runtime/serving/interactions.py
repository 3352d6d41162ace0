"""What users did: recorded, taken back, and read again by training."""

import asyncio
import math
import uuid
from asyncio import shield
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import msgspec

from runtime.personalization.actions import EventType
from runtime.personalization.popularity import Counts
from runtime.serving.resources import Resources
from runtime.store import AddOutcome, ExperimentChange, Interaction, LoggedExposure, LoggedInteraction, OwnType

MAX_CONTEXT_BYTES = 4_096
# Whole numbers that every reader of JSON reads exactly.
LARGEST_INTEGER = 2**53

# Events of an export held at once: 50 KB where they are plain.
EXPORT_PAGE = 128

# Exposures of one held at once: up to 30 KB each.
EXPOSURES_PAGE = 32

_encode = msgspec.json.Encoder().encode


class InvalidInteraction(ValueError):
    """An event that is not recorded; `field` is what is wrong with it."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class Reported(NamedTuple):
    """An event as a client reports it. `time_us`: None for now. `event_id`: None where one is to be made up."""

    user_id: str
    content_id: str
    type: EventType
    time_us: int | None
    event_id: str | None
    duration_ms: int | None
    device: str | None
    context: dict[str, str | int | float | bool | None] | None
    ranking_id: str | None


def interaction(reported: Reported, *, now_us: int, max_clock_skew_s: float) -> Interaction:
    """The event to record, which every reader can read back. Raises InvalidInteraction for a time before 1970 or in the
    future, and for a context that is too large or holds a number that is."""
    time_us = now_us if reported.time_us is None else reported.time_us
    if time_us < 0:
        raise InvalidInteraction("the timestamp is before 1970-01-01T00:00:00Z, the first that is taken", "timestamp")
    ahead_s = (time_us - now_us) / 1e6
    if ahead_s > max_clock_skew_s:
        raise InvalidInteraction(
            f"the timestamp is {ahead_s:.0f} s ahead of the server's clock, at most {max_clock_skew_s:.0f} s are "
            "taken; set the clock of whichever is wrong",
            "timestamp",
        )
    for name, value in (reported.context or {}).items():
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise InvalidInteraction(
                f"a whole number of {value.bit_length()} bits is above {LARGEST_INTEGER}; send a decimal number",
                f"context[{_encode(name[:64]).decode()}]",
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidInteraction(f"{value} is no number that JSON has", f"context[{_encode(name[:64]).decode()}]")
    context = None if reported.context is None else _encode(reported.context)
    if context is not None and len(context) > MAX_CONTEXT_BYTES:
        raise InvalidInteraction(f"the context has {len(context)} bytes, the limit is {MAX_CONTEXT_BYTES}", "context")
    own = reported.type
    return Interaction(
        event_id=reported.event_id or str(uuid.uuid4()),
        user_id=reported.user_id,
        content_id=reported.content_id,
        type=reported.type.action,
        time_us=time_us,
        duration_ms=reported.duration_ms,
        device=reported.device,
        context=context,
        timed=reported.time_us is not None,
        ranking_id=reported.ranking_id,
        own_type=None if own.name == own.action else OwnType(own.name, own.strength),
    )


async def record(resources: Resources, interactions: Sequence[Interaction]) -> list[AddOutcome]:
    """Append events to the log; the outcome of each, in order. Raises StoreError.

    Durable first, then counted. It is not shielded, which would take a task for each event: only the end of the server
    cancels it between the two, and what is counted in memory is read from the log at the next start.
    """
    if not interactions:
        return []
    counts: dict[str, Counts] = {}
    outcomes = await resources.store.add_interactions(interactions, counts=counts)
    stored = [event for event, outcome in zip(interactions, outcomes, strict=True) if outcome == "stored"]
    await resources.popularity.recorded(stored, counts)
    return outcomes


async def take_back(resources: Resources, event_id: str) -> bool:
    """Undo an event, as if it had never come; False if there is none. Raises StoreError."""
    return await shield(_take_back(resources, event_id))


async def _take_back(resources: Resources, event_id: str) -> bool:
    counted: set[str] = set()
    existed = await resources.store.delete_interaction(event_id, counted=counted)
    await resources.popularity.refresh(list(counted))
    return existed


async def export(
    resources: Resources, *, after: int, limit: int | None, user_id: str | None = None
) -> AsyncIterator[list[LoggedInteraction]]:
    """The log from the event behind sequence `after`, in its order, at most `limit` events, in pages of EXPORT_PAGE;
    of one user alone where one is named. Raises StoreError."""
    left = limit
    while left != 0:
        size = EXPORT_PAGE if left is None else min(EXPORT_PAGE, left)
        page, following = await resources.store.log(after=after, limit=size, user_id=user_id)
        if page:
            yield page
        if following is None:
            return
        after, left = following, None if left is None else left - len(page)
        await asyncio.sleep(0)


async def export_changes(resources: Resources, *, after: int) -> list[ExperimentChange]:
    """What was done to experiments, behind sequence `after`. Raises StoreError."""
    return await resources.store.experiment_changes(after=after)


async def export_exposures(
    resources: Resources, *, after: int, limit: int | None, user_id: str | None = None
) -> AsyncIterator[list[LoggedExposure]]:
    """What experiments showed, from the exposure behind sequence `after`; as `export`. Raises StoreError."""
    left = limit
    while left != 0:
        page = await resources.store.exposures(after=after, limit=EXPOSURES_PAGE)
        if shown := [one for one in page if user_id in (None, one.user_id)][:left]:
            yield shown
        if len(page) < EXPOSURES_PAGE:
            return
        after, left = page[-1].sequence, None if left is None else left - len(shown)
        await asyncio.sleep(0)
