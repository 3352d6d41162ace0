"""Content that is kept: stored with its embedding, found by id."""

from asyncio import shield, wrap_future
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from runtime.api.batch import decode_items
from runtime.api.embed import text_of
from runtime.api.endpoint import JSON, NDJSON, Endpoint
from runtime.api.errors import ApiError, Error, not_found
from runtime.api.ids import Id, check_id, path_id
from runtime.content import Content, ignored_fields
from runtime.models.embedder import EmbeddedText
from runtime.store import Content as StoredContent
from runtime.store import ContentItem, PutOutcome

if TYPE_CHECKING:
    from runtime.parts import Parts

MAX_BATCH = 1_000
_SLICE = 256  # items embedded and stored together: an answerable bound on memory and on one transaction

_fields = msgspec.json.Encoder()
_decode_fields = msgspec.json.Decoder(Content).decode


class IdentifiedContent(Content, frozen=True, kw_only=True):
    """As the body of /embed, with the item's id."""

    id: Id


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
    tags: Annotated[tuple[str, ...], msgspec.Meta()] = ()
    images: tuple[str, ...] = ()
    embedding: list[float]
    model_version: str
    created_at: datetime
    updated_at: datetime


class ContentOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """`status`: created, replaced, unchanged, or rejected with an `error`. `id` is null where it could not be read."""

    id: str | None
    status: str
    error: Error | None = None


class ContentBatchResponse(msgspec.Struct, frozen=True):
    """One result an item, in order. `stored` counts created, replaced and unchanged ones."""

    results: list[ContentOutcome]
    stored: int
    rejected: int


async def put_content(parts: "Parts", request: Request, content: Content) -> Response | ContentStored:
    id = path_id(request)
    text, used = text_of(content)
    fields = _fields.encode(content)
    before = parts.store.get_content(id)
    if before is not None and _same(parts, before, fields):
        return _stored(before, "unchanged", used, content)
    item = _item(parts, id, fields, await parts.embedder.embed(text, request.is_disconnected))
    (outcome,) = await keep(parts, [item])
    return _stored(item, outcome, used, content)


async def post_content_batch(parts: "Parts", request: Request, body: bytes) -> ContentBatchResponse:
    """A JSON array, or one JSON object a line (application/x-ndjson). A bad item is reported, the others are stored."""
    lines = request.headers.get("content-type", JSON).partition(";")[0].strip().lower() == NDJSON
    outcomes: list[ContentOutcome] = []
    good: list[tuple[int, IdentifiedContent, str]] = []  # position in `outcomes`, item, text
    for path, item in decode_items(body, _decode_identified, limit=MAX_BATCH, lines=lines):
        try:
            if isinstance(item, ApiError):
                raise item
            check_id(item.id, f"{path}.id")
            good.append((len(outcomes), item, text_of(item, path)[0]))
            outcomes.append(ContentOutcome(item.id, "pending"))
        except ApiError as error:
            id = None if isinstance(item, ApiError) else item.id
            outcomes.append(ContentOutcome(id, "rejected", error.error))
    for start in range(0, len(good), _SLICE):
        part = good[start : start + _SLICE]
        statuses = await _store(parts, request, [(item.id, _bare(item), text) for _, item, text in part])
        for (position, item, _), status in zip(part, statuses, strict=True):
            outcomes[position] = ContentOutcome(item.id, status)
    rejected = len(outcomes) - len(good)
    return ContentBatchResponse(outcomes, len(good), rejected)


async def get_content(parts: "Parts", request: Request) -> ContentResponse:
    id = path_id(request)
    stored = parts.store.get_content(id)
    if stored is None:
        raise not_found("content", id)
    fields: dict[str, Any] = msgspec.structs.asdict(_decode_fields(stored.fields))
    return ContentResponse(
        id=id,
        embedding=stored.embedding.tolist(),
        model_version=stored.model_version,
        created_at=utc(stored.created_us),
        updated_at=utc(stored.updated_us),
        **fields,
    )


async def delete_content(parts: "Parts", request: Request) -> Response:
    """The item leaves every answer at once. Interactions with it stay counted and move no vector any more."""
    id = path_id(request)
    if not await shield(_forget(parts, id)):
        raise not_found("content", id)
    return Response(status_code=204)


