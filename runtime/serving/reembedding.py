"""After a new bundle is installed: embed again, in the background, what another bundle had embedded."""

import logging

import msgspec

from runtime.catalog.item_fields import Content, embedding_text, preferences_text
from runtime.serving.content import replace_vectors
from runtime.serving.resources import Resources
from runtime.serving.users import replace_preference_embedding

log = logging.getLogger("vows")

_decode = msgspec.json.Decoder(Content).decode
_ROWS = 64  # a slice that the scheduler interleaves with requests


async def reembed(resources: Resources) -> None:
    """Replace every vector of another bundle, as bulk work. Until its turn an item is in no ranking: a vector of one
    model says nothing beside a vector of another. Logs a failure and leaves the rest to the next start."""
    store, embedder = resources.store, resources.embedder
    digest = embedder.encoder.bundle.digest
    done = 0
    try:
        while stale := await store.content_of_other_bundles(digest, limit=_ROWS):
            embedded = await embedder.embed_batch([embedding_text(_decode(item.fields))[0] for item in stale])
            done += await replace_vectors(resources, stale, embedded)
            log.info("embedded %d items again for bundle %s", done, digest[:12])
        while users := await store.preferences_of_other_bundles(digest, limit=_ROWS):
            embedded = await embedder.embed_batch([preferences_text(user.preferences.preferences) for user in users])
            for user, new in zip(users, embedded, strict=True):
                await replace_preference_embedding(resources, user, new)
    except Exception:
        log.exception("embedding again stopped after %d items; the next start continues", done)
