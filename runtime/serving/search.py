"""Items of the whole catalogue: by words, by an item."""

from collections.abc import Collection
from typing import NamedTuple

from runtime.models.embedder import EmbeddedText, Gone
from runtime.serving.catalog_search import Found
from runtime.serving.content import NotEmbedded
from runtime.serving.resources import Resources


class TextSearch(NamedTuple):
    """`found`, and the `text` that was searched for, as the model read it."""

    found: Found
    text: EmbeddedText


async def search_text(
    resources: Resources, text: str, k: int, *, labels: Collection[str], disconnected: Gone
) -> TextSearch:
    """The k items closest to a text that carry all labels.

    Raises QueueFull, DeadlineExceeded, ClientGone or ModelFailed.
    """
    embedded = await resources.embedder.embed(text, disconnected)
    return TextSearch(await resources.search.best(embedded.vector, k, labels=labels), embedded)


async def similar_items(resources: Resources, id: str, k: int, *, labels: Collection[str]) -> Found | None:
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
    return await resources.search.best(vector, k, labels=labels, excluded=[id])
