"""What other machines change in a database that several share: taken into this machine's memory."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from runtime.catalog.catalog import CatalogFull
from runtime.serving.resources import Resources
from runtime.serving.stored_catalog import readable_labels
from runtime.store import ChangeFeed, StoreClosed, StoreError

log = logging.getLogger("vows")

LOOK_EVERY_S = 0.5  # where no notification comes; half of what a change may take
EVENTS_EVERY_S = 1.0
_IDS_AT_ONCE = 512
_ITEMS_AT_ONCE = 16  # with fields of up to 250 KB each
_ALL_COUNTS_EVERY_S = 600.0  # events that were taken back leave no trace in the log
_LONGEST_WAIT_S = 5.0


async def follow(resources: Resources, feed: ChangeFeed) -> None:
    """Until cancelled: rank with what any machine stored, hid or deleted, with what users did anywhere, and with what
    was done to experiments.

    The store's position moves on only after a change is in memory, so what fails is done again.
    """
    await asyncio.gather(
        _repeatedly(lambda: _content(resources, feed), lambda: feed.wait(LOOK_EVERY_S)),
        _repeatedly(resources.experiments.refresh, lambda: feed.wait_for_experiments(LOOK_EVERY_S)),
        _repeatedly(lambda: _popularity(resources, feed), lambda: asyncio.sleep(EVENTS_EVERY_S)),
        _all_counts(resources),
    )


async def _repeatedly(look: Callable[[], Awaitable[None]], wait: Callable[[], Awaitable[None]]) -> None:
    failures = 0
    while True:
        try:
            await look()
            failures = 0
        except StoreClosed:
            return
        except StoreError as error:
            failures += 1
            if failures == 1:
                log.warning("what other machines change is not followed: %s", error)
            await asyncio.sleep(random.uniform(0.1, min(0.2 * 2 ** min(failures, 10), _LONGEST_WAIT_S)))
            continue
        except Exception:
            log.exception("this is a bug: following the other machines failed; it is tried again")
            await asyncio.sleep(_LONGEST_WAIT_S)
            continue
        await wait()


async def _content(resources: Resources, feed: ChangeFeed) -> None:
    changes = await feed.changes()
    if changes.complete:
        log.warning("the database is not the one that was followed: all of the catalogue is read again")
        held = set(changes.ids)
        for ids in resources.catalog.pages(_IDS_AT_ONCE):
            await _take_over(resources, feed, [id for id in ids if id not in held])
    await _take_over(resources, feed, changes.ids)
    feed.done(changes)


async def _take_over(resources: Resources, feed: ChangeFeed, ids: Sequence[str]) -> None:
    """Bring items in memory in line with what is stored now."""
    digest = resources.embedder.encoder.bundle.digest
    for start in range(0, len(ids), _ITEMS_AT_ONCE):
        some = ids[start : start + _ITEMS_AT_ONCE]
        async with resources.item_turns.of(some):
            stored = {item.id: item for item in await feed.contents(some)}
            for id in some:
                item = stored.get(id)
                if item is None or item.hidden or item.bundle_digest != digest:
                    resources.catalog.delete(id)
                    continue
                try:
                    resources.catalog.put(id, item.embedding, readable_labels(id, item.fields))
                except (CatalogFull, OSError) as error:
                    log.error("%r is stored and in no ranking: %s", id, error)
            await resources.popularity.refresh(some)
        await resources.sequence.fill(some)


async def _popularity(resources: Resources, feed: ChangeFeed) -> None:
    await resources.popularity.refresh(await feed.engaged())


async def _all_counts(resources: Resources) -> None:
    while True:
        await asyncio.sleep(random.uniform(0.5, 1.5) * _ALL_COUNTS_EVERY_S)
        try:
            await resources.popularity.refresh_all()
        except StoreError as error:
            log.warning("popularity is not read again: %s", error)
