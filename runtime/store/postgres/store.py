"""The store in a Postgres database that machines share: one task that writes, a few connections that read."""

import random
import time
from asyncio import sleep
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from runtime.personalization import popularity
from runtime.personalization.actions import DECAY_PER_DAY
from runtime.store.errors import StoreError
from runtime.store.experiment_records import ArmBucket, ExperimentChange, Exposure, FailedRankings, LoggedExposure
from runtime.store.postgres import (
    check,
    content_reads,
    content_table,
    experiment_reads,
    experiment_tables,
    formula,
    log_reads,
    migrations,
)
from runtime.store.postgres import interaction_log as log
from runtime.store.postgres import user_tables as users
from runtime.store.postgres.connections import Connection, Connections, Pooler
from runtime.store.postgres.context import Context
from runtime.store.postgres.feed import PostgresFeed
from runtime.store.postgres.vector_column import VectorColumn, find_kind, register
from runtime.store.postgres.writer import Writer
from runtime.store.protocol import Store
from runtime.store.records import (
    AddOutcome,
    Content,
    ContentItem,
    Counts,
    DeletedUser,
    Embedding,
    Interaction,
    LoggedInteraction,
    NewVector,
    PastInteraction,
    Preferences,
    PutOutcome,
    RecentEvents,
    Seen,
    Unchanged,
    UserHistory,
    UserPreferences,
    UserState,
    Vectors,
)
from runtime.store.tombstones import FOR_A_WEEK, TombstoneLimits

P = ParamSpec("P")
T = TypeVar("T")

_ROW_BYTES = 512  # what a queued record holds besides its texts and vectors, rounded up
OLDEST_SERVER = 140_000  # Postgres 14
_IDS_AT_ONCE = 256
_SHARDS = 32


def _now_us() -> int:
    return time.time_ns() // 1000


