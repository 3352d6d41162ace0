"""The reads of the store in a Postgres database."""

from asyncio import sleep
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from runtime.personalization import popularity
from runtime.store.experiment_records import ArmBucket, ExperimentChange, LoggedExposure
from runtime.store.postgres import (
    content_reads,
    experiment_reads,
    log_reads,
    migrations,
)
from runtime.store.postgres import user_tables as users
from runtime.store.postgres.connections import Connection, Connections
from runtime.store.postgres.context import Context
from runtime.store.protocol import Store
from runtime.store.records import (
    Content,
    Counts,
    Embedding,
    LoggedInteraction,
    PastInteraction,
    Preferences,
    RecentEvents,
    Seen,
    Unchanged,
    UserHistory,
    UserPreferences,
    UserState,
    Vectors,
)

P = ParamSpec("P")
T = TypeVar("T")

_IDS_AT_ONCE = 256


async def _counts(connection: Connection) -> Counts:
    row = await connection.fetchrow(
        "SELECT sum(content)::bigint, sum(users)::bigint, sum(interactions)::bigint, sum(preferences)::bigint, "
        "sum(exposures)::bigint, sum(exposure_bytes)::bigint FROM totals"
    )
    return Counts(*row)


def _in_steps(ids: Sequence[T]) -> list[Sequence[T]]:
    return [ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE)]


class PostgresReads(Store):
    """What `PostgresStore` reads, over a few connections."""

    def __init__(self, connections: Connections, context: Context) -> None:
        self.connections = connections
        self.context = context

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

    async def experiment_changes(self, *, after: int = 0) -> list[ExperimentChange]:
        return await self._read(experiment_reads.changes, after)

    async def experiment_counts(self, experiment: str, period: int) -> list[ArmBucket]:
        return await self._read(experiment_reads.counts, experiment, period)

    async def participant_arm(self, user_id: str, experiment: str, period: int) -> str | None:
        return await self._read(experiment_reads.participant_arm, user_id, experiment, period)

    async def exposures(self, *, after: int = 0, limit: int = 1000) -> list[LoggedExposure]:
        return await self._read(experiment_reads.log, after, limit)

    async def _read(
        self,
        statement: Callable[Concatenate[Connection, P], Awaitable[T]],
        *arguments: P.args,
        **options: P.kwargs,
    ) -> T:
        return await self.connections.read("reading", lambda connection: statement(connection, *arguments, **options))
