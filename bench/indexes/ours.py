"""The runtime's catalogue and its search, in process: as float32, as int8, on disk."""

import asyncio
from collections.abc import Mapping, Sequence

import uvloop

from bench.catalogue import item_id
from bench.indexes.index import DIMENSIONS, GROUPS, RESULTS, Index, StoredVectors, Vectors
from runtime.catalog.catalog import Catalog
from runtime.catalog.files import Files, new_folder
from runtime.catalog.formats import row_bytes
from runtime.catalog.saved_catalog import SavedCatalog
from runtime.serving.catalog_search import Search
from runtime.serving.clustering import make_clusters


class OurIndex(Index):
    """A catalogue in one of its formats, searched as `POST /search` does."""

    format: str

    def build(self, vectors: StoredVectors) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._catalog = self._empty(vectors.count * row_bytes(self.format, DIMENSIONS))
        for start, chunk in vectors.chunks():
            for n, vector in enumerate(chunk, start):
                self._catalog.put(item_id(n), vector, [_group(n % GROUPS)])
        self._runner.run(make_clusters(self._catalog))
        self._search = Search(self._catalog)

    def search(self, query: Vectors, group: int | None = None) -> Sequence[int]:
        labels = [] if group is None else [_group(group)]
        found = self._runner.run(self._search.best(query, RESULTS, labels=labels))
        return [int(hit.id.removeprefix("item-")) for hit in found.hits]

    def _empty(self, max_bytes: int) -> Catalog:
        return Catalog(DIMENSIONS, max_bytes, self.format, self.folder)


class Float32(OurIndex):
    """Exact vectors in memory."""

    format = "float32"


class Int8(OurIndex):
    """Bytes in memory, the best of them scored again by exact vectors in a file."""

    format = "int8"


class Disk(OurIndex):
    """Low-bit codes in memory, exact vectors in a file."""

    format = "disk"

    def _empty(self, max_bytes: int) -> Catalog:
        files = Files(new_folder(self.folder), bytes(32), lambda: 1)
        return SavedCatalog(DIMENSIONS, max_bytes, self.folder, files, _nothing)


async def _nothing(ids: Sequence[str]) -> Mapping[str, Vectors]:
    """Of the database, which is only asked for what is damaged."""
    return {}


def _group(group: int) -> str:
    return f"group {group}"
