"""Content that is kept: stored with its embedding, found by id."""

from asyncio import shield
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from runtime.api.embed import text_of
from runtime.catalog.item_fields import Content, ignored_fields, labels_of
from runtime.http.endpoint import Endpoint
from runtime.http.errors import not_found
from runtime.http.ids import Id, path_id
from runtime.models.embedder import EmbeddedText, Gone
from runtime.state import State
from runtime.store import Content as StoredContent
from runtime.store import ContentItem, PutOutcome

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_fields = msgspec.json.Encoder()
_decode_fields = msgspec.json.Decoder(Content).decode


class IdentifiedContent(Content, frozen=True, kw_only=True):
    """As the body of /embed, with the item's id."""

    id: Id


decode_identified = msgspec.json.Decoder(IdentifiedContent).decode


class ContentStored(msgspec.Struct, frozen=True):
    """`status` is created, replaced, or unchanged where the very same fields were stored before."""

    id: str
    status: str
    tokens: int
    truncated: bool
    used: list[str]
    ignored: list[str]
    model_version: str


class ContentResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    type: str
    text: str | None = None
    title: str | None = None
    description: str | None = None
    vendor_name: str | None = None
    category: str | None = None
    tags: Annotated[tuple[str, ...], msgspec.Meta()] = ()
    images: tuple[str, ...] = ()
    hidden: bool = False
    embedding: list[float]
    model_version: str
    created_at: datetime
    updated_at: datetime


class ContentChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    hidden: bool


class ContentChanged(msgspec.Struct, frozen=True):
    id: str
    hidden: bool


async def put_content(state: State, request: Request, content: Content) -> Response | ContentStored:
    id = path_id(request)
    text, used = text_of(content)
    fields = _fields.encode(content)
    before = await state.store.get_content(id)
    if before is not None and _same(state, before, fields):
        return _stored(before, "unchanged", used, content)
    item = _item(state, id, fields, await state.embedder.embed(text, request.is_disconnected))
    (outcome,) = await keep(state, [item])
    return _stored(item, outcome, used, content)


async def get_content(state: State, request: Request) -> ContentResponse:
    id = path_id(request)
    stored = await state.store.get_content(id)
    if stored is None:
        raise not_found("content", id)
    fields: dict[str, Any] = msgspec.structs.asdict(_decode_fields(stored.fields))
    return ContentResponse(
        id=id,
        hidden=stored.hidden,
        embedding=stored.embedding.tolist(),
        model_version=stored.model_version,
        created_at=utc(stored.created_us),
        updated_at=utc(stored.updated_us),
        **fields,
    )


async def patch_content(state: State, request: Request, body: ContentChange) -> ContentChanged:
    """Hide an item, or show it again. A hidden one leaves search, recommendations and rankings at once (where it counts
    as unknown) and can still be read, replaced and deleted; user vectors keep it."""
    id = path_id(request)
    if not await shield(_hide(state, id, body.hidden)):
        raise not_found("content", id)
    return ContentChanged(id, body.hidden)


async def delete_content(state: State, request: Request) -> Response:
    """The item is removed from every response at once. Interactions with it stay counted but affect no vector."""
    id = path_id(request)
    if not await shield(_forget(state, id)):
        raise not_found("content", id)
    return Response(status_code=204)


async def keep(state: State, items: list[ContentItem]) -> list[PutOutcome]:
    """Make items durable and rank with them from then on; both happen even if the request is cancelled between."""
    return await shield(_keep(state, items))


async def _keep(state: State, items: list[ContentItem]) -> list[PutOutcome]:
    labels = [labels_of(item.fields) for item in items]
    with state.catalog.room_for([item.id for item in items], sum(map(len, labels))):
        outcomes = await state.store.put_content(items)
        hidden = await state.store.hidden([item.id for item in items])
        for item, its in zip(items, labels, strict=True):
            if item.id not in hidden:
                state.catalog.put(item.id, item.embedding, its)
    await state.sequence.fill([item.id for item in items])
    return outcomes


