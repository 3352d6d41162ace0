"""Clusters of a catalogue of many items: made when there are many, and again as they change."""

import asyncio
import logging
import time
from collections.abc import Iterator

from runtime.catalog.catalog import Catalog

log = logging.getLogger("vows")

LOOK_EVERY_S = 5.0
_AGAIN_AFTER_S = 600.0  # after a failure, as of a disk that is full
_PAUSES = 3.0  # while requests are served, so many times as long as the work: some 15 seconds for a million items


async def keep_clusters(catalog: Catalog) -> None:
    """Until cancelled: make clusters where they are due, in a quarter of the time; first find the items of common
    labels."""
    await _run(catalog.keep_common_labels(), _PAUSES)
    wait_s = LOOK_EVERY_S
    while True:
        await asyncio.sleep(wait_s)
        try:
            await make_clusters(catalog, _PAUSES)
            wait_s = LOOK_EVERY_S
        except OSError as error:
            log.warning("clusters of the catalogue are not made, searches take longer than they could: %s", error)
            wait_s = _AGAIN_AFTER_S


async def make_clusters(catalog: Catalog, pauses: float = 0.0) -> None:
    """Make clusters where they are due. pauses: after each step, by the time that it took. Raises OSError."""
    if catalog.clusters_due:
        await _run(catalog.plan_clusters(), pauses)
        await asyncio.to_thread(catalog.save_clusters)
        await _run(catalog.use_clusters(), pauses)


async def _run(steps: Iterator[None], pauses: float) -> None:
    started = time.perf_counter()
    for _ in steps:
        await asyncio.sleep(pauses * (time.perf_counter() - started))
        started = time.perf_counter()
