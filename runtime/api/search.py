"""Discovery over the whole catalogue: by words, by an item, by a user's taste."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request

from runtime.api.at import At, as_of
from runtime.catalog.item_fields import LongText, ShortText, Tag, labels
from runtime.http.endpoint import Endpoint
from runtime.http.enumeration import one_of
from runtime.http.errors import invalid, not_found
from runtime.http.ids import Id, check_id, path_id
from runtime.personalization.actions import InteractionType
from runtime.serving.catalog_search import Among, Found
from runtime.serving.recommendations import Model
from runtime.serving.search import search_text, similar_items
from runtime.serving.shown_rankings import recommend_shown
from runtime.state import State
from runtime.system.text import visible

MAX_RESULTS = 100
MAX_OFFSET = 900  # the 1,000 best can be paged through
MAX_EXCLUDED = 1_000
_MAX_TAGS = 16

TopK = Annotated[int, Meta(ge=1, le=MAX_RESULTS)]
Offset = Annotated[int, Meta(ge=0, le=MAX_OFFSET)]
_Tags = Annotated[list[Tag], Meta(max_length=_MAX_TAGS)]
_Names = Annotated[list[ShortText], Meta(max_length=_MAX_TAGS)]


_DONE: dict[str, InteractionType] = {"saved": "save", "shared": "share", "skipped": "skip", "viewed": "view"}


class Filters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An item passes that has every one of `tags`, at least one of `any_tags`, and is by `vendor` (its `vendor_name`)
    and of `category`; of several vendors or categories, one of them. They are compared as a whole; case, spaces and how
    Unicode writes a letter make no difference."""

    tags: _Tags = []
    any_tags: _Tags = []
    vendor: ShortText | _Names | None = None
    category: ShortText | _Names | None = None


class SearchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`exclude`: ids of items to leave out. `offset`: where a page begins, the number of results before it.

    With a `user_id` the closest 100 (or four times `top_k`) are ordered again by (1 − personalization) · text +
    personalization · user, each from 0 for the least of them to 1 for the best; results then have that score."""

    text: LongText
    filters: Filters = Filters()
    top_k: TopK = 10
    offset: Offset = 0
    exclude: Annotated[list[Id], Meta(max_length=MAX_EXCLUDED)] = []
    user_id: Id | None = None
    personalization: Annotated[float, Meta(ge=0, le=1)] = 0.3


class SimilarQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`tag` (an item has all of them), `any_tag`, `vendor`, `category` (one of them) and `exclude_id` can be given
    several times; filters and `offset` are as in /search."""

    top_k: TopK = 10
    offset: Offset = 0
    tag: _Tags = []
    any_tag: _Tags = []
    vendor: _Names = []
    category: _Names = []
    exclude_id: Annotated[list[Id], Meta(max_length=MAX_EXCLUDED)] = []


class RecommendationsQuery(SimilarQuery, frozen=True, forbid_unknown_fields=True):
    """Parameters as of similar items, and: `model` is auto, hybrid or simple, as in /rank.
    `exclude` leaves out what the user saved, shared, skipped or viewed with their last 4,096 interactions: some of
    these words between commas, or nothing. What is not left out is weighed by the hybrid model. `exclude_seen` is
    deprecated: all four, or nothing. `diversity`, from 0 to 1, trades relevance for variety. `at` is as in /rank."""

    model: Model = "auto"
    exclude: Annotated[str, Meta(max_length=64)] = "saved,shared,skipped"
    exclude_seen: bool | None = None
    diversity: Annotated[float, Meta(ge=0, le=1)] = 0.0
    at: At = None


class Result(msgspec.Struct, frozen=True):
    """`score`: the one that /rank gives."""

    id: str
    score: float


class ResultPage(msgspec.Struct, frozen=True):
    """`results`, best first; `matched` counts the items that passed the filters, those of other pages included."""

    results: list[Result]
    matched: int
    model_version: str


class SearchResults(ResultPage, frozen=True):
    """As other results; `tokens` counts the whole text, `unknown_tokens` those for words that the model cannot tell
    apart, and `truncated` says that it did not read all of it."""

    tokens: int
    unknown_tokens: int
    truncated: bool


class Recommendations(ResultPage, frozen=True, omit_defaults=True):
    """As other results; `source` says what the user's vector is made of: history, preferences or popular. `ranking_id`,
    `experiment` and `arm` are as in /rank."""

    source: Annotated[str, one_of("history", "preferences", "popular")]
    ranking_id: str | None = None
    experiment: str | None = None
    arm: str | None = None