class PostgresStore(Store):
    """See `Store`. Made by `open_store`; for one event loop.

    While the server is away, reads and writes raise StoreUnreachable at once, and `unavailable` says why.
    """

    def __init__(self, connections: Connections, context: Context, clock_us: Callable[[], int]) -> None:
        self.connections = connections
        self.context = context
        self.feed = PostgresFeed(connections, context)
        self._clock_us = clock_us
        self._writer = Writer(connections, context)

    async def put_content(self, items: Sequence[ContentItem]) -> list[PutOutcome]:
        for item in items:
            self._check_vector(item.id, item.embedding)
        now_us = self._clock_us()
        return await self._writer.write(
            lambda connection: content_table.put(connection, self.context, items, now_us),
            bytes=sum(_ROW_BYTES + len(item.fields) + item.embedding.nbytes for item in items),
        )

    async def replace_vectors(self, vectors: Sequence[NewVector]) -> list[bool]:
        for one in vectors:
            self._check_vector(one.id, one.embedding)
        return await self._writer.write(
            lambda connection: content_table.replace_vectors(connection, self.context, vectors),
            bytes=sum(_ROW_BYTES + len(one.fields) + one.embedding.nbytes for one in vectors),
        )

    async def delete_content(self, id: str) -> bool:
        return await self._writer.write(
            lambda connection: content_table.delete(connection, self.context, id), bytes=_ROW_BYTES
        )

    async def hide_content(self, id: str, hidden: bool) -> bool:
        return await self._writer.write(lambda connection: content_table.hide(connection, id, hidden), bytes=_ROW_BYTES)

    async def add_interactions(
        self, interactions: Sequence[Interaction], *, counts: dict[str, popularity.Counts] | None = None
    ) -> list[AddOutcome]:
        """As `Store` says; more than 1,024 events are several transactions."""
        now_us = self._clock_us()
        outcomes: list[AddOutcome] = []
        for start in range(0, len(interactions), log.MOST_EVENTS):
            some = interactions[start : start + log.MOST_EVENTS]
            size = sum(_ROW_BYTES + len(event.context or b"") for event in some)
            outcomes += await self._writer.add(some, now_us, bytes=size)
        return outcomes

    async def delete_interaction(self, event_id: str) -> bool:
        now_us = self._clock_us()
        return await self._writer.write(
            lambda connection: log.delete(connection, self.context, event_id, now_us), bytes=_ROW_BYTES
        )

    async def put_preferences(self, user_id: str, preferences: Preferences) -> None:
        self._check_vector(user_id, preferences.embedding)
        now_us = self._clock_us()
        return await self._writer.write(
            lambda connection: users.put_preferences(connection, self.context, user_id, preferences, now_us),
            bytes=_ROW_BYTES + preferences.embedding.nbytes + sum(len(text) for text in preferences.preferences),
        )

    async def replace_preference_vector(self, user_id: str, preferences: Preferences) -> bool:
        self._check_vector(user_id, preferences.embedding)
        return await self._writer.write(
            lambda connection: users.replace_preference_vector(connection, self.context, user_id, preferences),
            bytes=_ROW_BYTES + preferences.embedding.nbytes + sum(len(text) for text in preferences.preferences),
        )

    async def rebuild_user(self, user_id: str) -> UserState | None:
        return await self._writer.write(
            lambda connection: users.rebuild(connection, self.context, user_id), bytes=_ROW_BYTES
        )

    async def delete_user(self, user_id: str) -> DeletedUser:
        """As `Store` says of tables. Postgres keeps the bytes of deleted rows until it vacuums, in its log until that
        is recycled, and wherever its log was copied to."""
        now_us = self._clock_us()
        return await self._writer.write(
            lambda connection: users.delete(connection, self.context, user_id, now_us), bytes=_ROW_BYTES
        )

    async def get_content(self, id: str) -> Content | None:
        return await self._read(content_reads.get, self.context, id)

    async def unchanged(self, items: Sequence[tuple[str, bytes]], bundle_digest: str) -> dict[str, Unchanged]:
        found: dict[str, Unchanged] = {}
        for some in _in_steps(items):
            found |= await self._read(content_reads.unchanged, some, bundle_digest)
        return found

    async def list_content(self, *, after: int, limit: int, max_bytes: int) -> tuple[list[Content], int | None]:
        return await self._read(content_reads.page, self.context, after, limit, max_bytes)

    async def embeddings(self, ids: Sequence[str]) -> dict[str, Embedding]:
        found: dict[str, Embedding] = {}
        for some in _in_steps(ids):
            found |= await self._read(content_reads.embeddings, self.context, some)
        return found

    async def hidden(self, ids: Sequence[str]) -> set[str]:
        return {id for some in _in_steps(ids) for id in await self._read(content_reads.hidden, some)}

    async def get_user(self, user_id: str) -> UserState | None:
        return await self._read(users.get, self.context, user_id)

    async def newest(self, user_id: str, limit: int) -> UserHistory:
        return await self._read(log_reads.newest, user_id, limit)

    async def recent(self, user_id: str, limit: int) -> RecentEvents:
        return await self._read(log_reads.recent, user_id, limit)

    async def item_counts(self, ids: Sequence[str]) -> dict[str, popularity.Counts]:
        found: dict[str, popularity.Counts] = {}
        for some in _in_steps(ids):
            found |= await self._read(content_reads.item_counts, some)
        return found

    async def engaged_content(
        self, *, after: int = 0, limit: int = 512
    ) -> tuple[dict[str, popularity.Counts], int | None]:
        return await self._read(content_reads.engaged_content, after, limit)

    async def get_preferences(self, user_id: str) -> Preferences | None:
        return await self._read(users.get_preferences, self.context, user_id)

    async def seen(self, user_id: str, *, before: int | None = None, limit: int = 256) -> list[Seen]:
        return await self._read(log_reads.seen, user_id, before, limit)

    async def history(self, user_id: str, *, before: int | None = None, limit: int = 256) -> list[PastInteraction]:
        return await self._read(log_reads.history, self.context, user_id, before, limit)

    async def log(
        self, *, after: int = 0, limit: int = 1000, user_id: str | None = None
    ) -> tuple[list[LoggedInteraction], int | None]:
        """As `Store` says, up to the oldest transaction of the server that has not ended."""
        page = await self._read(log_reads.read, after, limit, user_id)
        return page, page[-1].sequence if len(page) == limit else None

    async def counts(self) -> Counts:
        return await self._read(_counts)

    async def check_some(self, rows: int) -> None:
        """Postgres checks its pages itself when it reads them, where the cluster has `data_checksums`."""

    def unreadable_rows(self) -> int:
        return 0

    def waiting_writes(self) -> int:
        return self._writer.waiting

    def unavailable(self) -> str | None:
        return self.connections.away

    async def schema(self) -> list[str]:
        return await self._read(migrations.applied)

    async def vectors(self, bundle_digest: str, *, rows: int = 32) -> AsyncIterator[Vectors]:
        after = 0
        while (page := await self._read(content_reads.vectors, self.context, bundle_digest, after, rows)) is not None:
            vectors, after = page
            yield vectors
            await sleep(0)

    async def content_of_other_bundles(
        self, bundle_digest: str, *, after: int = 0, limit: int = 64, max_bytes: int = 1 << 20
    ) -> tuple[list[Content], int | None]:
        return await self._read(content_reads.of_other_bundles, self.context, bundle_digest, after, limit, max_bytes)

    async def ids_without_room(self, bundle_digest: str, *, after: int = 0, limit: int = 256) -> list[tuple[int, str]]:
        return await self._read(content_reads.without_room, bundle_digest, after, limit)

    async def preferences_of_other_bundles(
        self, bundle_digest: str, *, after: int = 0, limit: int = 64
    ) -> tuple[list[UserPreferences], int | None]:
        return await self._read(users.preferences_of_other_bundles, self.context, bundle_digest, after, limit)

    async def change_experiment(self, change: ExperimentChange, *, after: int) -> int | None:
        return await self._writer.write(
            lambda connection: experiment_tables.change(connection, change, after),
            bytes=_ROW_BYTES + len(change.details),
        )

    async def add_exposures(self, exposures: Sequence[Exposure], failed: Sequence[FailedRankings] = ()) -> None:
        """As `Store` says; more than 1,024 exposures are several transactions."""
        for start in range(0, max(len(exposures), 1), log.MOST_EVENTS):
            some, others = exposures[start : start + log.MOST_EVENTS], failed if not start else ()
            size = sum(_ROW_BYTES + len(shown.items) for shown in some) + _ROW_BYTES * len(others)
            await self._writer.expose(some, others, bytes=size)

    async def close_windows(self, now_us: int, *, limit: int = 256) -> int:
        return await self._writer.write(
            lambda connection: experiment_tables.close(connection, now_us, limit), bytes=_ROW_BYTES
        )

    async def trim_exposures(
        self, before_us: int, max_bytes: int, *, after_us: int = 2**63 - 1, limit: int = 1000
    ) -> int:
        return await self._writer.write(
            lambda connection: experiment_tables.trim(connection, self.context, before_us, max_bytes, after_us, limit),
            bytes=_ROW_BYTES,
        )

    async def forget_participants(self, ended: Mapping[str, int], *, limit: int = 1000) -> int:
        return await self._writer.write(
            lambda connection: experiment_tables.forget_participants(connection, ended, limit), bytes=_ROW_BYTES
        )

    async def experiment_changes(self, *, after: int = 0) -> list[ExperimentChange]:
        return await self._read(experiment_reads.changes, after)

    async def experiment_counts(self, experiment: str, period: int) -> list[ArmBucket]:
        return await self._read(experiment_reads.counts, experiment, period)

    async def participant_arm(self, user_id: str, experiment: str, period: int) -> str | None:
        return await self._read(experiment_reads.participant_arm, user_id, experiment, period)

    async def exposures(self, *, after: int = 0, limit: int = 1000) -> list[LoggedExposure]:
        return await self._read(experiment_reads.log, after, limit)

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

    async def _read(
        self,
        statement: Callable[Concatenate[Connection, P], Awaitable[T]],
        *arguments: P.args,
        **options: P.kwargs,
    ) -> T:
        return await self.connections.read("reading", lambda connection: statement(connection, *arguments, **options))

    def _check_vector(self, id: str, embedding: Embedding) -> None:
        if embedding.shape != (self.context.dimensions,) or embedding.dtype != np.float32:
            raise ValueError(
                f"the vector of {id!r} is {embedding.dtype} {embedding.shape}, expected float32 "
                f"({self.context.dimensions},)"
            )
        if not np.isfinite(embedding).all():
            raise ValueError(f"the vector of {id!r} has a value that is not a finite number")


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


async def _counts(connection: Connection) -> Counts:
    row = await connection.fetchrow(
        "SELECT sum(content)::bigint, sum(users)::bigint, sum(interactions)::bigint, sum(preferences)::bigint, "
        "sum(exposures)::bigint, sum(exposure_bytes)::bigint FROM totals"
    )
    return Counts(*row)


def _in_steps(ids: Sequence[T]) -> list[Sequence[T]]:
    return [ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE)]
