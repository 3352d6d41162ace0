"""The files in which a catalogue on disk outlives the process: taken over at start, or made again, and kept in step."""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runtime.catalog.catalog import Catalog
from runtime.catalog.files import (
    FOLDER,
    LAYOUT,
    Files,
    FilesDamaged,
    new_folder,
    read_header,
    remove_folder,
    taken,
)
from runtime.catalog.saved_catalog import SavedCatalog
from runtime.models.worker_pool import DeadlineExceeded
from runtime.serving.clustering import make_clusters
from runtime.serving.stored_catalog import keep_room, load, put_items
from runtime.serving.turns import Turns
from runtime.settings import Settings
from runtime.store import CatalogLog, FilesMark, Store, StoreClosed, StoreError

log = logging.getLogger("vows")

MOST_REPAIRED = 50_000  # items: of more it is quicker to make the files again
LOOK_EVERY_S = 1.0
_SYNC_AFTER_S = 20.0
_SYNC_ANYWAY_AFTER_S = 3600.0  # a database that many machines share lists what changed for half a day
_READ_AT_ONCE = 16  # items with fields of up to 250 KB each
_SYNC_AFTER_CHANGES = 2_000  # so many items are put again by a start after a kill, in less than a second
_PAUSE_S = 5.0  # that a sync waits for everybody who changes items


class CatalogFiles:
    """Keeps a catalogue's files in step with the database. Event-loop thread only."""

    def __init__(self, catalog: SavedCatalog, log: CatalogLog, bundle: str, lock: int | None = None) -> None:
        """catalog: as the files have it. lock: of the folder, a descriptor."""
        self._catalog = catalog
        self._log = log
        self._bundle = bundle
        self._lock = lock
        self._synced_at, self._changes = time.monotonic(), catalog.changes

    async def keep(self, turns: Turns) -> None:
        """Until cancelled: sync the files where enough has changed, or some time ago."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            changed = self._catalog.changes - self._changes
            waited_s = time.monotonic() - self._synced_at
            if (
                changed >= _SYNC_AFTER_CHANGES or waited_s > _SYNC_ANYWAY_AFTER_S
                or (changed and waited_s > _SYNC_AFTER_S)
            ):  # fmt: skip
                await self.sync(turns)

    async def sync(self, turns: Turns | None = None) -> None:
        """Make everything that the database holds now durable in the files. turns: of those who change items; None
        where nobody does. What fails is logged, and tried again by `keep`."""
        try:
            async with turns.all(_PAUSE_S) if turns is not None else _nobody():
                mark = await self._log.mark()  # all of it has been put: nobody is between database and catalogue
                header = self._catalog.header(mark.identity, self._bundle, mark.change, mark.position)
                changes = self._catalog.changes
            await asyncio.to_thread(self._catalog.sync, header)
            await self._log.done(mark)
            self._changes = changes
        except StoreClosed:
            pass
        except (OSError, StoreError, DeadlineExceeded) as error:
            log.warning("the catalogue's files are not synced, the next start has more to do: %s", error)
        self._synced_at = time.monotonic()

    def close(self) -> None:
        """Let another process have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


async def open_catalog(
    store: Store, settings: Settings, dimensions: int, bundle: str
) -> tuple[Catalog, CatalogFiles | None]:
    """The catalogue with everything that is stored. Raises StoreError or OSError."""
    changes, data_dir = store.catalog_log, settings.data_dir
    lock = None
    if changes is not None and not changes.alone:
        lock = taken(data_dir)
        if lock is None:
            log.warning("another process uses the catalogue's files in %s; this one keeps none of its own", data_dir)
            changes = None
    if settings.catalog_vectors != "disk" or changes is None:
        if changes is not None:
            await changes.end()
            remove_folder(data_dir)
        if lock is not None:
            os.close(lock)
        catalog = Catalog(dimensions, settings.catalog_bytes, settings.catalog_vectors, data_dir)
        await load(store, catalog, bundle)
        await make_clusters(catalog)
        return catalog, None
    why, saved, in_step = "there are none", None, False
    if (data_dir / FOLDER).exists():
        try:
            saved, in_step = await _taken_over(store, changes, settings, dimensions, bundle)
        except (FilesDamaged, OSError) as error:
            why = str(error)
    if saved is None:
        log.info("the catalogue's files are made from the database (%s); this takes minutes for a million items", why)
        saved = await _made(store, changes, settings, dimensions, bundle)
    files = CatalogFiles(saved, changes, bundle, lock)
    if not in_step:
        await files.sync()
    return saved, files


async def _taken_over(
    store: Store, changes: CatalogLog, settings: Settings, dimensions: int, bundle: str
) -> tuple[SavedCatalog, bool]:
    """And whether nothing had changed since the files were synced."""
    folder = settings.data_dir / FOLDER
    header = read_header(folder)
    if header is None or header.layout != LAYOUT:
        raise FilesDamaged("they are not complete")
    if header.bundle != bundle or header.dimensions != dimensions:
        raise FilesDamaged("they are of another model's vectors")
    changed = await changes.since(FilesMark(header.identity, header.change, header.position), bundle, MOST_REPAIRED)
    if isinstance(changed, str):
        raise FilesDamaged(changed)
    catalog = _catalog(store, changes, settings, dimensions, folder, bytes.fromhex(header.secret))
    catalog.restore(header, changes.change(), changed.ids)
    if len(catalog) != changed.unchanged and changed.unchanged <= catalog.capacity:
        raise FilesDamaged(f"they hold {len(catalog)} items that did not change, the database {changed.unchanged}")
    for start in range(0, len(changed.ids), _READ_AT_ONCE):
        stored = await changes.contents(changed.ids[start : start + _READ_AT_ONCE])
        ranked = [one for one in stored if not one.hidden and one.bundle_digest == bundle]
        put_items([(one.id, one.fields, one.embedding) for one in ranked], catalog)
    await keep_room(store, catalog, bundle)
    log.info("the catalogue's files are used again; %d items had changed since they were synced", len(changed.ids))
    return catalog, not changed.ids


async def _made(store: Store, changes: CatalogLog, settings: Settings, dimensions: int, bundle: str) -> SavedCatalog:
    folder = new_folder(settings.data_dir)
    await changes.begin()
    catalog = _catalog(store, changes, settings, dimensions, folder, secrets.token_bytes(16))
    await load(store, catalog, bundle)
    await make_clusters(catalog)
    return catalog


def _catalog(
    store: Store, changes: CatalogLog, settings: Settings, dimensions: int, folder: Path, secret: bytes
) -> SavedCatalog:
    files = Files(folder, secret, changes.change)
    return SavedCatalog(dimensions, settings.catalog_bytes, settings.data_dir, files, store.embeddings)


@asynccontextmanager
async def _nobody() -> AsyncIterator[None]:
    yield
