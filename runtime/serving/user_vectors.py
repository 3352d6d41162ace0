"""A user as a vector: by the simple model's average of their history, or by the sequence model."""

import time
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.models.sequence_model import UserNow
from runtime.personalization.cold_start import POPULAR_ITEMS, popular_vector
from runtime.personalization.popularity import HALF_LIVES_HOURS
from runtime.personalization.user_vector import unit_vector
from runtime.serving.kept_users import KeptUser
from runtime.serving.past_history import past_history
from runtime.serving.resources import Resources
from runtime.serving.sequence_items import Served
from runtime.store import UserHistory, UserState

SIMPLE = "simple-v1"  # the public model_version of the average

Model = Literal["simple", "sequence"]
Source = Literal["history", "preferences", "popular"]
Vector = NDArray[np.float32]


class NoContent(Exception):
    """Nothing is known of the user and there is no content to start from."""


class UserVector(NamedTuple):
    """`embedding`: unit float32 [384]. `source`: what it is made of. `user`: the stored state, None if unknown."""

    embedding: Vector
    source: Source
    user: UserState | None


class SequenceUser(NamedTuple):
    """What the sequence model makes of a user from `events` of their events: `vector`, unit float32 [128].

    fallback: why another model should answer for them, None where this one does. source: history, preferences or none,
    what it is made of. now: what the probabilities of actions are made of too; None where the history was not read.
    """

    served: Served
    vector: Vector
    events: int
    source: str
    fallback: str | None
    model_version: str
    now: UserNow | None


class CurrentVector(NamedTuple):
    """`embedding`: unit float32 [384] by the simple model, [128] by the sequence model. fallback: why the simple model
    made it where the sequence model was requested; model_version says which did."""

    embedding: Vector
    source: str
    user: UserState | None
    model_version: str
    fallback: str | None


async def current_vector(
    resources: Resources, user_id: str, *, model: Model, device: str | None = None
) -> CurrentVector:
    """The user's vector by a model, or by the simple one where the sequence model has too little to read or knows
    no item of the catalogue.

    Raises NoContent, NotInstalled, QueueFull or StoreError.
    """
    fallback = None
    if model == "sequence" and (fallback := resources.sequence.require().known.fallback) is None:
        user = await resources.store.get_user(user_id)
        found = await sequence_user(resources, user_id, device, state=user)
        if found.fallback is None:
            return CurrentVector(found.vector, "history", user, found.model_version, None)
        fallback = found.fallback
    vector = await user_vector(resources, user_id)
    return CurrentVector(vector.embedding, vector.source, vector.user, SIMPLE, fallback)


async def user_vector(resources: Resources, user_id: str) -> UserVector:
    """The user's vector by the first there is of history, preferences and popular content. Raises NoContent."""
    store = resources.store
    user = await store.get_user(user_id)
    if user is not None and user.stale:
        user = await store.rebuild_user(user_id)
    if user is not None and (history := unit_vector(user.sums)) is not None:
        return UserVector(history, "history", user)
    if (preferred := await preference_embedding(resources, user_id)) is not None:
        return UserVector(preferred, "preferences", user)
    if (popular := await _popular(resources)) is not None:
        return UserVector(popular, "popular", user)
    raise NoContent("no history, no preferences, no content to start from: store content first")


async def sequence_user(
    resources: Resources, user_id: str, device: str | None, *, state: UserState | None, at_us: int | None = None
) -> SequenceUser:
    """The user's vector by the sequence model, on a device or else the last one; at another time than now from what
    they did before it. state: of the user, just read. Where their history was read before and is the same it is not
    read again; else the request waits for its turn. Raises NotInstalled, QueueFull, DeadlineExceeded or StoreError."""
    sequence = resources.sequence
    preferred = await preference_embedding(resources, user_id)
    kept = sequence.kept(user_id, state) if at_us is None else None
    if kept is None:
        async with sequence.turn():
            kept = sequence.kept(user_id, state) if at_us is None else None  # another request may have read it
            if kept is None:
                past = None if at_us is None else (await past_history(resources, user_id, at_us), at_us)
                return await read_sequence_user(resources, user_id, device, preferred, state=state, past=past)
    vector = sequence.read_out(kept, now_us=time.time_ns() // 1_000, device=device, preferred=preferred)
    return _sequence_user(kept.served, vector, kept.events, preferred, None)


async def read_sequence_user(
    resources: Resources,
    user_id: str,
    device: str | None,
    preferred: Vector | None,
    *,
    state: UserState | None = None,
    past: tuple[UserHistory, int] | None = None,
) -> SequenceUser:
    """As `sequence_user`, from the history: within `sequence.turn()`. What can be used again is kept where the user's
    `state` is given. past: their events before another time than now, and that time."""
    sequence = resources.sequence
    served, forgotten, changes = sequence.require(), sequence.users.forgotten, resources.catalog.changes
    most = served.model.max_events
    stored, now_us = past or (await resources.store.newest(user_id, most), time.time_ns() // 1_000)
    read = await sequence.history(served, stored.last(most))
    now = await sequence.user(served, read.events, now_us=now_us, device=device, preferred=preferred)
    encoded = served.model.encoded(read.events, now)
    if state is not None and past is None and encoded is not None:
        events = len(read.events)
        complete = events == min(state.interaction_count, most)
        if complete and state.interaction_count > most:  # older ones may stand in for some whose content is gone
            complete = (await resources.store.recent(user_id, most)).content_ids == stored.content_ids
        kept = KeptUser(
            served=served, encoded=encoded, events=events, rows=read.rows.astype(np.int32), versions=read.versions,
            changes=changes, complete=complete, state=state,
        )  # fmt: skip
        sequence.users.put(user_id, kept, forgotten)
    return _sequence_user(served, now.vector, len(read.events), preferred, now)


def _sequence_user(
    served: Served, vector: Vector, events: int, preferred: Vector | None, now: UserNow | None
) -> SequenceUser:
    model = served.model
    source = "history" if events else "none" if preferred is None else "preferences"
    fallback = f"{events} of {model.min_events} events" if events < model.min_events else None
    return SequenceUser(served, vector, events, source, fallback, model.model_version, now)


async def preference_embedding(resources: Resources, user_id: str) -> Vector | None:
    """The vector of the user's onboarding preferences; None without any, or where another bundle made it."""
    stored = await resources.store.get_preferences(user_id)
    current = stored is not None and stored.bundle_digest == resources.embedder.encoder.bundle.digest
    return stored.embedding if stored is not None and current else None


async def _popular(resources: Resources) -> Vector | None:
    catalog = resources.catalog
    half_life = HALF_LIVES_HOURS.index(resources.settings.popularity_half_life_hours)
    best = catalog.popular(POPULAR_ITEMS, half_life)
    if not len(best):  # nobody did anything yet: everything is equally popular
        return popular_vector(catalog.mean()[np.newaxis])
    return popular_vector(await catalog.gather(best))
