"""usearch's HNSW graph, with its defaults: bfloat16 vectors, 16 neighbours, 128 candidates as it adds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from usearch.index import Index as Graph

from bench.indexes.index import DIMENSIONS, RESULTS, Index, StoredVectors, Vectors


class Usearch(Index):
    """Its Python interface takes no filter."""

    settings = tuple({"expansion_search": size} for size in (64, 128, 256, 512, 1024))
    filters = False
    dtype: str | None = None  # its default

    def build(self, vectors: StoredVectors) -> None:
        self._graph: Any = Graph(ndim=DIMENSIONS, metric="ip", dtype=self.dtype)
        for start, chunk in vectors.chunks():
            self._graph.add(np.arange(start, start + len(chunk), dtype=np.uint64), chunk, threads=1)
        self._graph.save(str(self.folder / "graph.usearch"))

    def use(self, setting: dict[str, int]) -> None:
        super().use(setting)
        self._graph.expansion_search = setting["expansion_search"]

    def search(self, query: Vectors, group: int | None = None) -> Sequence[int]:
        found: list[int] = self._graph.search(query, RESULTS, threads=1).keys.tolist()
        return found


class UsearchFloat32(Usearch):
    """With vectors as they are."""

    dtype = "f32"
