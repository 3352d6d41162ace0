"""faiss: every vector compared, and an inverted file of product codes whose best are scored again.

https://github.com/facebookresearch/faiss/wiki/Fast-accumulation-of-PQ-and-AQ-codes-(FastScan)
"""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.indexes.index import DIMENSIONS, GROUPS, RESULTS, Index, StoredVectors, Vectors

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # or threads without a core spin while they wait for each other
faiss: Any = importlib.import_module("faiss")  # its stubs do not know its Python interface
_TRAINED_A_LIST = 64  # vectors; faiss warns below 39


class Flat(Index):
    """Float32 vectors, exact."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._selectors: list[Any] = []

    def build(self, vectors: StoredVectors) -> None:
        self._index = self._empty(vectors)
        for _, chunk in vectors.chunks():
            self._index.add(chunk)
        faiss.write_index(self._index, str(self.folder / "index.faiss"))
        numbers = np.arange(vectors.count)
        bits = [np.packbits(numbers % GROUPS == group, bitorder="little") for group in range(GROUPS)]
        self._selectors = [faiss.IDSelectorBitmap(one) for one in bits]
        faiss.omp_set_num_threads(1)

    def _empty(self, vectors: StoredVectors) -> Any:
        return faiss.IndexFlatIP(DIMENSIONS)

    def search(self, query: Vectors, group: int | None = None) -> Sequence[int]:
        selector = None if group is None else self._selectors[group]
        _, found = self._index.search(query[np.newaxis], RESULTS, params=self._parameters(selector))
        numbers: list[int] = found[0].tolist()
        return numbers

    def _parameters(self, selector: Any) -> Any:
        return faiss.SearchParameters(sel=selector)


class InvertedFastScan(Flat):
    """4 √n lists, a 4-bit code for every two dimensions, the exact vectors beside them for the second scoring."""

    settings = tuple(
        {"nprobe": probes, "k_factor": factor}
        for probes, factor in ((8, 8), (16, 16), (32, 16), (64, 32), (64, 64), (128, 128), (256, 256), (1024, 256))
    )

    def _empty(self, vectors: StoredVectors) -> Any:
        lists = 1 << round(np.log2(4 * np.sqrt(vectors.count)))
        index = faiss.index_factory(DIMENSIONS, f"IVF{lists},PQ{DIMENSIONS // 2}x4fs,RFlat", faiss.METRIC_INNER_PRODUCT)
        index.train(vectors.sample(_TRAINED_A_LIST * lists))
        return index

    def _parameters(self, selector: Any) -> Any:
        lists = faiss.IVFSearchParameters(nprobe=self.setting["nprobe"], sel=selector)
        return faiss.IndexRefineSearchParameters(k_factor=self.setting["k_factor"], base_index_params=lists)
