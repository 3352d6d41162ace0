"""The catalogue from its first item to its last, a page at a time."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request

from runtime.api.content import ContentResponse, utc
from runtime.api.embed import EncodingFormat, encoded
from runtime.http.endpoint import Endpoint
from runtime.serving.stored_items import PAGE_BYTES, items_page
from runtime.state import State

_ITEM_BYTES = 12_000  # beside its texts: the vector as numbers, twice while it is encoded


class ListingQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`after`: the `next` of the page before. `encoding_format` base64 gives vectors as little-endian float32."""

    after: Annotated[int, Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    encoding_format: EncodingFormat = "float"


class ListedContent(ContentResponse, frozen=True, kw_only=True, omit_defaults=True):
    """As one item, with its vector as numbers or in base64."""

    embedding: list[float] | str  # type: ignore[assignment]


class ContentPage(msgspec.Struct, frozen=True):
    """Items in the order in which they were first stored; `next` is null on the last page."""

    items: list[ListedContent]
    next: int | None


async def get_contents(state: State, request: Request, query: ListingQuery) -> ContentPage:
    """Stored items with their vectors. A page can hold fewer than `limit` items where they are long."""
    found, following = await items_page(state, after=query.after, limit=query.limit)
    items = [
        ListedContent(
            id=stored.id,
            embedding=encoded(stored.embedding, query.encoding_format),
            model_version=stored.model_version,
            created_at=utc(stored.created_us),
            updated_at=utc(stored.updated_us),
            **msgspec.structs.asdict(fields),
        )
        for fields, stored in found
    ]
    return ContentPage(items, following)


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "GET", "/content", get_contents, "The catalogue, page by page",
        query=ListingQuery, response=ContentPage, errors=(400, 422, 503), example={"limit": 2},
        answer_bytes=lambda query: 3 * PAGE_BYTES + _ITEM_BYTES * query.limit,
    ),
]  # fmt: skip