async def _hide(state: State, id: str, hidden: bool) -> bool:
    before = await state.store.get_content(id)
    labels = () if before is None else labels_of(before.fields)
    with state.catalog.room_for([] if hidden else [id], 0 if hidden else len(labels)):
        existed = await state.store.hide_content(id, hidden)
        now = await state.store.get_content(id)
        if now is None or now.hidden:
            state.catalog.delete(id)
        elif now.bundle_digest == state.embedder.encoder.bundle.digest:
            state.catalog.put(id, now.embedding, labels_of(now.fields))
    return existed


async def _forget(state: State, id: str) -> bool:
    existed = await state.store.delete_content(id)
    state.catalog.delete(id)
    return existed


def utc(time_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_us)  # exact, which a float of seconds is not


async def store_items(state: State, items: list[tuple[str, bytes, str]], gone: Gone) -> list[str]:
    """Embed and store (id, fields, text); the status of each, in order."""
    before = {stored.id: stored for stored in await state.store.get_contents([id for id, _, _ in items])}
    changed = [n for n, (id, fields, _) in enumerate(items) if id not in before or not _same(state, before[id], fields)]
    statuses = ["unchanged"] * len(items)
    if not changed:
        return statuses
    labels = sum(len(labels_of(items[n][1])) for n in changed)
    with state.catalog.room_for([items[n][0] for n in changed], labels):  # told before the work is done, not after
        embedded = await state.embedder.embed_batch([items[n][2] for n in changed], gone)
    made = [_item(state, items[n][0], items[n][1], one) for n, one in zip(changed, embedded, strict=True)]
    outcomes = await keep(state, made)
    for n, outcome in zip(changed, outcomes, strict=True):
        statuses[n] = outcome
    return statuses


def _item(state: State, id: str, fields: bytes, embedded: EmbeddedText) -> ContentItem:
    encoder = state.embedder.encoder
    return ContentItem(
        id=id,
        fields=fields,
        embedding=embedded.vector,
        model_version=encoder.model_version,
        bundle_digest=encoder.bundle.digest,
        tokens=embedded.tokens,
        truncated=embedded.truncated,
    )


def _same(state: State, stored: StoredContent, fields: bytes) -> bool:
    return stored.fields == fields and stored.bundle_digest == state.embedder.encoder.bundle.digest


def fields_of(item: IdentifiedContent) -> bytes:
    """The fields without the id, as they are stored."""
    values = {name: getattr(item, name) for name in Content.__struct_fields__}
    return _fields.encode(Content(**values))


def _stored(item: ContentItem, status: str, used: list[str], content: Content) -> ContentStored:
    return ContentStored(
        item.id, status, item.tokens, item.truncated, used, ignored_fields(content), item.model_version
    )


EXAMPLE = {
    "title": "Hollow Oak Barn",
    "description": "A restored oak barn with string lights, hay meadows and room for 140 guests.",
    "vendor_name": "Hollow Oak Farm",
    "category": "venue",
    "tags": ["rustic", "barn"],
}

ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "PUT", "/content/{id:path}", put_content, "Store an item with its embedding",
        request=Content, response=ContentStored, errors=(400, 413, 415, 422, 503, 507), example=EXAMPLE,
    ),
    Endpoint(
        "GET", "/content/{id:path}", get_content, "A stored item", response=ContentResponse, errors=(404, 422, 503),
    ),
    Endpoint(
        "PATCH", "/content/{id:path}", patch_content, "Hide an item, or show it again",
        request=ContentChange, response=ContentChanged, errors=(400, 404, 413, 415, 422, 503, 507),
    ),
    Endpoint(
        "DELETE", "/content/{id:path}", delete_content, "Remove an item", status=204, errors=(404, 422, 503),
    ),
]  # fmt: skip
