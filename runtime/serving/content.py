"""Items: stored with their embedding, hidden and deleted, with the catalogue kept in step."""

import logging
from asyncio import shield
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from runtime.catalog.catalog import CatalogFull
from runtime.catalog.item_fields import Content, content_labels, embedding_text
from runtime.models.disconnection import Disconnected
from runtime.models.embedder import EmbeddedText
from runtime.serving.resources import Resources
from runtime.serving.stored_catalog import readable_labels
from runtime.store import Content as StoredContent
from runtime.store import ContentItem, Unchanged

log = logging.getLogger("vows")

Status = Literal["created", "replaced", "unchanged"]

_fields = msgspec.json.Encoder()


class BlankContent(ValueError):
    """No field of the content says anything that could be embedded."""


class NotEmbedded(Exception):
    """The item is stored and waits for its vector by the model that is served now."""


class NewItem(NamedTuple):
    """An item to embed and store.

    fields: as they are stored. text: what the model reads, made from the fields `used`. labels: what it is filtered by.
    hidden: None to leave a stored item as it is.
    """

    id: str
    fields: bytes
    text: str
    used: list[str]
    labels: frozenset[str]
    hidden: bool | None = None


class StoredItem(NamedTuple):
    """`status`: unchanged where the very same fields were stored before."""

    status: Status
    tokens: int
    unknown_tokens: int
    truncated: bool
    model_version: str


def content_text(content: Content) -> tuple[str, list[str]]:
    """The text that the model reads and the fields it is made from. Raises BlankContent."""
    text, used = embedding_text(content)
    if not text:
        raise BlankContent("one of text, title, description, vendor_name or tags must say something that can be seen")
    return text, used


def new_item(id: str, content: Content, *, hidden: bool | None = None) -> NewItem:
    """The item to store for `content`, or for a struct with more fields than it. Raises BlankContent."""
    text, used = content_text(content)
    if type(content) is not Content:
        content = Content(**{name: getattr(content, name) for name in Content.__struct_fields__})
    return NewItem(id, _fields.encode(content), text, used, content_labels(content), hidden)


async def store_item(resources: Resources, item: NewItem, disconnected: Disconnected) -> StoredItem:
    """Embed and store an item, ahead of batches.

    Raises CatalogFull, QueueFull, DeadlineExceeded, ClientDisconnected, ModelFailed or a StoreError.
    """
    if (same := (await _unchanged(resources, [item])).get(item.id)) is not None:
        unknown = (await resources.embedder.tokenize(item.text)).unknown
        return StoredItem("unchanged", same.tokens, unknown, same.truncated, same.model_version)
    embedded = await resources.embedder.embed(item.text, disconnected)
    made = _made(resources, item, embedded)
    (status,) = await _keep(resources, [made], [item])
    return StoredItem(status, made.tokens, embedded.unknown, made.truncated, made.model_version)


async def store_items(resources: Resources, items: Sequence[NewItem], disconnected: Disconnected) -> list[Status]:
    """Embed and store items as bulk work; the status of each, in order. Raises as `store_item` does."""
    same = await _unchanged(resources, items)
    changed = [n for n, item in enumerate(items) if item.id not in same]
    statuses: list[Status] = ["unchanged"] * len(items)
    if not changed:
        return statuses
    some = [items[n] for n in changed]
    # Refused before the work is done, not after.
    with resources.catalog.room_for([item.id for item in some], sum(len(item.labels) for item in some)):
        embedded = await resources.embedder.embed_batch([item.text for item in some], disconnected)
    made = [_made(resources, item, one) for item, one in zip(some, embedded, strict=True)]
    for n, status in zip(changed, await _keep(resources, made, some), strict=True):
        statuses[n] = status
    return statuses


async def hide_item(resources: Resources, id: str, hidden: bool) -> bool:
    """Take an item out of the catalogue, or bring it back; False if there is none. Raises CatalogFull or StoreError."""
    return await shield(_hide(resources, id, hidden))


async def delete_item(resources: Resources, id: str) -> bool:
    """Remove an item; False if there was none. Raises StoreError."""
    return await shield(_delete(resources, id))


async def replace_vectors(
    resources: Resources, before: Sequence[StoredContent], embedded: Sequence[EmbeddedText]
) -> int:
    """Store the new vectors of items whose text is still the one that was embedded; how many that are. Nothing else of
    an item changes, and none comes back. Raises StoreError."""
    return await shield(_replace_vectors(resources, before, embedded))


async def _unchanged(resources: Resources, items: Sequence[NewItem]) -> dict[str, Unchanged]:
    """What is stored of those items that are there as they are given, by id."""
    digest = resources.embedder.encoder.bundle.digest
    same = await resources.store.unchanged([(item.id, item.fields) for item in items], digest)
    given = {item.id: item.hidden for item in items if item.hidden is not None and item.id in same}
    hidden = await resources.store.hidden(list(given)) if given else set()
    return {id: found for id, found in same.items() if given.get(id, id in hidden) == (id in hidden)}


