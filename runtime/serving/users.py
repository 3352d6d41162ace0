"""What is stored about a user beside their events: onboarding preferences; and the deletion of all of it."""

from asyncio import shield
from collections.abc import Sequence

from runtime.catalog.item_fields import preferences_text
from runtime.models.disconnection import Disconnected
from runtime.models.embedder import EmbeddedText
from runtime.serving.resources import Resources
from runtime.store import DeletedUser, Preferences, StoreCorrupt, UserPreferences


class BlankPreferences(ValueError):
    """None of the preferences says anything."""


async def set_preferences(
    resources: Resources, user_id: str, preferences: Sequence[str], disconnected: Disconnected
) -> EmbeddedText:
    """Embed the preferences as one text and store them. Those that they replace are evicted from the cache.

    Raises BlankPreferences, QueueFull, DeadlineExceeded, ClientDisconnected, ModelFailed or StoreError.
    """
    text = preferences_text(preferences)
    if not text:
        raise BlankPreferences("of the preferences nothing can be seen")
    embedded = await resources.embedder.embed(text, disconnected)
    await shield(_keep_preferences(resources, user_id, _preferences(resources, preferences, embedded)))
    return embedded


async def user_preferences(resources: Resources, user_id: str) -> Preferences | None:
    """The onboarding preferences as they were set; None if there are none. Raises StoreError."""
    return await resources.store.get_preferences(user_id)


async def replace_preference_embedding(resources: Resources, user: UserPreferences, embedded: EmbeddedText) -> bool:
    """Store the new vector of preferences that are still as they were read; whether they are. Raises StoreError."""
    preferences = _preferences(resources, user.preferences.preferences, embedded)
    return await resources.store.replace_preference_vector(user.user_id, preferences)


async def delete_user_data(resources: Resources, user_id: str) -> DeletedUser:
    """Remove every trace of a user, also from the cache. Raises StoreError."""
    return await shield(_forget(resources, user_id))  # or a client that leaves would keep the text in the cache


async def _keep_preferences(resources: Resources, user_id: str, preferences: Preferences) -> None:
    async with resources.user_turns.of([user_id]):
        before = await _preferences_before(resources, user_id)
        await resources.store.put_preferences(user_id, preferences)
    if before is not None and before.preferences != preferences.preferences:
        resources.embedder.evict(preferences_text(before.preferences))


async def _forget(resources: Resources, user_id: str) -> DeletedUser:
    async with resources.user_turns.of([user_id]):
        preferences = await _preferences_before(resources, user_id)
        counted: set[str] = set()
        deleted = await resources.store.delete_user(user_id, counted=counted)
        resources.sequence.users.forget(user_id)
        await resources.popularity.refresh(list(counted))
    if preferences is not None:
        resources.embedder.evict(preferences_text(preferences.preferences))
    return deleted


async def _preferences_before(resources: Resources, user_id: str) -> Preferences | None:
    """What is about to be replaced or removed; None also where it is damaged, which this mends."""
    try:
        return await resources.store.get_preferences(user_id)
    except StoreCorrupt:
        return None


def _preferences(resources: Resources, preferences: Sequence[str], embedded: EmbeddedText) -> Preferences:
    encoder = resources.embedder.encoder
    return Preferences(
        preferences=list(preferences),
        embedding=embedded.vector,
        model_version=encoder.model_version,
        bundle_digest=encoder.bundle.digest,
    )