async def keep(parts: "Parts", items: list[ContentItem]) -> list[PutOutcome]:
    """Make items durable and rank with them from then on; both happen even if the request is cancelled between."""
    return await shield(_keep(parts, items))


async def _keep(parts: "Parts", items: list[ContentItem]) -> list[PutOutcome]:
    with parts.catalog.room_for([item.id for item in items]):
        outcomes = await wrap_future(parts.store.put_content(items))
        for item in items:
            parts.catalog.put(item.id, item.embedding)
    await parts.sequence.fill([item.id for item in items])
    return outcomes


async def _forget(parts: "Parts", id: str) -> bool:
    existed = await wrap_future(parts.store.delete_content(id))
    parts.catalog.delete(id)
    return existed


def utc(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us / 1e6, UTC)


async def _store(parts: "Parts", request: Request, items: list[tuple[str, bytes, str]]) -> list[str]:
    """Embed and store (id, fields, text); the status of each, in order."""
    before = {stored.id: stored for stored in parts.store.get_contents([id for id, _, _ in items])}
    changed = [n for n, (id, fields, _) in enumerate(items) if id not in before or not _same(parts, before[id], fields)]
    statuses = ["unchanged"] * len(items)
    if not changed:
        return statuses
    with parts.catalog.room_for([items[n][0] for n in changed]):  # told before the work is done, not after
        embedded = await parts.embedder.embed_batch([items[n][2] for n in changed], request.is_disconnected)
    made = [_item(parts, items[n][0], items[n][1], one) for n, one in zip(changed, embedded, strict=True)]
    outcomes = await keep(parts, made)
    for n, outcome in zip(changed, outcomes, strict=True):
        statuses[n] = outcome
    return statuses


def _item(parts: "Parts", id: str, fields: bytes, embedded: EmbeddedText) -> ContentItem:
    encoder = parts.embedder.encoder
    return ContentItem(
        id=id,
        fields=fields,
        embedding=embedded.vector,
        model_version=encoder.model_version,
        bundle_digest=encoder.bundle.digest,
        tokens=embedded.tokens,
        truncated=embedded.truncated,
    )


def _same(parts: "Parts", stored: StoredContent, fields: bytes) -> bool:
    return stored.fields == fields and stored.bundle_digest == parts.embedder.encoder.bundle.digest


def _bare(item: IdentifiedContent) -> bytes:
    """The fields without the id, as they are stored."""
    values = {name: getattr(item, name) for name in Content.__struct_fields__}
    return _fields.encode(Content(**values))


def _stored(item: ContentItem, status: str, used: list[str], content: Content) -> ContentStored:
    return ContentStored(
        item.id, status, item.tokens, item.truncated, used, ignored_fields(content), item.model_version
    )


_decode_identified = msgspec.json.Decoder(IdentifiedContent).decode

_EXAMPLE = {
    "title": "Hollow Oak Barn",
    "description": "A restored oak barn with string lights, hay meadows and room for 140 guests.",
    "vendor_name": "Hollow Oak Farm",
    "tags": ["rustic", "barn", "venue"],
}

ENDPOINTS = [
    Endpoint(
        "PUT", "/content/{id:path}", put_content, "Store an item with its embedding",
        request=Content, response=ContentStored, errors=(400, 413, 415, 422, 503, 507), example=_EXAMPLE,
    ),
    Endpoint(
        "GET", "/content/{id:path}", get_content, "A stored item", response=ContentResponse, errors=(404, 422, 503),
    ),
    Endpoint(
        "DELETE", "/content/{id:path}", delete_content, "Remove an item", status=204, errors=(404, 422, 503),
    ),
    Endpoint(
        "POST", "/content/batch", post_content_batch, "Store up to 1,000 items",
        request=list[IdentifiedContent], response=ContentBatchResponse, raw=True, media=(JSON, NDJSON),
        errors=(400, 413, 415, 422, 503, 507), example=[{"id": "hollow-oak-barn", **_EXAMPLE}],
    ),
]  # fmt: skip
