"""After a new bundle is installed: embed again, in the background, what another bundle had embedded."""

import logging

import msgspec

from runtime.catalog.item_fields import Content, embedding_text, labels_of, preferences_text
from runtime.serving.resources import Resources
from runtime.store import ContentItem, Preferences

log = logging.getLogger("vows")

_decode = msgspec.json.Decoder(Content).decode
_ROWS = 64  # a slice that the scheduler interleaves with requests


async def reembed(resources: Resources) -> None:
    """Replace every vector of another bundle, as bulk work. Until its turn an item is in no ranking: a vector of one
    model says nothing beside a vector of another. Logs a failure and leaves the rest to the next start."""
    encoder = resources.embedder.encoder
    digest, version = encoder.bundle.digest, encoder.model_version
    done = 0
    try:
        while stale := await resources.store.content_of_other_bundles(digest, limit=_ROWS):
            texts = [embedding_text(_decode(item.fields))[0] for item in stale]
            embedded = await resources.embedder.embed_batch(texts)
            items = [
                ContentItem(
                    id=old.id, fields=old.fields, embedding=new.vector, model_version=version, bundle_digest=digest,
                    tokens=new.tokens, truncated=new.truncated,
                )
                for old, new in zip(stale, embedded, strict=True)
            ]  # fmt: skip
            await resources.store.put_content(items)
            hidden = await resources.store.hidden([item.id for item in items])
            for item in items:
                if item.id not in hidden:
                    resources.catalog.put(item.id, item.embedding, labels_of(item.fields))
            await resources.sequence.fill([item.id for item in items])
            done += len(items)
            log.info("embedded %d items again for bundle %s", done, digest[:12])
        while users := await resources.store.preferences_of_other_bundles(digest, limit=_ROWS):
            embedded = await resources.embedder.embed_batch(
                [preferences_text(user.preferences.preferences) for user in users]
            )
            for user, new in zip(users, embedded, strict=True):
                preferences = Preferences(
                    preferences=user.preferences.preferences, embedding=new.vector, model_version=version,
                    bundle_digest=digest,
                )  # fmt: skip
                await resources.store.put_preferences(user.user_id, preferences)
    except Exception:
        log.exception("embedding again stopped after %d items; the next start goes on", done)
