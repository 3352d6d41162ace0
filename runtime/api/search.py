"""Discovery over the whole catalogue: by words, by an item, by a user's taste."""

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request

from runtime.api.at import At, as_of
from runtime.catalog.item_fields import LongText, ShortText, Tag, labels
from runtime.http.endpoint import Endpoint
from runtime.http.errors import invalid, not_found
from runtime.http.ids import Id, check_id, path_id
from runtime.personalization.actions import InteractionType
from runtime.serving.catalog_search import Found
from runtime.serving.recommendations import Model
from runtime.serving.search import search_text, similar_items
from runtime.serving.shown_rankings import recommend_shown
from runtime.state import State
from runtime.system.text import visible

MAX_RESULTS = 100
_MAX_TAGS = 16

TopK = Annotated[int, Meta(ge=1, le=MAX_RESULTS)]


_DONE: dict[str, InteractionType] = {"saved": "save", "shared": "share", "skipped": "skip", "viewed": "view"}


class Filters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An item passes that has every one of `tags`, is by `vendor` (its `vendor_name`) and of `category`, compared as a
    whole; case, spaces and how Unicode writes a letter make no difference."""

    tags: Annotated[list[Tag], Meta(max_length=_MAX_TAGS)] = []
    vendor: ShortText | None = None
    category: ShortText | None = None


class SearchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """With a `user_id` the closest 100 (or four times `top_k`) are ordered again by (1 − personalization) · text +
    personalization · user, each from 0 for the least of them to 1 for the best; results then have that score."""

    text: LongText
    filters: Filters = Filters()
    top_k: TopK = 10
    user_id: Id | None = None
    personalization: Annotated[float, Meta(ge=0, le=1)] = 0.3


class SimilarQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`tag` can be given several times; filters are as in /search."""

    top_k: TopK = 10
    tag: Annotated[list[Tag], Meta(max_length=_MAX_TAGS)] = []
    vendor: ShortText | None = None
    category: ShortText | None = None


class RecommendationsQuery(SimilarQuery, frozen=True, forbid_unknown_fields=True):
    """`tag` can be given several times; filters are as in /search. `model` is auto, hybrid or simple, as in /rank.
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


class Results(msgspec.Struct, frozen=True):
    """`results`, best first; `matched` counts the items that passed the filters."""

    results: list[Result]
    matched: int
    model_version: str


class SearchResults(Results, frozen=True):
    """As other results; `tokens` counts the whole text, `unknown_tokens` those for words that the model cannot tell
    apart, and `truncated` says that it did not read all of it."""

    tokens: int
    unknown_tokens: int
    truncated: bool


class Recommendations(Results, frozen=True, omit_defaults=True):
    """As other results; `source` says what the user's vector is made of: history, preferences or popular. `ranking_id`,
    `experiment` and `arm` are as in /rank."""

    source: str
    ranking_id: str | None = None
    experiment: str | None = None
    arm: str | None = None


async def post_search(state: State, request: Request, body: SearchRequest) -> SearchResults:
    """Exact: the text is embedded and compared with every item that passes the filters."""
    text = visible(body.text)
    if not text:
        raise invalid("of the text nothing can be seen", "$.text")
    wanted = labels(tags=body.filters.tags, vendor=body.filters.vendor, category=body.filters.category)
    if body.user_id is not None:
        check_id(body.user_id, "$.user_id")
    found, read = await search_text(
        state, text, body.top_k, labels=wanted, disconnected=request.is_disconnected, user_id=body.user_id,
        personalization=body.personalization,
    )  # fmt: skip
    version = state.embedder.encoder.model_version
    return SearchResults(_results(found), found.matched, version, read.tokens, read.unknown, read.truncated)


async def get_similar(state: State, request: Request, query: SimilarQuery) -> Results:
    """The items closest to a stored one, itself left out. An id that itself ends in "/similar" is read from
    /content/{id} with that slash as %2F."""
    id = path_id(request)
    found = await similar_items(state, id, query.top_k, labels=_labels(query))
    if found is None:
        raise not_found("content", id)
    return Results(_results(found), found.matched, state.embedder.encoder.model_version)


async def get_recommendations(state: State, request: Request, query: RecommendationsQuery) -> Recommendations:
    """Exact: every item that passes is scored. With `diversity` the results are chosen one by
    one from the best 100 (or four times `top_k`), each by (1 − diversity) · score − diversity · its closest cosine to
    those before it (maximal marginal relevance)."""
    if query.at is not None and query.model == "simple":
        raise invalid("only the hybrid model can rank as of another time", "at")
    (found, source, version), shown = await recommend_shown(
        state,
        path_id(request),
        query.top_k,
        labels=_labels(query),
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
        raise invalid(f"{unknown[0]!r} cannot be excluded; there are {', '.join(_DONE)}", "exclude")
    return frozenset(_DONE[word] for word in words)


def _labels(query: SimilarQuery) -> frozenset[str]:
    return labels(tags=query.tag, vendor=query.vendor, category=query.category)


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
        query=SimilarQuery, response=Results, errors=(400, 404, 422, 503), example={"top_k": 3, "category": "venue"},
    ),
    Endpoint(
        "GET", "/user/{id:path}/recommendations", get_recommendations, "Recommend items to a user",
        query=RecommendationsQuery, response=Recommendations, errors=(400, 404, 422, 503),
        example={"top_k": 3, "tag": ["rustic"], "diversity": 0.3},
    ),
]  # fmt: skip
