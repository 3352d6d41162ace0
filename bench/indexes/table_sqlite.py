"""sqlite-vec: a virtual table of SQLite that compares every vector, as float32 or first by their signs.

https://alexgarcia.xyz/sqlite-vec/guides/binary-quant.html
"""

from collections.abc import Sequence

import apsw
import sqlite_vec

from bench.indexes.index import DIMENSIONS, GROUPS, RESULTS, Index, StoredVectors, Vectors


class Exact(Index):
    """Float32, by Euclidean distance, which orders unit vectors as the cosine does."""

    columns = f"vector float[{DIMENSIONS}]"
    values = "?3"
    query = f"SELECT id FROM items WHERE vector MATCH ?1 AND k = {RESULTS}{{group}}"

    def build(self, vectors: StoredVectors) -> None:
        self._database = apsw.Connection(str(self.folder / "items.sqlite"))
        self._database.enable_load_extension(True)
        self._database.load_extension(sqlite_vec.loadable_path())
        self._database.execute(
            f"CREATE VIRTUAL TABLE items USING vec0(id INTEGER PRIMARY KEY, item_group INTEGER, {self.columns})"
        )
        for start, chunk in vectors.chunks():
            with self._database:
                self._database.executemany(
                    f"INSERT INTO items VALUES (?1, ?2, {self.values})",
                    ((n, n % GROUPS, vector.tobytes()) for n, vector in enumerate(chunk, start)),
                )

    def search(self, query: Vectors, group: int | None = None) -> Sequence[int]:
        vector = query.tobytes()
        statement = self.query.format(group="" if group is None else " AND item_group = ?2")
        values = (vector,) if group is None else (vector, group)
        return [row[0] for row in self._database.execute(statement, values)]

    def close(self) -> None:
        self._database.close()
        super().close()


class Bits(Exact):
    """Signs, compared by Hamming distance; the nearest are scored again with the float32 vectors."""

    settings = tuple({"scored_again": count} for count in (100, 400, 1600, 4096))  # 4,096 is its limit
    columns = f"{Exact.columns}, bits bit[{DIMENSIONS}]"
    values = "?3, vec_quantize_binary(?3)"

    def use(self, setting: dict[str, int]) -> None:
        super().use(setting)
        self.query = (
            "WITH near AS (SELECT id, vector FROM items WHERE bits MATCH vec_quantize_binary(?1) "
            f"AND k = {setting['scored_again']}{{group}}) "
            f"SELECT id FROM near ORDER BY vec_distance_l2(vector, ?1) LIMIT {RESULTS}"
        )
