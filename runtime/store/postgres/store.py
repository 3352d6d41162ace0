"""The store in a Postgres database that machines share: one task that writes, a few connections that read."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from runtime.personalization import popularity
from runtime.personalization.actions import DECAY_PER_DAY
from runtime.store.errors import StoreError
from runtime.store.experiment_records import ExperimentChange, Exposure, FailedRankings, MovedOutcome
from runtime.store.postgres import (
    check,
    content_table,
    experiment_tables,
    formula,
    migrations,
)
from runtime.store.postgres import interaction_log as log
from runtime.store.postgres import user_tables as users
from runtime.store.postgres.catalog_log import PostgresCatalogLog
from runtime.store.postgres.connections import Connection, Connections, Pooler
from runtime.store.postgres.context import Context
from runtime.store.postgres.feed import PostgresFeed
from runtime.store.postgres.reads import PostgresReads
from runtime.store.postgres.vector_column import VectorColumn, find_kind, register
from runtime.store.postgres.writer import Writer
from runtime.store.queue_bytes import queued_bytes
from runtime.store.records import (
    AddOutcome,
    ContentItem,
    DeletedUser,
    Interaction,
    Preferences,
    PutOutcome,
    UserState,
    check_vector,
)
from runtime.store.tombstones import FOR_A_WEEK, TombstoneLimits

OLDEST_SERVER = 140_000  # Postgres 14
_SHARDS = 32


def _now_us() -> int:
    return time.time_ns() // 1000


class PostgresStore(PostgresReads):
    """See `Store`. Made by `open_store`; for one event loop.

    While the server is away, reads and writes raise StoreUnreachable at once, and `unavailable` says why.
    """

    def __init__(self, connections: Connections, context: Context, clock_us: Callable[[], int]) -> None:
        super().__init__(connections, context)
        self.feed = PostgresFeed(connections, context)
        self.catalog_log = PostgresCatalogLog(connections, self.feed)
        self._clock_us = clock_us
        self._writer = Writer(connections, context)

    async def put_content(self, items: Sequence[ContentItem]) -> list[PutOutcome]:
        for one in items:
            check_vector(one.id, one.embedding, self.context.dimensions)
        now_us = self._clock_us()
        return await self._writer.write(
            lambda connection: content_table.put(connection, self.context, items, now_us),
            bytes=queued_bytes(items),
        )

    async def replace_vectors(self, vectors: Sequence[ContentItem]) -> list[bool]:
        for one in vectors:
            check_vector(one.id, one.embedding, self.context.dimensions)
        return await self._writer.write(
            lambda connection: content_table.replace_vectors(connection, self.context, vectors),
            bytes=queued_bytes(vectors),
        )

    async def delete_content(self, id: str) -> bool:
        return await self._writer.write(lambda connection: content_table.delete(connection, self.context, id))

    async def hide_content(self, id: str, hidden: bool) -> bool:
        return await self._writer.write(lambda connection: content_table.hide(connection, id, hidden))

    async def add_interactions(
        self, interactions: Sequence[Interaction], *, counts: dict[str, popularity.Counts] | None = None
    ) -> list[AddOutcome]:
        """As `Store` says; more than 1,024 events are several transactions."""
        now_us = self._clock_us()
        outcomes: list[AddOutcome] = []
        for start in range(0, len(interactions), log.MOST_EVENTS):
            some = interactions[start : start + log.MOST_EVENTS]
            outcomes += await self._writer.add(some, now_us, bytes=queued_bytes(some))
        return outcomes

    async def delete_interaction(self, event_id: str, *, counted: set[str] | None = None) -> bool:
        now_us = self._clock_us()
        return await self._writer.write(
            lambda connection: log.delete(connection, self.context, event_id, counted, now_us)
        )

    async def put_preferences(self, user_id: str, preferences: Preferences) -> None:
        check_vector(user_id, preferences.embedding, self.context.dimensions)
        now_us = self._clock_us()
        return await self._writer.write(
            lambda connection: users.put_preferences(connection, self.context, user_id, preferences, now_us),
            bytes=queued_bytes([preferences]),
        )

    async def replace_preference_vector(self, user_id: str, preferences: Preferences) -> bool:
        check_vector(user_id, preferences.embedding, self.context.dimensions)
        return await self._writer.write(
            lambda connection: users.replace_preference_vector(connection, self.context, user_id, preferences),
            bytes=queued_bytes([preferences]),
        )

    async def rebuild_user(self, user_id: str) -> UserState | None:
        return await self._writer.write(lambda connection: users.rebuild(connection, self.context, user_id))

    async def delete_user(self, user_id: str, *, counted: set[str] | None = None) -> DeletedUser:
        """As `Store` says of tables. Postgres keeps the bytes of deleted rows until it vacuums, in its log until that
        is recycled, and wherever its log was copied to."""
        now_us = self._clock_us()
        return await self._writer.write(
            lambda connection: users.delete(connection, self.context, user_id, counted, now_us)
        )

    def waiting_writes(self) -> int:
        return self._writer.waiting

    async def change_experiment(self, change: ExperimentChange, *, after: int) -> int | None:
        return await self._writer.write(
            lambda connection: experiment_tables.change(connection, change, after),
            bytes=queued_bytes([change]),
        )

    async def add_exposures(self, exposures: Sequence[Exposure], failed: Sequence[FailedRankings] = ()) -> None:
        """As `Store` says; more than 1,024 exposures are several transactions."""
        for start in range(0, max(len(exposures), 1), log.MOST_EVENTS):
            some, others = exposures[start : start + log.MOST_EVENTS], failed if not start else ()
            await self._writer.expose(some, others, bytes=queued_bytes([*some, *others]))

    async def move_exposures(self, exposures: Sequence[Exposure]) -> list[MovedOutcome]:
        """As `Store` says; more than 1,024 exposures are several transactions."""
        now_us = self._clock_us()
        outcomes: list[MovedOutcome] = []
        for start in range(0, len(exposures), log.MOST_EVENTS):
            some = exposures[start : start + log.MOST_EVENTS]
            outcomes += await self._writer.write(partial(self._move, some, now_us), bytes=queued_bytes(some))
        return outcomes

    async def _move(self, some: Sequence[Exposure], now_us: int, connection: Connection) -> list[MovedOutcome]:
        return await experiment_tables.move(connection, self.context, some, now_us)

    async def close_windows(self, now_us: int, *, limit: int = 256) -> int:
        return await self._writer.write(lambda connection: experiment_tables.close(connection, now_us, limit))

    async def trim_exposures(
        self, before_us: int, max_bytes: int, *, after_us: int = 2**63 - 1, limit: int = 1000
    ) -> int:
        return await self._writer.write(
            lambda connection: experiment_tables.trim(connection, self.context, before_us, max_bytes, after_us, limit)
        )

    async def forget_participants(self, ended: Mapping[str, int], *, limit: int = 1000) -> int:
        return await self._writer.write(
            lambda connection: experiment_tables.forget_participants(connection, ended, limit)
        )

    async def check(self) -> list[str]:
        """What contradicts the log; nothing if all is well. Reads everything while nobody writes."""

        async def locked(connection: Connection) -> list[str]:
            await connection.execute("LOCK TABLE content_ids, users, interactions IN SHARE MODE")
            return await check.problems(connection, self.context)

        return await self.connections.transact("checking", locked)

    async def close(self) -> None:
        await self._writer.close()
        await self.feed.close()
        await self.connections.close()


async def open_store(
    url: str,
    *,
    dimensions: int = 384,
    decay_per_day: float = DECAY_PER_DAY,
    clock_us: Callable[[], int] = _now_us,
    most_connections: int = 4,
    timeout_s: float = 10.0,
    pooler: Pooler = "none",
    tombstones: TombstoneLimits = FOR_A_WEEK,
) -> PostgresStore:
    """Connect, migrate the schema while no other machine does, and check what the database was made with.

    Raises StoreUnreachable, SchemaTooNew or StoreError.
    """
    found: dict[str, Any] = {}

    async def prepare(connection: Connection) -> None:
        await _check_server(connection)
        await migrations.migrate(connection, dimensions)
        await formula.reconcile(connection, dimensions=dimensions)
        await formula.renew_epoch(connection)
        found["formula"] = await formula.sum_formula(connection, decay_per_day)
        found["kind"] = await find_kind(connection)
        found["tombstone_key"] = await connection.fetchval("SELECT key FROM tombstone_key")

    first = Connections(url, most=1, timeout_s=60.0, pooler=pooler)  # migrating may take longer than a statement
    try:
        await first.transact("preparing the database", prepare)
    finally:
        await first.close()
    connections = Connections(url, most=most_connections, timeout_s=timeout_s, pooler=pooler, prepare=register)
    context = Context(
        column=VectorColumn(found["kind"]),
        dimensions=dimensions,
        decay_per_day=decay_per_day,
        formula=found["formula"],
        shard=random.randrange(_SHARDS),
        tombstones=tombstones,
        tombstone_key=found["tombstone_key"],
    )
    return PostgresStore(connections, context, clock_us)


async def _check_server(connection: Connection) -> None:
    version = int(await connection.fetchval("SHOW server_version_num"))
    if version < OLDEST_SERVER:
        raise StoreError(f"the server is Postgres {version // 10_000}; at least {OLDEST_SERVER // 10_000} is needed")
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise StoreError(f"the database is encoded in {encoding}; make one with ENCODING 'UTF8'")
