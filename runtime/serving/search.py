"""Items of the whole catalogue: by words, by an item."""

from typing import NamedTuple

import numpy as np

from runtime.models.disconnection import Disconnected
from runtime.models.embedder import EmbeddedText
from runtime.personalization.ranking import top_k
from runtime.serving.candidates import find
from runtime.serving.catalog_search import POOL_PER_RESULT, SMALLEST_POOL, Among, Found, Hit, from_0_to_1
from runtime.serving.content import NotEmbedded
from runtime.serving.hybrid import hybrid_features
from runtime.serving.hybrid_user import user_to_rank_for
from runtime.serving.resources import Resources


class TextSearch(NamedTuple):
    """`found`, and the `text` that was searched for, as the model read it."""

    found: Found
    text: EmbeddedText


async def search_text(
    resources: Resources,
    text: str,
    k: int,
    *,
    among: Among,
    disconnected: Disconnected,
    user_id: str | None = None,
    personalization: float = 0.0,
) -> TextSearch:
    """The k items closest to a text.

    With a user the closest 100 (or four times k) are ordered again: `personalization`, from 0 to 1, is the weight of
    the hybrid ranker's score against that of the text, each from 0 to 1 among them.
    Raises QueueFull, DeadlineExceeded, ClientDisconnected, ModelFailed or StoreError.
    """
    embedded = await resources.embedder.embed(text, disconnected)
    if user_id is None or not personalization:
        return TextSearch(await resources.search.best(embedded.vector, k, **among._asdict()), embedded)
    pool = max(SMALLEST_POOL, POOL_PER_RESULT * k)
    closest = await resources.search.best(embedded.vector, pool, **among._asdict())
    user = await user_to_rank_for(resources, user_id)
    known = find(resources.catalog, [hit.id for hit in closest.hits])  # without what was deleted meanwhile
    made = await hybrid_features(resources, user, known, with_vectors=False)
    by_user = from_0_to_1(made.ranker.scores(made.features))
    by_text = from_0_to_1(np.array([closest.hits[n].score for n in known.known.tolist()], np.float32))
    scores = (1 - personalization) * by_text + personalization * by_user
    hits = [Hit(known.ids[n], float(scores[n])) for n in top_k(scores, k).tolist()]
    return TextSearch(Found(hits, closest.matched), embedded)


async def similar_items(resources: Resources, id: str, k: int, *, among: Among) -> Found | None:
    """The k items closest to a stored one, without itself; None where that is not there.

    Raises NotEmbedded or StoreError.
    """
    item = resources.catalog.lookup([id])
    if item.unknown:
        stored = await resources.store.get_content(id)
        if stored is None or stored.hidden:
            return None
        raise NotEmbedded(f"{id!r} is about to be embedded by the new model; try again")
    (vector,) = await resources.catalog.gather(item.rows)
    return await resources.search.best(vector, k, **among._replace(excluded=[*among.excluded, id])._asdict())
