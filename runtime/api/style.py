"""How a user's taste moved, and what it is near to."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request

from runtime.api.content import utc
from runtime.http.endpoint import Endpoint
from runtime.http.ids import path_id
from runtime.serving.taste_drift import Neighbourhood, taste_drift
from runtime.serving.taste_drift import Taste as TasteAt
from runtime.serving.user_vectors import SIMPLE
from runtime.state import State


class StyleQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`weeks` to look back over; `top_k` tags and vendors; `dislikes` adds those of what was skipped."""

    weeks: Annotated[int, Meta(ge=2, le=104)] = 12
    top_k: Annotated[int, Meta(ge=1, le=20)] = 5
    dislikes: bool = False


class Named(msgspec.Struct, frozen=True):
    """`items` of the nearest ones carry the name; `share` is their part of the similarity of all."""

    name: str
    items: int
    share: float


class Taste(msgspec.Struct, frozen=True):
    """Tags and vendors of the 50 items nearest to the vector at that time, by today's catalogue, the most prevalent
    first."""

    at: datetime
    tags: list[Named]
    vendors: list[Named]


class Dislikes(msgspec.Struct, frozen=True):
    """Tags and vendors of the last 50 items that were skipped; `skips` counts them all."""

    skips: int
    tags: list[Named]
    vendors: list[Named]


class Week(msgspec.Struct, frozen=True):
    """The vector at the end of a week: its cosine to the one a week before and to the one now, null where there was
    none. `interactions` are the week's; the first counts all that came before its end."""

    ends_at: datetime
    interactions: int
    to_previous: float | None
    to_now: float | None


class Style(msgspec.Struct, frozen=True, omit_defaults=True):
    """`drift`: the cosine of the first vector of these weeks, `then`, with `now`: 1 if the vector has not changed."""

    user_id: str
    drift: float | None
    weeks: list[Week]
    then: Taste | None
    now: Taste | None
    model_version: str
    dislikes: Dislikes | None = None


async def get_style(state: State, request: Request, query: StyleQuery) -> Style:
    """The user's vector week by week, from their last 20,480 interactions. Empty without a history."""
    user_id = path_id(request)
    found = await taste_drift(state, user_id, weeks=query.weeks, k=query.top_k, dislikes=query.dislikes)
    disliked = found.dislikes
    return Style(
        user_id=user_id,
        drift=found.drift,
        weeks=[Week(utc(week.ends_us), week.interactions, week.to_previous, week.to_now) for week in found.weeks],
        then=_taste(found.then),
        now=_taste(found.now),
        model_version=SIMPLE,
        dislikes=None if disliked is None else Dislikes(disliked.skips, *_named(disliked.named)),
    )


def _taste(taste: TasteAt | None) -> Taste | None:
    return None if taste is None else Taste(utc(taste.at_us), *_named(taste.named))


def _named(found: Neighbourhood) -> tuple[list[Named], list[Named]]:
    return [Named(*one) for one in found.tags], [Named(*one) for one in found.vendors]


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "GET", "/user/{id:path}/style", get_style, "How a user's preferences changed",
        query=StyleQuery, response=Style, errors=(400, 422, 503), example={"weeks": 8, "dislikes": True},
    ),
]  # fmt: skip
