"""Items of the whole catalogue for a user."""

from collections.abc import Collection
from typing import NamedTuple

from runtime.serving.catalog_search import Found
from runtime.serving.histories import pages
from runtime.serving.resources import Resources
from runtime.serving.user_vectors import Source, user_vector

# The interactions that count as seen, newest first.
SEEN_INTERACTIONS = 4_096


class Recommended(NamedTuple):
    """`source`: what the user's vector is made of."""

    found: Found
    source: Source


async def recommend(
    resources: Resources,
    user_id: str,
    k: int,
    *,
    labels: Collection[str] = (),
    exclude_seen: bool = True,
    diversity: float = 0.0,
) -> Recommended:
    """The k items closest to the user's vector that carry all labels, without what they saw; with `diversity` chosen by
    maximal marginal relevance. Raises NoContent or StoreError."""
    vector = await user_vector(resources, user_id)
    async with resources.history_turn:
        seen = await _seen(resources, user_id) if exclude_seen else []
        found = await resources.search.best(vector.embedding, k, labels=labels, excluded=seen, diversity=diversity)
    return Recommended(found, vector.source)


async def _seen(resources: Resources, user_id: str) -> list[str]:
    ids: dict[str, None] = {}
    async for page in pages(resources.store.seen, user_id, most=SEEN_INTERACTIONS):
        ids.update(dict.fromkeys(one.content_id for one in page))
    return list(ids)
