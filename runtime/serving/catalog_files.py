"""The files in which a catalogue on disk outlives the process: taken over at start, or made again, and kept in step."""

import asyncio
import logging
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
    Header,
    new_folder,
    read_header,
    remove_folder,
)
from runtime.catalog.saved_catalog import SavedCatalog
from runtime.models.worker_pool import DeadlineExceeded
from runtime.serving.stored_catalog import keep_room, load, put_items
from runtime.serving.turns import Turns
from runtime.settings import Settings
from runtime.store import CatalogLog, Store, StoreClosed, StoreError

log = logging.getLogger("vows")

MOST_REPAIRED = 50_000  # items: of more it is quicker to make the files again
LOOK_EVERY_S = 1.0
_SYNC_AFTER_S = 20.0
_SYNC_AFTER_CHANGES = 2_000  # so many items are put again by a start after a kill, in less than a second
_PAUSE_S = 5.0  # that a sync waits for everybody who changes items


class CatalogFiles:
    """Keeps a catalogue's files in step with the database. Event-loop thread only."""

    def __init__(self, catalog: SavedCatalog, log: CatalogLog, identity: str, bundle: str, change: int) -> None:
        """change: up to which the files are in step."""
        self.change = change
        self._catalog = catalog
        self._log = log
        self._identity, self._bundle = identity, bundle
        self._synced_at = time.monotonic()

    async def keep(self, turns: Turns) -> None:
        """Until cancelled: sync the files where enough has changed, or some time ago."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                changed = self._log.change() - self.change
                waited_s = time.monotonic() - self._synced_at
            except StoreClosed:
                return
            except StoreError as error:
                log.warning("it is not known whether the catalogue's files are in step: %s", error)
                continue
            if changed >= _SYNC_AFTER_CHANGES or (changed and waited_s > _SYNC_AFTER_S):
                await self.sync(turns)

    async def sync(self, turns: Turns | None = None) -> None:
        """Make everything that the database holds now durable in the files. turns: of those who change items; None
        where nobody does. What fails is logged, and tried again by `keep`."""
        try:
            async with turns.all(_PAUSE_S) if turns is not None else _nobody():
                change = self._log.change()  # all of it has been put: nobody is between database and catalogue
                header = self._catalog.header(self._identity, self._bundle, change)
            await asyncio.to_thread(self._catalog.sync, header)
            await self._log.done(change)
            self.change = change
        except (OSError, StoreError, DeadlineExceeded) as error:
            log.warning("the catalogue's files are not synced, the next start has more to do: %s", error)
        self._synced_at = time.monotonic()


async def open_catalog(
    store: Store, settings: Settings, dimensions: int, bundle: str
) -> tuple[Catalog, CatalogFiles | None]:
    """The catalogue with everything that is stored. Raises StoreError or OSError."""
    changes, data_dir = store.catalog_log, settings.data_dir
    if settings.catalog_vectors != "disk" or changes is None:
        if changes is not None:
            await changes.end()
        remove_folder(data_dir)
        catalog = Catalog(dimensions, settings.catalog_bytes, settings.catalog_vectors, data_dir)
        await load(store, catalog, bundle)
        return catalog, None
    why = "there are none"
    if (data_dir / FOLDER).exists():
        try:
            return await _taken_over(store, changes, settings, dimensions, bundle)
        except (FilesDamaged, OSError) as error:
            why = str(error)
    log.info("the catalogue's files are made from the database (%s); this takes minutes for a million items", why)
    return await _made(store, changes, settings, dimensions, bundle)


async def _taken_over(
    store: Store, changes: CatalogLog, settings: Settings, dimensions: int, bundle: str
) -> tuple[SavedCatalog, CatalogFiles]:
    folder = settings.data_dir / FOLDER
    header = _header(folder, changes, dimensions, bundle)
    changed = changes.changed(MOST_REPAIRED)
    if changed is None:
        raise FilesDamaged(f"more than {MOST_REPAIRED} items have changed since")
    now = changes.change()
    catalog = _catalog(store, changes, settings, dimensions, folder, bytes.fromhex(header.secret))
    catalog.restore(header, now, changed)
    for id in changed:
        item = await store.get_content(id)
        if item is not None and not item.hidden and item.bundle_digest == bundle:
            put_items([(id, item.fields, item.embedding)], catalog)
    await keep_room(store, catalog, bundle)
    stored = changes.items(bundle)
    if len(catalog) != min(stored, catalog.capacity):
        raise FilesDamaged(f"they hold {len(catalog)} items, the database {stored}")
    files = CatalogFiles(catalog, changes, header.identity, bundle, header.change)
    if changed:
        await files.sync()
    log.info("the catalogue's files are used again; %d items had changed since they were synced", len(changed))
    return catalog, files


async def _made(
    store: Store, changes: CatalogLog, settings: Settings, dimensions: int, bundle: str
) -> tuple[SavedCatalog, CatalogFiles]:
    folder = new_folder(settings.data_dir)
    identity = secrets.token_hex(16)
    await changes.begin(identity)
    catalog = _catalog(store, changes, settings, dimensions, folder, secrets.token_bytes(16))
    await load(store, catalog, bundle)
    files = CatalogFiles(catalog, changes, identity, bundle, 0)
    await files.sync()
    return catalog, files


def _catalog(
    store: Store, changes: CatalogLog, settings: Settings, dimensions: int, folder: Path, secret: bytes
) -> SavedCatalog:
    files = Files(folder, secret, changes.change)
    return SavedCatalog(dimensions, settings.catalog_bytes, settings.data_dir, files, store.embeddings)


def _header(folder: Path, changes: CatalogLog, dimensions: int, bundle: str) -> Header:
    """Raises FilesDamaged where they are not those of this database and bundle."""
    header, state = read_header(folder), changes.state()
    if header is None or header.layout != LAYOUT:
        raise FilesDamaged("they are not complete")
    if header.bundle != bundle or header.dimensions != dimensions:
        raise FilesDamaged("they are of another model's vectors")
    if state is None or state.identity != header.identity:
        raise FilesDamaged("they are not of this database")
    if header.change > state.change:
        raise FilesDamaged(f"they hold change {header.change} of the database, whose last is {state.change}")
    return header


@asynccontextmanager
async def _nobody() -> AsyncIterator[None]:
    yield