async def _keep(
    resources: Resources, items: Sequence[ContentItem], given: Sequence[NewItem]
) -> list[Literal["created", "replaced"]]:
    """Make items durable and rank with them from then on; both happen even if the request is cancelled between."""
    return await shield(_store_and_show(resources, items, given))


async def _store_and_show(
    resources: Resources, items: Sequence[ContentItem], given: Sequence[NewItem]
) -> list[Literal["created", "replaced"]]:
    ids = [item.id for item in items]
    async with resources.item_turns.of(ids):
        with resources.catalog.room_for(ids, sum(len(item.labels) for item in given)):
            outcomes = await resources.store.put_content(items)
            known = {id for id in ids if resources.catalog.holds(id)}
            hidden = await _hide_as_given(resources, given)
            for item, new in zip(items, given, strict=True):
                if item.id not in hidden:
                    resources.catalog.put(item.id, item.embedding, new.labels)
                else:
                    resources.catalog.keep_room(item.id)
            created = {id for id, outcome in zip(ids, outcomes, strict=True) if outcome == "created"}
            for id in set(ids) - known:
                if id not in created and resources.catalog.holds(id):
                    resources.catalog.found_room()
                elif id in created and not resources.catalog.holds(id):
                    resources.catalog.without_room += 1
            await resources.popularity.refresh(ids)
    await resources.sequence.fill(ids)
    return outcomes


async def _hide_as_given(resources: Resources, given: Sequence[NewItem]) -> set[str]:
    """Hide stored items, or show them again, before anybody sees them; those that are hidden then."""
    hidden = await resources.store.hidden([item.id for item in given])
    for id, wanted in {item.id: item.hidden for item in given if item.hidden is not None}.items():
        if (id in hidden) == wanted:
            continue
        await resources.store.hide_content(id, wanted)
        if wanted:
            resources.catalog.keep_room(id)
            hidden.add(id)
        else:
            hidden.remove(id)
    return hidden


async def _replace_vectors(
    resources: Resources, before: Sequence[StoredContent], embedded: Sequence[EmbeddedText]
) -> int:
    encoder = resources.embedder.encoder
    ids = [item.id for item in before]
    vectors = [
        ContentItem(
            id=old.id, fields=old.fields, embedding=new.vector, model_version=encoder.model_version,
            bundle_digest=encoder.bundle.digest, tokens=new.tokens, truncated=new.truncated,
        )
        for old, new in zip(before, embedded, strict=True)
    ]  # fmt: skip
    async with resources.item_turns.of(ids):
        outcomes = await resources.store.replace_vectors(vectors)
        replaced = [one for one, done in zip(vectors, outcomes, strict=True) if done]
        hidden = await resources.store.hidden([one.id for one in replaced])
        for one in replaced:
            if one.id not in hidden:
                _show(resources, one)
        await resources.popularity.refresh([one.id for one in replaced])
    await resources.sequence.fill([one.id for one in replaced])
    return len(replaced)


def _show(resources: Resources, item: ContentItem) -> None:
    """Rank with an item that is stored already. Where there is no room for it, it is read and searched for later."""
    labels = readable_labels(item.id, item.fields)
    catalog = resources.catalog
    counted = not catalog.holds(item.id)  # among those without room
    if counted:
        catalog.found_room()
    try:
        with catalog.room_for([item.id], len(labels)):
            catalog.put(item.id, item.embedding, labels)
    except CatalogFull as error:
        catalog.without_room += counted
        log.error("%r is stored and in no ranking: %s", item.id, error)


async def _hide(resources: Resources, id: str, hidden: bool) -> bool:
    async with resources.item_turns.of([id]):
        stored = await resources.store.get_content(id)
        if stored is None:
            return False
        labels = frozenset[str]() if hidden else readable_labels(id, stored.fields)
        with resources.catalog.room_for([] if hidden else [id], len(labels)):
            if not await resources.store.hide_content(id, hidden):
                return False
            had_room = resources.catalog.holds(id)
            if hidden:
                resources.catalog.keep_room(id)
            elif stored.bundle_digest == resources.embedder.encoder.bundle.digest:
                resources.catalog.put(id, stored.embedding, labels)
                await resources.popularity.refresh([id])
            if not had_room and resources.catalog.holds(id):
                resources.catalog.found_room()
    await resources.sequence.fill([] if hidden else [id])
    return True


async def _delete(resources: Resources, id: str) -> bool:
    async with resources.item_turns.of([id]):
        existed = await resources.store.delete_content(id)
        if not resources.catalog.delete(id) and existed:
            resources.catalog.found_room()
    return existed


def _made(resources: Resources, item: NewItem, embedded: EmbeddedText) -> ContentItem:
    encoder = resources.embedder.encoder
    return ContentItem(
        id=item.id,
        fields=item.fields,
        embedding=embedded.vector,
        model_version=encoder.model_version,
        bundle_digest=encoder.bundle.digest,
        tokens=embedded.tokens,
        truncated=embedded.truncated,
    )
