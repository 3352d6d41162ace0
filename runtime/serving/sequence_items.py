"""The sequence model's vectors of items: those that are kept, and the others computed as they are needed."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.catalog.catalog import Catalog
from runtime.catalog.item_vectors import ItemVectors, Kept
from runtime.models.scheduler import QueueFull
from runtime.models.sequence_model import SequenceModel
from runtime.models.worker_pool import DeadlineExceeded
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


async def vectors(thread: SequenceThread, catalog: Catalog, served: Served, candidates: Candidates) -> Vector:
    """Unit float32 [k, 128] of the known candidates. Raises QueueFull."""
    kept = served.items.read(candidates.rows, candidates.versions)
    metadata = await candidates.metadata(catalog, kept.missing)
    return await completed(thread, served, candidates, kept, metadata)


async def completed(
    thread: SequenceThread, served: Served, candidates: Candidates, kept: Kept, metadata: Vector
) -> Vector:
    """What is kept, and the missing ones computed from their metadata [missing, 384]; from then on kept too, where they
    have a row. Raises QueueFull."""
    found, missing = kept
    if missing.any():
        ids = [id for id, is_missing in zip(candidates.ids, missing.tolist(), strict=True) if is_missing]
        found[missing] = await thread.run(_computed, served.model, ids, metadata)
        fresh = missing & (candidates.rows >= 0)
        served.items.put(candidates.rows[fresh], candidates.versions[fresh], found[fresh])
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
            served.items.put(rows, versions, await thread.run(_computed, served.model, some, metadata))


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


def _computed(model: SequenceModel, ids: Sequence[str], metadata: Vector) -> Vector:
    return model.items(model.learned(ids, metadata))
