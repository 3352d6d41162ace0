"""The decayed counts beside the catalogue's vectors, in step with the store's, which are the durable ones."""

import asyncio
from collections.abc import Sequence

from runtime.catalog.catalog import Catalog
from runtime.personalization.popularity import Counts
from runtime.store import Interaction, Store

_IDS_AT_ONCE = 512


class Popularity:
    """Event-loop thread only. `newest_us`: the time of the newest event in the log; None where events were there before
    this process, or come to other machines, too."""

    def __init__(self, catalog: Catalog, store: Store, *, alone: bool = True) -> None:
        self.newest_us: int | None = None
        self._catalog = catalog
        self._store = store
        self._alone = alone
        self._turn = asyncio.Lock()  # so that what was read last is kept last

    async def load(self) -> None:
        """Read the counts of the whole catalogue."""
        if self._alone and not (await self._store.counts()).interactions:
            self.newest_us = -1
        async with self._turn:
            after: int | None = 0
            while after is not None:
                counts, after = await self._store.engaged_content(after=after)
                self._catalog.set_counts(list(counts), counts)

    async def refresh(self, ids: Sequence[str]) -> None:
        """Read the counts of those of `ids` that are in the catalogue."""
        async with self._turn:
            for start in range(0, len(ids), _IDS_AT_ONCE):
                if start:
                    await asyncio.sleep(0)
                some = ids[start : start + _IDS_AT_ONCE]
                self._catalog.set_counts(some, await self._store.item_counts(some))

    async def recorded(self, interactions: Sequence[Interaction], counts: dict[str, Counts]) -> None:
        """After events became durable; `counts` are those that the store gave with them."""
        if interactions and self.newest_us is not None:
            self.newest_us = max(self.newest_us, *(event.time_us for event in interactions))
        self._catalog.set_counts(list(counts), counts)
        engaged = dict.fromkeys(event.content_id for event in interactions if event.strength)
        if others := [id for id in engaged if id not in counts]:
            await self.refresh(others)

    async def refresh_all(self) -> None:
        """Read the counts of the whole catalogue again: seconds of work for a million items."""
        for ids in self._catalog.pages(_IDS_AT_ONCE):
            await self.refresh(ids)
            await asyncio.sleep(0)
