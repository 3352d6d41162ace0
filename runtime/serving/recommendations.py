"""Items of the whole catalogue for a user."""

from collections.abc import Collection
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.personalization.actions import InteractionType
from runtime.serving.catalog_search import Among, Found
from runtime.serving.histories import pages, reading
from runtime.serving.hybrid import HybridScorer, ItemVectorsLacking
from runtime.serving.hybrid_user import user_to_rank_for
from runtime.serving.resources import Resources
from runtime.serving.user_vectors import SIMPLE, user_vector

Model = Literal["auto", "hybrid", "simple"]

Vector = NDArray[np.float32]

# The interactions that can leave an item out, newest first.
SEEN_INTERACTIONS = 4_096


class Recommended(NamedTuple):
    """`source`: what is known of the user: history, preferences, or popular for nothing."""

    found: Found
    source: str
    model_version: str


async def recommend(
    resources: Resources,
    user_id: str,
    k: int,
    *,
    among: Among = Among(),  # noqa: B008 (immutable)
    model: Model = "auto",
    exclude: Collection[InteractionType] = (),
    diversity: float = 0.0,
    at_us: int | None = None,
) -> Recommended:
    """The k best items for a user, by the hybrid ranker (auto), or closest to the user's vector
    (simple). What the user did one of `exclude` with is left out; with `diversity` the items are chosen by maximal
    marginal relevance. at_us: by the hybrid ranker as of then. Raises NoContent or StoreError."""
    query: HybridScorer | Vector
    if model == "simple":
        user = await user_vector(resources, user_id)
        query, source, version = user.embedding, str(user.source), SIMPLE
    else:
        hybrid = await user_to_rank_for(resources, user_id, at_us, whole_catalogue=True)
        query, source, version = HybridScorer(resources, hybrid), str(hybrid.source), hybrid.ranker.version
    state = await resources.store.get_user(user_id) if exclude else None
    async with reading(resources, state):
        done = await _excluded(resources, user_id, exclude, at_us) if exclude else []
        among = among._replace(excluded=[*among.excluded, *done])
        try:
            found = await resources.search.best(query, k, **among._asdict(), diversity=diversity)
        except ItemVectorsLacking:
            hybrid = hybrid.by_first_set(resources.ranker.served.ranker)
            query, version = HybridScorer(resources, hybrid), hybrid.ranker.version
            found = await resources.search.best(query, k, **among._asdict(), diversity=diversity)
    return Recommended(found, source, version)


async def _excluded(
    resources: Resources, user_id: str, exclude: Collection[InteractionType], at_us: int | None
) -> list[str]:
    ids: dict[str, None] = {}
    async for page in pages(resources.store.seen, user_id, most=SEEN_INTERACTIONS, at_us=at_us):
        ids.update(dict.fromkeys(one.content_id for one in page if one.type in exclude))
    return list(ids)