async def post_search(state: State, request: Request, body: SearchRequest) -> SearchResults:
    """Exact: the text is embedded and compared with every item that passes the filters."""
    text = visible(body.text)
    if not text:
        raise invalid("of the text nothing can be seen", "$.text")
    if body.user_id is not None:
        check_id(body.user_id, "$.user_id")
        if body.offset:
            raise invalid("a page for a user is ordered as a whole: leave offset out and raise top_k", "$.offset")
    filters = body.filters
    among = _among(
        filters.tags, filters.any_tags, _several(filters.vendor), _several(filters.category), body.exclude, body.offset
    )
    found, read = await search_text(
        state, text, body.top_k, among=among, disconnected=request.is_disconnected, user_id=body.user_id,
        personalization=body.personalization,
    )  # fmt: skip
    version = state.embedder.encoder.model_version
    return SearchResults(_results(found), found.matched, version, read.tokens, read.unknown, read.truncated)


async def get_similar(state: State, request: Request, query: SimilarQuery) -> ResultPage:
    """The items closest to a stored one, itself left out. An id that itself ends in "/similar" is read from
    /content/{id} with that slash as %2F."""
    id = path_id(request)
    found = await similar_items(state, id, query.top_k, among=_of_query(query))
    if found is None:
        raise not_found("content", id)
    return ResultPage(_results(found), found.matched, state.embedder.encoder.model_version)


async def get_recommendations(state: State, request: Request, query: RecommendationsQuery) -> Recommendations:
    """Exact: every item that passes is scored. With `diversity` the results are chosen one by
    one from the best 100 (or four times `top_k`), each by (1 − diversity) · score − diversity · its closest cosine to
    those before it (maximal marginal relevance)."""
    if query.offset and query.diversity:
        raise invalid("with diversity each page is chosen as a whole: leave offset out and raise top_k", "offset")
    if query.at is not None and query.model == "simple":
        raise invalid("only the hybrid model can rank as of another time", "at")
    (found, source, version), shown = await recommend_shown(
        state,
        path_id(request),
        query.top_k,
        among=_of_query(query),
        model=query.model,
        exclude=_excluded(query),
        diversity=query.diversity,
        at_us=as_of(state, query.at, "at"),
    )
    within = {} if shown is None else shown._asdict()
    return Recommendations(_results(found), found.matched, version, source, **within)


def _excluded(query: RecommendationsQuery) -> frozenset[InteractionType]:
    if query.exclude_seen is not None:
        return frozenset(_DONE.values()) if query.exclude_seen else frozenset()
    words = [word.strip() for word in query.exclude.split(",") if word.strip()]
    if unknown := [word for word in words if word not in _DONE]:
        raise invalid(f"{unknown[0]!r} is not one of {', '.join(_DONE)}", "exclude")
    return frozenset(_DONE[word] for word in words)


def _of_query(query: SimilarQuery) -> Among:
    return _among(query.tag, query.any_tag, query.vendor, query.category, query.exclude_id, query.offset)


def _among(
    tags: list[str], any_tags: list[str], vendors: list[str], categories: list[str], excluded: list[str], offset: int
) -> Among:
    groups = [
        labels(tags=any_tags),
        frozenset().union(*(labels(vendor=one) for one in vendors)),
        frozenset().union(*(labels(category=one) for one in categories)),
    ]
    return Among(labels(tags=tags), list(filter(None, groups)), excluded, offset)


def _several(given: str | list[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else given or []


def _results(found: Found) -> list[Result]:
    return [Result(hit.id, hit.score) for hit in found.hits]


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "POST", "/search", post_search, "Search content by text",
        request=SearchRequest, response=SearchResults, access="read", errors=(400, 413, 415, 422, 503),
        example={"text": "somewhere to dance under the stars", "filters": {"category": "venue"}, "top_k": 3},
    ),
    Endpoint(
        "GET", "/content/{id:path}/similar", get_similar, "Items similar to a stored one",
        query=SimilarQuery, response=ResultPage, errors=(400, 404, 422, 503),
        example={"top_k": 3, "category": ["venue"]},
    ),
    Endpoint(
        "GET", "/user/{id:path}/recommendations", get_recommendations, "Recommend items to a user",
        query=RecommendationsQuery, response=Recommendations, errors=(400, 404, 422, 503),
        example={"top_k": 3, "tag": ["rustic"], "diversity": 0.3},
    ),
]  # fmt: skip
