"""Items as they are stored, hidden ones included: one by its id, or the catalogue page by page."""

import logging
from typing import NamedTuple

import msgspec

from runtime.catalog.item_fields import Content
from runtime.serving.resources import Resources
from runtime.store import Content as StoredContent
from runtime.store import StoreCorrupt

# A page ends early where its items are long, so that a page of the longest ones does not hold megabytes.
PAGE_BYTES = 512 * 1024

log = logging.getLogger("vows")

_decode_fields = msgspec.json.Decoder(Content).decode


class Item(NamedTuple):
    """`fields`: as they were sent. `stored`: the rest, such as the vector and times."""

    fields: Content
    stored: StoredContent


async def stored_item(resources: Resources, id: str) -> Item | None:
    """The item; None if there is none. Raises StoreCorrupt where its fields cannot be read."""
    stored = await resources.store.get_content(id)
    return None if stored is None else Item(_fields(stored), stored)


async def items_page(resources: Resources, *, after: int, limit: int) -> tuple[list[Item], int | None]:
    """Up to `limit` items that are not hidden, in the order in which they were first stored, and the `after` of the
    next page, None on the last. What cannot be read is logged and left out: one item does not hide the others."""
    stored, following = await resources.store.list_content(after=after, limit=limit, max_bytes=PAGE_BYTES)
    items = []
    for one in stored:
        try:
            items.append(Item(_fields(one), one))
        except StoreCorrupt as error:
            log.error("left out of a page of the catalogue: %s", error)
    return items, following


def _fields(item: StoredContent) -> Content:
    try:
        return _decode_fields(item.fields)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StoreCorrupt(
            f"the stored fields of {item.id!r} cannot be read: {error}; store the item again, or delete it"
        ) from error
