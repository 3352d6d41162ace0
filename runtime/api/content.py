"""Content that is kept: stored with its embedding, found by id."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from runtime.catalog.item_fields import Content, ignored_fields
from runtime.http.batch import Reader
from runtime.http.endpoint import Endpoint
from runtime.http.enumeration import one_of
from runtime.http.errors import invalid, not_found
from runtime.http.ids import Id, check_id, path_id
from runtime.http.lenient import NOT_GIVEN, ReadOnly
from runtime.serving.content import BlankContent, NewItem, delete_item, hide_item, new_item, store_item
from runtime.serving.stored_items import stored_item
from runtime.state import State

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class GivenContent(Content, frozen=True, kw_only=True):
    """The fields of an item. `hidden` as PATCH sets it; without it, a stored item stays as it is. What the server makes
    itself (`embedding`, `model_version`, times) is ignored, so that an item can be sent back as it came."""

    hidden: bool | None = None
    embedding: ReadOnly = NOT_GIVEN
    model_version: ReadOnly = NOT_GIVEN
    created_at: ReadOnly = NOT_GIVEN
    updated_at: ReadOnly = NOT_GIVEN


class PutContentRequest(GivenContent, frozen=True, kw_only=True):
    """As an item of a batch; an `id` is the one in the path."""

    id: Id | None = None


class IdentifiedContent(GivenContent, frozen=True, kw_only=True):
    """As the body of PUT /content/{id}, with the item's id."""

    id: Id


class ContentStored(msgspec.Struct, frozen=True):
    """`status` is created, replaced, or unchanged where the very same fields were stored before. `tokens`,
    `unknown_tokens` and `truncated` as in /embed."""

    id: str
    status: Annotated[str, one_of("created", "replaced", "unchanged")]
    tokens: int
    unknown_tokens: int
    truncated: bool
    used: list[str]
    ignored: list[str]
    model_version: str


class ContentResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields that were stored, and what the server made of them. `embedding`: the unit vector."""

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
    """`hidden`: true keeps the item out of every result. An `id` is the one in the path."""

    hidden: bool
    id: Id | None = None


class ContentChanged(msgspec.Struct, frozen=True):
    """The item as it is now."""

    id: str
    hidden: bool


async def put_content(state: State, request: Request, content: PutContentRequest) -> ContentStored:
    """An item that is stored again is replaced; with the very same fields nothing is computed or written. Hidden items
    stay hidden."""
    item = new_item(same_id(path_id(request), content.id), content, hidden=content.hidden)
    stored = await store_item(state, item, request.is_disconnected)
    return ContentStored(
        id=item.id,
        status=stored.status,
        tokens=stored.tokens,
        unknown_tokens=stored.unknown_tokens,
        truncated=stored.truncated,
        used=item.used,
        ignored=ignored_fields(content),
        model_version=stored.model_version,
    )


async def get_content(state: State, request: Request) -> ContentResponse:
    """Its fields, its vector, and when it was stored, hidden items included."""
    id = path_id(request)
    item = await stored_item(state, id)
    if item is None:
        raise not_found("content", id)
    stored = item.stored
    return ContentResponse(
        id=id,
        hidden=stored.hidden,
        embedding=stored.embedding.tolist(),
        model_version=stored.model_version,
        created_at=utc(stored.created_us),
        updated_at=utc(stored.updated_us),
        **msgspec.structs.asdict(item.fields),
    )


async def patch_content(state: State, request: Request, body: ContentChange) -> ContentChanged:
    """Hide an item, or show it again. A hidden one leaves search, recommendations and rankings at once (where it counts
    as unknown) and can still be read, replaced and deleted; user vectors keep it."""
    id = same_id(path_id(request), body.id)
    if not await hide_item(state, id, body.hidden):
        raise not_found("content", id)
    return ContentChanged(id, body.hidden)


async def delete_content(state: State, request: Request) -> Response:
    """The item is removed from every response at once. Interactions with it stay counted but affect no vector."""
    id = path_id(request)
    if not await delete_item(state, id):
        raise not_found("content", id)
    return Response(status_code=204)


def utc(time_us: int) -> datetime:
    """The time of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=time_us)  # exact, which a float of seconds is not


def same_id(of_path: str, of_body: str | None, field: str = "$.id") -> str:
    """The id in the path. Raises ApiError 422 where the body names another."""
    if of_body not in (None, of_path):
        raise invalid(f"the path names {of_path!r} and the body {of_body!r}: leave one of them out", field)
    return of_path


def accepted(item: IdentifiedContent, path: str) -> NewItem:
    """The item of a batch to store. Raises ApiError 422 for an id that is too long, or content that says nothing."""
    check_id(item.id, f"{path}.id")
    try:
        return new_item(item.id, item, hidden=item.hidden)
    except BlankContent as error:
        raise invalid(str(error), path) from None


READER = Reader(msgspec.json.Decoder(IdentifiedContent).decode, accepted)

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
        request=PutContentRequest, response=ContentStored, errors=(400, 413, 415, 422, 503, 507), example=EXAMPLE,
    ),
    Endpoint(
        "GET", "/content/{id:path}", get_content, "A stored item", response=ContentResponse, errors=(404, 422, 503),
    ),
    Endpoint(
        "PATCH", "/content/{id:path}", patch_content, "Hide an item, or show it again",
        request=ContentChange, response=ContentChanged, errors=(400, 404, 413, 415, 422, 503, 507),
        example={"hidden": True},
    ),
    Endpoint(
        "DELETE", "/content/{id:path}", delete_content, "Remove an item", status=204, errors=(404, 422, 503),
    ),
]  # fmt: skip
