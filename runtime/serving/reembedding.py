"""After a new bundle is installed: embed again, in the background, what another bundle had embedded."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from runtime.catalog.item_fields import Content, embedding_text, preferences_text
from runtime.models.embedder import BatchTooLarge, EmbeddedText
from runtime.models.scheduler import QueueFull
from runtime.models.text_encoder import ModelFailed
from runtime.models.worker_pool import DeadlineExceeded
from runtime.serving.content import replace_vectors
from runtime.serving.resources import Resources
from runtime.serving.users import replace_preference_embedding
from runtime.store import Content as StoredContent
from runtime.store import StoreClosed, StoreError

log = logging.getLogger("vows")

T = TypeVar("T")

_decode = msgspec.json.Decoder(Content).decode
_ROWS = 64  # a slice that the scheduler interleaves with requests
_RETRY_S, _LONGEST_RETRY_S = 1.0, 60.0


async def reembed(resources: Resources) -> None:
    """Replace every vector of another bundle, as bulk work. Until its turn an item is in no ranking: a vector of one
    model says nothing beside a vector of another.

    What prevents a slice for now (a full disk, overload) is tried again; an item that cannot be embedded is logged and
    passed over, until the next start.
    """
    try:
        done = await _items(resources) + await _preferences(resources)
        if done:
            log.info("all is embedded by bundle %s", resources.embedder.encoder.bundle.digest[:12])
    except StoreClosed:
        log.info("embedding again stops with the server; the next start continues")
    except Exception:
        log.exception("this is a bug: embedding again stopped; the next start continues")


async def _items(resources: Resources) -> int:
    """How many got a new vector."""
    digest = resources.embedder.encoder.bundle.digest
    after: int | None = 0
    done = 0
    while after is not None:
        page, following = await _patiently(resources.store.content_of_other_bundles, digest, after=after, limit=_ROWS)
        readable = [(item, text) for item in page if (text := _text(item)) is not None]
        found = await _embedded(resources, [text for _, text in readable])
        embedded = [(item, new) for (item, _), new in zip(readable, found, strict=True) if new is not None]
        if embedded:
            items, vectors = zip(*embedded, strict=True)
            done += await _patiently(replace_vectors, resources, items, vectors)
            log.info("embedded %d items again for bundle %s", done, digest[:12])
        after = following
    return done


async def _preferences(resources: Resources) -> int:
    digest = resources.embedder.encoder.bundle.digest
    after: int | None = 0
    done = 0
    while after is not None:
        users, following = await _patiently(
            resources.store.preferences_of_other_bundles, digest, after=after, limit=_ROWS
        )
        embedded = await _embedded(resources, [preferences_text(user.preferences.preferences) for user in users])
        for user, new in zip(users, embedded, strict=True):
            if new is None:
                continue
            done += await _patiently(replace_preference_embedding, resources, user, new)
        after = following
    return done


def _text(item: StoredContent) -> str | None:
    """What the model reads of an item; None, and a line in the log, where it is unknown."""
    try:
        text, _ = embedding_text(_decode(item.fields))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        log.error("%r is in no ranking, its fields cannot be read: %s; store it again", item.id, error)
        return None
    if not text:
        log.error("%r is in no ranking, its fields say nothing that can be embedded; store it again", item.id)
    return text or None


async def _embedded(resources: Resources, texts: Sequence[str]) -> list[EmbeddedText | None]:
    """Their vectors; None, and a line in the log, for a text that alone makes the model fail."""
    if not texts:
        return []
    try:
        return list(await _patiently(resources.embedder.embed_batch, texts))
    except (BatchTooLarge, ModelFailed) as error:
        if len(texts) > 1:
            return [one for text in texts for one in await _embedded(resources, [text])]
        log.error("a stored text is in no ranking, it cannot be embedded: %s", error)
        return [None]


async def _patiently(call: Callable[..., Awaitable[T]], *arguments: object, **options: object) -> T:
    """The call's result, tried again while the reason to fail may pass. Raises StoreClosed."""
    wait_s = _RETRY_S
    while True:
        try:
            return await call(*arguments, **options)
        except StoreClosed:
            raise
        except (QueueFull, DeadlineExceeded, StoreError) as error:
            log.warning("embedding again waits %.0f s: %s", wait_s, error)
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_RETRY_S)
