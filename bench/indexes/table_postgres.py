"""pgvector in a Postgres of its own: every row compared, and its HNSW graph."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg

from bench.indexes.index import DIMENSIONS, GROUPS, RESULTS, Index, StoredVectors, Vectors
from bench.postgres import PostgresServer
from runtime.store.postgres.vector_column import VectorColumn, register

_COLUMN = VectorColumn("vector")
# Room for the table and the graph; a connection builds and searches with one process.
_SERVER = {
    "shared_buffers": "4GB",
    "maintenance_work_mem": "4GB",
    "max_parallel_maintenance_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "autovacuum": "off",  # whose processes come and go
    "max_wal_size": "8GB",
    "dynamic_shared_memory_type": "mmap",
}


class Exact(Index):
    """A sequential scan; with a filter, of the rows that an ordinary index finds."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server = PostgresServer(durable=False)
        for name, value in _SERVER.items():
            self._server.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self._server.stop("fast")
        self._server.start()
        self._runner = asyncio.Runner()
        self._connection: Any = self._runner.run(asyncpg.connect(self._server.url()))

    def _execute(self, statement: str) -> None:
        self._runner.run(self._connection.execute(statement))

    def build(self, vectors: StoredVectors) -> None:
        self._count = vectors.count
        self._execute("CREATE EXTENSION vector")
        self._execute(f"CREATE TABLE items (id integer, item_group integer, vector vector({DIMENSIONS}))")
        self._runner.run(register(self._connection))
        for start, chunk in vectors.chunks():
            records = [(n, n % GROUPS, _COLUMN.encode(vector)) for n, vector in enumerate(chunk, start)]
            self._runner.run(self._connection.copy_records_to_table("items", records=records))
        self._index()
        self._execute("VACUUM ANALYZE items")
        self._prepare()

    def _prepare(self, candidates: int = RESULTS) -> None:
        """The two queries. An index scan may find candidates slightly out of order, so they are sorted afterwards."""
        queries = [
            f"WITH near AS MATERIALIZED (SELECT id, vector <#> $1 AS distance FROM items {where} "
            f"ORDER BY distance LIMIT {candidates}) SELECT id FROM near ORDER BY distance + 0 LIMIT {RESULTS}"
            for where in ("", "WHERE item_group = $2")
        ]
        self._all, self._group = (self._runner.run(self._connection.prepare(query)) for query in queries)

    def _index(self) -> None:
        self._execute("CREATE INDEX ON items (item_group)")

    def search(self, query: Vectors, group: int | None = None) -> Sequence[int]:
        sent = _COLUMN.encode(query)
        rows = self._runner.run(self._all.fetch(sent) if group is None else self._group.fetch(sent, group))
        return [row[0] for row in rows]

    def disk_bytes(self) -> int:
        ((size,),) = self._server.execute("SELECT pg_total_relation_size('items')")
        return int(size)

    def processes(self) -> list[int]:
        """Those of the server."""
        first = int((self._server.folder / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text(encoding="ascii").split()
        return [first, *map(int, children)]

    def close(self) -> None:
        self._connection.terminate()  # whatever it waits for
        self._server.close()
        super().close()


class Hnsw(Exact):
    """Its defaults: 16 neighbours, 64 candidates as it is built. Without an index on the group and without sequential
    scans, which the planner can take for a filter that few rows pass.

    With a filter it goes on in relaxed order until it has enough candidates, which are then sorted: the documentation's
    setting for recall (https://github.com/pgvector/pgvector#iterative-index-scans).
    """

    settings = tuple(
        {"ef_search": size, "candidates": candidates}
        for size, candidates in ((40, 10), (100, 20), (200, 40), (400, 80), (400, 160), (1000, 160))
    )  # ef_search is at most 1,000

    def _index(self) -> None:
        self._execute("CREATE INDEX ON items USING hnsw (vector vector_ip_ops)")
        self._execute("SET enable_seqscan = off")
        self._execute("SET hnsw.iterative_scan = relaxed_order")
        self._execute("SET hnsw.max_scan_tuples = 100000")  # so that neither this
        self._execute("SET hnsw.scan_mem_multiplier = 16")  # nor memory ends a scan before it has enough

    def progress(self) -> str:
        rows = self._server.execute("SELECT phase, tuples_done FROM pg_stat_progress_create_index")
        return ", ".join(f"{phase}, {done:,} of {self._count:,} vectors" for phase, done in rows)

    def use(self, setting: dict[str, int]) -> None:
        super().use(setting)
        self._execute(f"SET hnsw.ef_search = {setting['ef_search']}")
        self._prepare(setting["candidates"])
