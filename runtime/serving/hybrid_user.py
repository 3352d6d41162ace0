"""What the hybrid ranker reads of a user: their side read once, now or as of another time."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.catalog import Catalog
from runtime.models.scheduler import QueueFull
from runtime.models.worker_pool import DeadlineExceeded
from runtime.personalization import popularity, user_vector
from runtime.personalization.actions import TYPES
from runtime.personalization.hybrid import Ranker
from runtime.personalization.ranking_features import HISTORY_EVENTS, History
from runtime.personalization.user_vector import Sums
from runtime.serving.resources import Resources
from runtime.serving.user_vectors import SequenceUser, preference_embedding, sequence_user
from runtime.store import LoggedInteraction, UserState

Vector = NDArray[np.float32]
Source = Literal["history", "preferences", "popular"]

_LOG_PAGE = 1_000


@dataclass(frozen=True, eq=False, kw_only=True)
class HybridUser:
    """What ranking reads of a user at `now_us`.

    content_ids, action: of the newest events, oldest first. vector: the simple model's, float32 [384]; None without
    history or preferences. last: of the item engaged with last. source: what speaks for the user. sums: of the history.
    counts: everybody's, by content id, where they are not those of now. ranker: for a user of so many events.
    sequence: the user by the sequence model whose score is a feature of it, None where it has no such feature. state:
    as it was read, None of a user who is unknown or as of another time.
    """

    now_us: int
    content_ids: list[str]
    action: NDArray[np.int8]
    vector: Vector | None
    last: Vector | None
    source: Source
    sums: Sums | None
    ranker: Ranker
    counts: Mapping[str, popularity.Counts] | None = None
    sequence: SequenceUser | None = None
    state: UserState | None = None

    def by_first_set(self, first: Ranker) -> "HybridUser":
        """The same, ranked without the score of the sequence model."""
        return replace(self, ranker=first.for_events(len(self.content_ids)), sequence=None)

    def history(self, catalog: Catalog) -> History:
        """By rows of the catalogue as it is now."""
        return History(catalog.rows_of(self.content_ids), self.action)


async def hybrid_user(resources: Resources, user_id: str, at_us: int | None = None) -> HybridUser:
    """The user now, or as of a time: then from events before it alone. With the first set of weights, which needs no
    sequence model. Raises StoreError."""
    if at_us is not None and not _is_after_everything(resources, at_us):
        return await _from_log(resources, user_id, at_us)
    now_us = time.time_ns() // 1_000 if at_us is None else at_us
    user = await resources.store.get_user(user_id)
    if user is not None and user.stale:
        user = await resources.store.rebuild_user(user_id)
    sums = user.sums if user else None
    recent = await resources.store.recent(user_id, HISTORY_EVENTS)
    found = await _user(resources, user_id, now_us, recent.content_ids, recent.action, sums)
    return replace(found, state=user)


async def user_to_rank_for(
    resources: Resources,
    user_id: str,
    at_us: int | None = None,
    *,
    device: str | None = None,
    whole_catalogue: bool = False,
) -> HybridUser:
    """As `hybrid_user`, and where the sequence model's score is a feature, with it.

    The first set of weights ranks for a user with too few events for the sequence model, while more wait for it than
    may, and for the `whole_catalogue` where not all of its items have their vector.
    Raises StoreError.
    """
    user = await hybrid_user(resources, user_id, at_us)
    beside = resources.ranker.beside
    if (
        beside is not None
        and len(user.content_ids) >= beside.model.min_events
        and (not whole_catalogue or resources.sequence.covers_catalogue())
    ):
        # Otherwise the first set ranks, and the answer's model_version says so
        with suppress(QueueFull, DeadlineExceeded):
            found = await sequence_user(resources, user_id, device, state=user.state, at_us=at_us)
            user = _with_sequence(resources, user, found)
    return user.by_first_set(resources.ranker.served.ranker) if user.sequence is None else user


def _with_sequence(resources: Resources, user: HybridUser, found: SequenceUser) -> HybridUser:
    """With the second set of weights, unless the history is too short or another model or ranker took over."""
    served = resources.ranker.served
    if found.fallback is not None or resources.ranker.beside is not found.served:
        return user
    assert served.sequence is not None
    assert served.sequence.ranker is not None
    ranker = replace(served.sequence.ranker, version=f"{served.ranker.version}+{found.model_version}")
    return replace(user, ranker=ranker.for_events(len(user.content_ids)), sequence=found)


def _is_after_everything(resources: Resources, at_us: int) -> bool:
    newest_us = resources.popularity.newest_us
    return newest_us is not None and newest_us < at_us


async def _from_log(resources: Resources, user_id: str, at_us: int) -> HybridUser:
    """From the events before `at_us`, by a walk along the whole log: for evaluation, not for serving."""
    counts: dict[str, popularity.Counts] = {}
    own: list[LoggedInteraction] = []
    after: int | None = 0
    while after is not None:
        page, after = await resources.store.log(after=after, limit=_LOG_PAGE)
        for event in page:
            if event.time_us < at_us:
                if event.strength:
                    before = counts.get(event.content_id)
                    counts[event.content_id] = popularity.add(
                        popularity.decode(None) if before is None else before, event.time_us
                    )
                if event.user_id == user_id:
                    own.append(event)
        await asyncio.sleep(0)
    sums = None
    vectors = await resources.store.embeddings(list({event.content_id for event in own}))
    for event in own:
        if event.content_id in vectors:
            sums = user_vector.add(
                sums, event.strength, vectors[event.content_id], event.time_us,
                decay_per_day=resources.settings.decay_per_day,
            )  # fmt: skip
    newest = sorted(own, key=lambda event: event.time_us)[-HISTORY_EVENTS:]  # stable: ties as they came
    action = np.array([TYPES.index(event.type) for event in newest], np.int8)
    return await _user(resources, user_id, at_us, [event.content_id for event in newest], action, sums, counts)


async def _user(
    resources: Resources,
    user_id: str,
    now_us: int,
    content_ids: list[str],
    action: NDArray[np.int8],
    sums: Sums | None,
    counts: Mapping[str, popularity.Counts] | None = None,
) -> HybridUser:
    catalog = resources.catalog
    vector, source = user_vector.unit_vector(sums), "history"
    if vector is None:
        vector, source = await preference_embedding(resources, user_id), "preferences"
    last = None
    if len(engaged := np.flatnonzero(action != TYPES.index("skip"))):
        newest = catalog.lookup([content_ids[int(engaged[-1])]])
        if len(newest.rows):
            (last,) = await catalog.gather(newest.rows)
    return HybridUser(
        now_us=now_us, content_ids=content_ids, action=action, vector=vector, last=last,
        source="popular" if vector is None else "history" if source == "history" else "preferences",
        sums=sums if source == "history" else None, counts=counts,
        ranker=resources.ranker.served.ranker.for_events(len(content_ids)),
    )  # fmt: skip
