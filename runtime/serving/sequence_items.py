"""The sequence model's vectors of items: those that are kept, and the others computed as they are needed."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.catalog import Catalog
from runtime.catalog.item_vectors import ItemVectors, Kept, rounded
from runtime.models.scheduler import QueueFull
from runtime.models.sequence_model import SequenceModel
from runtime.models.worker_pool import DeadlineExceeded
from runtime.personalization.ranking import cosine_scores
from runtime.serving.candidates import Candidates
from runtime.serving.known_items import KnownItems
from runtime.serving.sequence_thread import SequenceThread

ITEMS_AT_ONCE = 256  # about two milliseconds, so that a request never waits long behind a refill

Vector = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Served:
    """A model, its item vectors, and which items of the catalogue it was trained on."""

    model: SequenceModel
    items: ItemVectors
    known: KnownItems


async def scores(
    thread: SequenceThread, catalog: Catalog, served: Served, user: Vector, candidates: Candidates
) -> Vector:
    """Cosine of a user's vector [128] and each known candidate's, float32 [k]: at once where all are kept, and else
    when it is the request's turn. Raises QueueFull or DeadlineExceeded."""
    kept = served.items.read(candidates.rows, candidates.versions)
    found = cosine_scores(user, kept.vectors)
    missing = np.flatnonzero(kept.missing)
    del kept  # not held while others have their turn
    if len(missing):
        async with thread.turn():
            for start in range(0, len(missing), ITEMS_AT_ONCE):
                some = missing[start : start + ITEMS_AT_ONCE]
                lacking = candidates.at(some, catalog)
                computed = await thread.run(compute, served.model, lacking.ids, await lacking.metadata(catalog))
                _put(served, lacking, computed)
                found[some] = 0  # of one that was deleted meanwhile
                found[some[lacking.known]] = cosine_scores(user, computed)
    return found


async def completed(
    thread: SequenceThread, served: Served, candidates: Candidates, kept: Kept, metadata: Vector
) -> Vector:
    """What is kept of stored candidates, and the missing ones computed from their metadata [missing, 384]; from then on
    kept too. Raises QueueFull or DeadlineExceeded."""
    found, missing = kept
    if missing.any():
        ids = [id for id, is_missing in zip(candidates.ids, missing.tolist(), strict=True) if is_missing]
        found[missing] = await thread.run(compute, served.model, ids, metadata)
        served.items.put(candidates.rows[missing], candidates.versions[missing], found[missing])
    return found


async def fill(thread: SequenceThread, catalog: Catalog, served: Served, ids: Sequence[str]) -> None:
    """Compute the vectors that these items lack. What cannot be computed now is computed when it is ranked."""
    with contextlib.suppress(DeadlineExceeded, QueueFull):
        for start in range(0, len(ids), ITEMS_AT_ONCE):
            found = catalog.lookup(ids[start : start + ITEMS_AT_ONCE])
            versions = catalog.versions(found.rows)
            missing = served.items.missing(found.rows, versions)
            if not missing.any():
                continue
            some = [id for id, is_missing in zip(found.ids, missing.tolist(), strict=True) if is_missing]
            rows, versions = found.rows[missing], versions[missing]
            metadata = await catalog.gather(rows)
            served.items.put(rows, versions, await thread.run(compute, served.model, some, metadata))


def count(catalog: Catalog, served: Served) -> int:
    """Items of the catalogue that have their vector."""
    rows, versions = served.items.kept()
    return int(np.count_nonzero(catalog.has(rows) & (catalog.versions(rows) == versions)))


def lacking(catalog: Catalog, served: Served) -> int:
    """Items of the catalogue that have no vector; all of them where there is no room for each."""
    if served.items.capacity < catalog.rows:
        return len(catalog)
    rows = np.arange(catalog.rows)
    return int(np.count_nonzero(served.items.missing(rows, catalog.versions(rows)) & catalog.has(rows)))


def _put(served: Served, candidates: Candidates, vectors: Vector) -> None:
    """Keep those that belong to a row of the catalogue."""
    stored = candidates.rows >= 0
    served.items.put(candidates.rows[stored], candidates.versions[stored], vectors[stored])


def compute(model: SequenceModel, ids: Sequence[str], metadata: Vector) -> Vector:
    """The vectors of items with these ids and content vectors, as they are kept: float32 [k, 128]."""
    return rounded(model.items(model.learned(ids, metadata)))
