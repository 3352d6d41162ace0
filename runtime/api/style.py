"""How a user's taste moved, and what it is near to."""

import time
from datetime import datetime
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from starlette.requests import Request

from runtime.api.content import utc
from runtime.http.endpoint import Endpoint
from runtime.http.ids import path_id
from runtime.serving.taste_drift import Neighbourhood, around, neighbourhood, weeks_of
from runtime.serving.user_vectors import SIMPLE
from runtime.state import State

Vector = NDArray[np.float32] | None


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
    store, now_us = state.store, time.time_ns() // 1_000
    decay = state.settings.decay_per_day
    async with state.history_turn:
        weeks, skipped = await weeks_of(store, user_id, now_us=now_us, weeks=query.weeks, decay_per_day=decay)
    vectors = weeks.vectors()
    first = next((n for n, vector in enumerate(vectors) if vector is not None), len(vectors) - 1)
    then, now = vectors[first], vectors[-1]
    return Style(
        user_id=user_id,
        drift=_cosine(then, now),
        weeks=[
            Week(utc(weeks.ends_us[n]), weeks.interactions[n], _cosine(vectors[n - 1] if n else None, vector),
                 _cosine(vector, now))
            for n, vector in enumerate(vectors)
        ],
        then=await _taste(state, then, weeks.ends_us[first], query.top_k),
        now=await _taste(state, now, now_us, query.top_k),
        model_version=SIMPLE,
        dislikes=(
            Dislikes(skipped.skips, *_named(await neighbourhood(store, dict.fromkeys(skipped.ids, 1.0), query.top_k)))
            if query.dislikes
            else None
        ),
    )  # fmt: skip


async def _taste(state: State, vector: Vector, at_us: int, k: int) -> Taste | None:
    if vector is None:
        return None
    return Taste(utc(at_us), *_named(await around(state.store, state.search, vector, k)))


def _named(found: Neighbourhood) -> tuple[list[Named], list[Named]]:
    return [Named(*one) for one in found.tags], [Named(*one) for one in found.vendors]


def _cosine(one: Vector, other: Vector) -> float | None:
    return None if one is None or other is None else float(np.clip(np.vdot(one, other), -1, 1))


ENDPOINTS: list[Endpoint[State]] = [
    Endpoint(
        "GET", "/user/{id:path}/style", get_style, "How a user's preferences changed",
        query=StyleQuery, response=Style, errors=(400, 422, 503), example={"weeks": 8, "dislikes": True},
    ),
]  # fmt: skip
