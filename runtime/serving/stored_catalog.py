"""The stored catalogue, brought into memory at start: what fits is ranked, the rest is counted and reported."""

import logging

import msgspec

from runtime.catalog.catalog import Catalog, CatalogFull
from runtime.catalog.item_fields import labels_of
from runtime.store import Store

log = logging.getLogger("vows")

_REPORTED = 10  # items without room or with unreadable fields that the log names; all are counted


async def load(store: Store, catalog: Catalog, bundle_digest: str) -> None:
    """Rank with the items whose vector this bundle made, as many as there is room for, and keep room for the others:
    they are hidden, or about to be embedded again. Raises StoreError where none can be read."""
    unreadable = 0
    full: CatalogFull | None = None
    async for stored in store.vectors(bundle_digest):
        for id, fields, vector in zip(stored.ids, stored.fields, stored.embeddings, strict=True):
            try:
                labels = labels_of(fields)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                labels = frozenset()
                unreadable += 1
                if unreadable <= _REPORTED:
                    log.error("%r is ranked without labels, its fields cannot be read: %s; store it again", id, error)
            try:
                catalog.put(id, vector, labels)
            except CatalogFull as error:
                full = error
        if len(catalog) == catalog.capacity:
            break
    await _keep_room(store, catalog, bundle_digest)
    stored_items = (await store.counts()).content
    catalog.without_room = max(0, stored_items - len(catalog) - catalog.waiting)
    if catalog.without_room and (full is not None or stored_items > catalog.capacity):
        log.error(
            "%d of %d stored items are in no ranking, there is no room for them%s. They can be read and deleted; give "
            "the machine more memory, raise VOWS_CATALOG_BYTES (or set VOWS_CATALOG_VECTORS=int8), or delete content, "
            "and start again",
            catalog.without_room, stored_items, f" ({full})" if full else "",
        )  # fmt: skip


async def _keep_room(store: Store, catalog: Catalog, bundle_digest: str) -> None:
    after = 0
    while len(catalog) + catalog.waiting < catalog.capacity:
        page = await store.ids_without_room(bundle_digest, after=after)
        if not page:
            return
        for after, id in page:  # noqa: B007
            catalog.keep_room(id)
