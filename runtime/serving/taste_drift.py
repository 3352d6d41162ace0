"""A user's taste then and now: the history read in steps, and the items around the vectors it had."""

import asyncio
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.item_fields import tags_and_vendor
from runtime.personalization.drift import Named, Weeks, prevalent
from runtime.serving.search import Search
from runtime.store import Store

# The interactions that are looked at, newest first, and how many are read before other requests get their turn.
HISTORY_INTERACTIONS = 20_480
_STEP_INTERACTIONS = 256

# The items around a vector, and the last that were skipped, from which tags and vendors are taken.
_NEAREST = 50


class Skipped(NamedTuple):
    """The last items that were skipped, newest first, each once; `skips` counts all."""

    skips: int
    ids: list[str]


class Neighbourhood(NamedTuple):
    tags: list[Named]
    vendors: list[Named]


async def weeks_of(
    store: Store, user_id: str, *, now_us: int, weeks: int, decay_per_day: float
) -> tuple[Weeks, Skipped]:
    """The user's history by weeks, and what they skipped. Skips move no vector."""
    found = Weeks(now_us, weeks, decay_per_day=decay_per_day)
    skips, skipped = 0, dict[str, None]()
    before, read = None, 0
    while read < HISTORY_INTERACTIONS:
        page = await store.history(user_id, before=before, limit=_STEP_INTERACTIONS)
        if page:
            embeddings = np.stack([past.embedding for past in page])
            found.add([past.type for past in page], [past.time_us for past in page], embeddings)
        for past in page:
            if past.type == "skip":
                skips += 1
                if not past.hidden and len(skipped) < _NEAREST:
                    skipped[past.content_id] = None
        if len(page) < _STEP_INTERACTIONS:
            break
        before, read = page[-1].sequence, read + len(page)
        await asyncio.sleep(0)
    return found, Skipped(skips, list(skipped))


async def around(store: Store, search: Search, vector: NDArray[np.float32], k: int) -> Neighbourhood:
    """The k tags and vendors most found on the items nearest to a unit vector [d], each item by its closeness."""
    hits = (await search.best(vector, _NEAREST)).hits
    return await neighbourhood(store, {hit.id: max(hit.score, 0.0) for hit in hits}, k)


async def neighbourhood(store: Store, weights: dict[str, float], k: int) -> Neighbourhood:
    """The k tags and vendors with most weight on the items `weights` (by id). Items that are gone count for nothing."""
    named = [(tags_and_vendor(item.fields), weights[item.id]) for item in await store.get_contents(list(weights))]
    return Neighbourhood(
        prevalent([(tags, weight) for (tags, _), weight in named], k),
        prevalent([((vendor,) if vendor else (), weight) for (_, vendor), weight in named], k),
    )
