"""A user as a vector: by the simple model's average of their history, or by the sequence model."""

import time
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.models.sequence_model import UserNow
from runtime.personalization.cold_start import POPULAR_ITEMS, popular_vector
from runtime.personalization.popularity import HALF_LIVES_HOURS
from runtime.personalization.user_vector import unit_vector
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
    """What the sequence model makes of a user from `events` of their events.

    fallback: why another model should answer for them, None where this one does. source: history, preferences or none,
    what it is made of.
    """

    served: Served
    now: UserNow
    events: int
    source: str
    fallback: str | None
    model_version: str


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
        found = await sequence_user(resources, user_id, device)
        if found.fallback is None:
            user = await resources.store.get_user(user_id)
            return CurrentVector(found.now.vector, "history", user, found.model_version, None)
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
    resources: Resources, user_id: str, device: str | None, past: tuple[UserHistory, int] | None = None
) -> SequenceUser:
    """The user by the sequence model, on a device or else the last one. past: their events before another time than
    now, and that time. Raises NotInstalled or QueueFull."""
    served = resources.sequence.require()
    model = served.model
    stored, now_us = past or (await resources.store.newest(user_id, model.max_events), time.time_ns() // 1_000)
    history = await resources.sequence.history(served, stored.last(model.max_events))
    preferred = await preference_embedding(resources, user_id)
    now = await resources.sequence.user(served, history, now_us=now_us, device=device, preferred=preferred)
    events = len(history)
    return SequenceUser(
        served,
        now,
        events,
        "history" if events else "none" if preferred is None else "preferences",
        f"{events} of {model.min_events} events" if events < model.min_events else None,
        model.model_version,
    )


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
