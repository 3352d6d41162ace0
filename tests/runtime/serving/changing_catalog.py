"""A store with a catalogue in files, changed as the server changes it."""

import asyncio
import itertools
import os
import random
import signal
import time

import numpy as np

from runtime.catalog.item_fields import labels_of
from runtime.serving.catalog_files import open_catalog
from runtime.settings import Settings
from runtime.store import ContentItem
from runtime.store.sqlite.store import SqliteStore

DIGEST = "bundle"
IDS = [f"item {n}" for n in range(40)]
USED_AGAIN = "the catalogue's files are used again"
MADE = "the catalogue's files are made from the database"


def settings(data_dir, mib=1):
    return Settings(data_dir=data_dir, catalog_vectors="disk", catalog_bytes=mib << 20)


class Changing:
    """`files`: keeps them in step. `catalog`: with everything in `store`, which is SQLite's in the folder, or Postgres
    at an address."""

    def __init__(self, data_dir, digest=DIGEST, mib=1, url=None):
        self.data_dir, self.digest, self.mib, self.url = data_dir, digest, mib, url

    async def __aenter__(self):
        if self.url is None:
            self.store = SqliteStore(self.data_dir)
        else:
            from runtime.store.postgres.store import open_store

            self.store = await open_store(self.url)
            await self.store.feed.begin()
        self.catalog, self.files = await open_catalog(self.store, settings(self.data_dir, self.mib), 384, self.digest)
        return self

    async def __aexit__(self, *_):
        if self.files is not None:
            self.files.close()
        await self.store.close()

    async def change(self, draw):
        """Put, hide or delete a few items, or give some rows new clusters."""
        some = draw.sample(IDS, draw.randint(1, 3))
        kind = draw.random()
        if kind < 0.1:
            self.cluster(draw)
        elif kind < 0.6:
            items = [item(id, draw.randrange(1 << 30)) for id in some]
            await self.store.put_content(items)
            hidden = await self.store.hidden(some)
            for one in items:
                if one.id not in hidden:
                    self.catalog.put(one.id, one.embedding, labels_of(one.fields))
        elif kind < 0.8:
            for id in some:
                await self.store.delete_content(id)
                self.catalog.delete(id)
        else:
            await self._hide(some[0], draw.random() < 0.5)

    def cluster(self, draw=None):
        """Use new clusters; with `draw` it may end anywhere before all rows have them."""
        if not len(self.catalog):
            return
        for _ in self.catalog.plan_clusters():
            pass
        self.catalog.save_clusters()
        for _ in itertools.islice(self.catalog.use_clusters(), draw and draw.randrange(len(IDS))):
            pass

    async def _hide(self, id, hidden):
        if not await self.store.hide_content(id, hidden):
            return
        if hidden:
            self.catalog.keep_room(id)
        else:
            stored = await self.store.get_content(id)
            self.catalog.put(id, stored.embedding, labels_of(stored.fields))

    async def differences(self):
        """What the catalogue says otherwise than the database."""
        wrong = []
        labels = {}
        stored = {}
        for id in IDS:
            one = await self.store.get_content(id)
            if one is None or one.hidden:
                if self.catalog.lookup([id]).ids:
                    wrong.append(f"{id} is there")
                continue
            stored[id] = one.embedding
            found = self.catalog.lookup([id])
            if not found.ids:
                wrong.append(f"{id} is missing")
                continue
            (vector,) = await self.catalog.gather(found.rows)
            if not np.array_equal(vector, one.embedding) or self.catalog.ids(found.rows) != [id]:
                wrong.append(f"{id} has another vector or id")
            (score,) = self.catalog.scan(one.embedding).scores(int(found.rows[0]), int(found.rows[0]) + 1)
            if abs(score - 1) > 0.2:
                wrong.append(f"{id} is not found: {score}")
            for label in labels_of(one.fields):
                labels.setdefault(label, set()).add(id)
        for tag in map(str, range(5)):
            (label,) = labels_of(f'{{"text":"t","tags":["tag {tag}"]}}'.encode())
            rows = np.flatnonzero(self.catalog.matching([label]))
            if set(self.catalog.ids(rows)) != labels.get(label, set()):
                wrong.append(f"{label} is of others")
        if len(self.catalog) != len(stored):
            wrong.append(f"{len(self.catalog)} items, {len(stored)} stored")
        return wrong


def item(id, seed):
    draw = np.random.default_rng(seed)
    vector = draw.standard_normal(384).astype(np.float32)
    tags = ",".join(f'"tag {n}"' for n in draw.choice(5, draw.integers(0, 4), replace=False))
    return ContentItem(
        id=id, fields=f'{{"text":"{seed}","tags":[{tags}]}}'.encode(), embedding=vector / np.linalg.norm(vector),
        model_version="v1", bundle_digest=DIGEST, tokens=1, truncated=False,
    )  # fmt: skip


async def until_killed(data_dir, seed, report, url=None):
    """Open, compare, report to a pipe, then change without an end."""
    async with Changing(data_dir, url=url) as changing:
        os.write(report, ("; ".join(await changing.differences()) or "right").encode())
        draw = random.Random(seed)
        while True:
            await changing.change(draw)
            if draw.random() < 0.1:
                await changing.files.sync()


async def changed(data_dir, seed, changes, **options):
    """Open, compare, change, and end without a last sync, as a killed process does."""
    async with Changing(data_dir, **options) as changing:
        assert await changing.differences() == []
        draw = random.Random(seed)
        for _ in range(changes):
            await changing.change(draw)


async def compared(data_dir, **options):
    async with Changing(data_dir, **options) as changing:
        return await changing.differences()


def kill_while_changing(data_dir, number, wait_s, url=None):
    """In a process of its own: see `until_killed`. What it reported."""
    ready, report = os.pipe()
    child = os.fork()
    if not child:
        try:
            asyncio.run(until_killed(data_dir, number, report, url))
        finally:
            os._exit(1)
    try:
        os.close(report)
        reported = os.read(ready, 1000)
        time.sleep(wait_s)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
    return reported.decode()
