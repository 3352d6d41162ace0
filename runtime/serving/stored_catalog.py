"""The stored catalogue, brought into memory at start: what fits is ranked, the rest is counted and reported."""

import logging
from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.catalog.catalog import Catalog, CatalogFull
from runtime.catalog.item_fields import labels_of
from runtime.store import Store

log = logging.getLogger("vows")

_REPORTED = 10  # items with unreadable fields that the log names
_reported = 0

Item = tuple[str, bytes, NDArray[np.float32]]  # id, fields, vector


async def load(store: Store, catalog: Catalog, bundle_digest: str) -> None:
    """Rank with the items whose vector this bundle made, as many as there is room for, and keep room for the others:
    they are hidden, or about to be embedded again. Raises StoreError where none can be read."""
    full: CatalogFull | None = None
    async for stored in store.vectors(bundle_digest):
        full = put_items(zip(stored.ids, stored.fields, stored.embeddings, strict=True), catalog) or full
        if len(catalog) == catalog.capacity:
            break
    await keep_room(store, catalog, bundle_digest, full)


def put_items(items: Iterable[Item], catalog: Catalog) -> CatalogFull | None:
    """Rank with these; what does not fit is left out, and the last reason returned."""
    full: CatalogFull | None = None
    for id, fields, vector in items:
        try:
            catalog.put(id, vector, readable_labels(id, fields))
        except CatalogFull as error:
            full = error
    return full


def readable_labels(id: str, fields: bytes) -> frozenset[str]:
    """The labels of a stored item; none, which is reported, where its fields cannot be read."""
    try:
        return labels_of(fields)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _report(id, error)
        return frozenset()


async def keep_room(store: Store, catalog: Catalog, bundle_digest: str, full: CatalogFull | None = None) -> None:
    """Keep room for what is stored and not ranked, and report what has none. full: why something did not fit."""
    after = 0
    while len(catalog) + catalog.waiting < catalog.capacity:
        page = await store.ids_without_room(bundle_digest, after=after)
        if not page:
            break
        for after, id in page:  # noqa: B007
            catalog.keep_room(id)
    stored_items = (await store.counts()).content
    catalog.without_room = max(0, stored_items - len(catalog) - catalog.waiting)
    if catalog.without_room and (full is not None or stored_items > catalog.capacity):
        log.error(
            "%d of %d stored items are in no ranking, there is no room for them%s. They can be read and deleted; give "
            "the machine more memory, raise VOWS_CATALOG_BYTES (or set VOWS_CATALOG_VECTORS=int8), or delete content, "
            "and start again",
            catalog.without_room, stored_items, f" ({full})" if full else "",
        )  # fmt: skip


def _report(id: str, error: Exception) -> None:
    global _reported
    _reported += 1
    if _reported <= _REPORTED:
        log.error("%r is ranked without labels, its fields cannot be read: %s; store it again", id, error)
