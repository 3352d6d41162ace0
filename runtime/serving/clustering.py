"""Clusters of a catalogue of very many items: made when there are many, and again as they change."""

import asyncio
import time

from runtime.catalog.catalog import Catalog

LOOK_EVERY_S = 5.0
_PAUSES = 3.0  # while requests are served, so many times as long as the work: two to three seconds for a million items


async def keep_clusters(catalog: Catalog) -> None:
    """Until cancelled: make clusters where they are due, in a quarter of the time."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        await make_clusters(catalog, _PAUSES)


async def make_clusters(catalog: Catalog, pauses: float = 0.0) -> None:
    """Make clusters where they are due. pauses: after each step, by the time that it took."""
    if catalog.clusters_due:
        started = time.perf_counter()
        for _ in catalog.make_clusters():
            await asyncio.sleep(pauses * (time.perf_counter() - started))
            started = time.perf_counter()
