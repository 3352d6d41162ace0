"""A user's taste then and now: the history read in pages, and the items around the vectors it had."""

import logging
import time
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.catalog.item_fields import tags_and_vendor
from runtime.personalization.drift import Named, Weeks, prevalent
from runtime.serving.histories import pages, reading
from runtime.serving.resources import Resources
from runtime.system.text import folded

log = logging.getLogger("vows")

# The interactions that are looked at, newest first.
HISTORY_INTERACTIONS = 20_480

# The items around a vector, and the last that were skipped, from which tags and vendors are taken.
_NEAREST = 50

Vector = NDArray[np.float32]


class Neighbourhood(NamedTuple):
    """Tags and vendors of some items, the most prevalent first."""

    tags: list[Named]
    vendors: list[Named]


class Taste(NamedTuple):
    """What the items nearest to the user's vector at a time are called, by today's catalogue."""

    at_us: int
    named: Neighbourhood


class Week(NamedTuple):
    """The vector at the end of a week: its cosine to the one a week before and to the one now, None where there was
    none. `interactions` are the week's; the first counts all that came before its end."""

    ends_us: int
    interactions: int
    to_previous: float | None
    to_now: float | None


class Dislikes(NamedTuple):
    """What the last items that were skipped are called; `skips` counts all."""

    skips: int
    named: Neighbourhood


class Drift(NamedTuple):
    """`drift`: the cosine of the first vector of these weeks, `then`, with `now`: 1 where the taste has not moved."""

    drift: float | None
    weeks: list[Week]
    then: Taste | None
    now: Taste | None
    dislikes: Dislikes | None


async def taste_drift(resources: Resources, user_id: str, *, weeks: int, k: int, dislikes: bool) -> Drift:
    """The user's vector week by week over the last `weeks`, and the k tags and vendors that it was near to.

    Raises StoreError.
    """
    now_us = time.time_ns() // 1_000
    user = await resources.store.get_user(user_id)
    async with reading(resources, user):
        found, skipped = await _weeks_of(resources, user_id, now_us=now_us, weeks=weeks)
    vectors = found.vectors()
    first = next((n for n, vector in enumerate(vectors) if vector is not None), len(vectors) - 1)
    then, now = vectors[first], vectors[-1]
    return Drift(
        drift=_cosine(then, now),
        weeks=[
            Week(
                found.ends_us[n],
                found.interactions[n],
                _cosine(vectors[n - 1] if n else None, vector),
                _cosine(vector, now),
            )
            for n, vector in enumerate(vectors)
        ],
        then=await _taste(resources, then, found.ends_us[first], k),
        now=await _taste(resources, now, now_us, k),
        dislikes=(
            Dislikes(skipped.skips, await _neighbourhood(resources, dict.fromkeys(skipped.ids, 1.0), k))
            if dislikes
            else None
        ),
    )


class _Skipped(NamedTuple):
    """The last items that were skipped, newest first, each once; `skips` counts all."""

    skips: int
    ids: list[str]


async def _weeks_of(resources: Resources, user_id: str, *, now_us: int, weeks: int) -> tuple[Weeks, _Skipped]:
    """The user's history by weeks, and what they skipped. Skips move no vector."""
    found = Weeks(now_us, weeks, decay_per_day=resources.settings.decay_per_day)
    skips, skipped = 0, dict[str, None]()
    async for page in pages(resources.store.history, user_id, most=HISTORY_INTERACTIONS):
        embeddings = np.stack([past.embedding for past in page])
        found.add(np.array([past.strength for past in page]), [past.time_us for past in page], embeddings)
        for past in page:
            if past.type == "skip":
                skips += 1
                if not past.hidden and len(skipped) < _NEAREST:
                    skipped[past.content_id] = None
    return found, _Skipped(skips, list(skipped))


async def _taste(resources: Resources, vector: Vector | None, at_us: int, k: int) -> Taste | None:
    """The k tags and vendors most found on the items nearest to a vector, each item by its closeness."""
    if vector is None:
        return None
    hits = (await resources.search.best(vector, _NEAREST)).hits
    return Taste(at_us, await _neighbourhood(resources, {hit.id: max(hit.score, 0.0) for hit in hits}, k))


async def _neighbourhood(resources: Resources, weights: dict[str, float], k: int) -> Neighbourhood:
    """The k tags and vendors with most weight on the items `weights` (by id). Deleted items count for nothing."""
    named = []
    for id, weight in weights.items():  # one at a time: the fields of 50 can have 12 MB
        if (item := await resources.store.get_content(id)) is None:
            continue
        try:
            named.append((tags_and_vendor(item.fields), weight))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            log.error("%r counts for nothing in a taste, its fields cannot be read: %s", id, error)
    return Neighbourhood(
        prevalent([(tags, weight) for (tags, _), weight in named], k, key=folded),
        prevalent([((vendor,) if vendor else (), weight) for (_, vendor), weight in named], k, key=folded),
    )


def _cosine(one: Vector | None, other: Vector | None) -> float | None:
    return None if one is None or other is None else float(np.clip(np.vdot(one, other), -1, 1))
