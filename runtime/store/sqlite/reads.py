"""The reads of the store in one SQLite file."""

import sqlite3
import time
from asyncio import sleep
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from runtime.personalization import popularity
from runtime.store.errors import StoreClosed, StoreCorrupt
from runtime.store.experiment_records import ArmBucket, ExperimentChange, LoggedExposure
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
from runtime.store.sqlite import content_table as content
from runtime.store.sqlite import experiment_tables, log_reads, totals
from runtime.store.sqlite import user_tables as users
from runtime.store.sqlite.checksums import REMEDY
from runtime.store.sqlite.connection import translate
from runtime.store.sqlite.migrations import applied
from runtime.store.sqlite.readable import MOST_AHEAD_US, unreadable_rows
from runtime.store.sqlite.row_checks import RowChecks
from runtime.system.trace import spent

P = ParamSpec("P")
T = TypeVar("T")


def wall_clock_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


async def _in_steps(ids: Sequence[T]) -> AsyncIterator[Sequence[T]]:
    """The ids, or items, half a millisecond's work at a time, with a turn for other tasks between."""
    for start in range(0, len(ids), content.MOST_IDS):
        if start:
            await sleep(0)
        yield ids[start : start + content.MOST_IDS]


class SqliteReads(Store):
    """What `SqliteStore` reads, in the thread of the event loop."""

    def __init__(self, reader: sqlite3.Connection, dimensions: int) -> None:
        self.dimensions = dimensions
        self._reader = reader
        self._closed = False
        self._row_checks = RowChecks()

    async def get_content(self, id: str) -> Content | None:
        return self._read(content.get, id)

    async def unchanged(self, items: Sequence[tuple[str, bytes]], bundle_digest: str) -> dict[str, Unchanged]:
        found: dict[str, Unchanged] = {}
        async for some in _in_steps(items):
            found |= self._read(content.unchanged, some, bundle_digest)
        return found

    async def list_content(self, *, after: int, limit: int, max_bytes: int) -> tuple[list[Content], int | None]:
        return self._read(content.page, after, limit, max_bytes)

    async def embeddings(self, ids: Sequence[str]) -> dict[str, Embedding]:
        return {id: vector async for some in _in_steps(ids) for id, vector in self._read(content.embeddings, some)}

    async def hidden(self, ids: Sequence[str]) -> set[str]:
        return {id async for some in _in_steps(ids) for id in self._read(content.hidden, some)}

    async def get_user(self, user_id: str) -> UserState | None:
        return self._read(users.get, user_id, self.dimensions, wall_clock_us())

    async def newest(self, user_id: str, limit: int) -> UserHistory:
        return self._read(log_reads.newest, user_id, limit)

    async def recent(self, user_id: str, limit: int) -> RecentEvents:
        return self._read(log_reads.recent, user_id, limit)

    async def item_counts(self, ids: Sequence[str]) -> dict[str, popularity.Counts]:
        found: dict[str, popularity.Counts] = {}
        async for some in _in_steps(ids):
            found |= self._read(log_reads.counts_of, some)
        latest_us = wall_clock_us() + MOST_AHEAD_US
        return {id: popularity.until(counts, latest_us) for id, counts in found.items()}

    async def engaged_content(
        self, *, after: int = 0, limit: int = 512
    ) -> tuple[dict[str, popularity.Counts], int | None]:
        found, following = self._read(log_reads.engaged_content, after, limit)
        latest_us = wall_clock_us() + MOST_AHEAD_US
        return {id: popularity.until(counts, latest_us) for id, counts in found.items()}, following

    async def get_preferences(self, user_id: str) -> Preferences | None:
        return self._read(users.get_preferences, user_id)

    async def seen(self, user_id: str, *, before: int | None = None, limit: int = 256) -> list[Seen]:
        return self._read(log_reads.seen, user_id, before, limit)

    async def history(self, user_id: str, *, before: int | None = None, limit: int = 256) -> list[PastInteraction]:
        return self._read(log_reads.history, user_id, before, limit)

    async def log(
        self, *, after: int = 0, limit: int = 1000, user_id: str | None = None
    ) -> tuple[list[LoggedInteraction], int | None]:
        return self._read(log_reads.read, after, limit, user_id)

    async def experiment_changes(self, *, after: int = 0) -> list[ExperimentChange]:
        return self._read(experiment_tables.changes, after)

    async def experiment_counts(self, experiment: str, period: int) -> list[ArmBucket]:
        return self._read(experiment_tables.counts, experiment, period)

    async def participant_arm(self, user_id: str, experiment: str, period: int) -> str | None:
        return self._read(experiment_tables.participant_arm, user_id, experiment, period)

    async def exposures(self, *, after: int = 0, limit: int = 1000) -> list[LoggedExposure]:
        return self._read(experiment_tables.log, after, limit)

    async def counts(self) -> Counts:
        return self._read(totals.read)

    async def check_some(self, rows: int) -> None:
        self._read(self._row_checks.step, rows)

    def unreadable_rows(self) -> int:
        return unreadable_rows()

    def unavailable(self) -> str | None:
        return None  # a disk that fails is reported by the statement that meets it

    async def schema(self) -> list[str]:
        return self._read(applied)

    async def vectors(self, bundle_digest: str, *, rows: int = 32) -> AsyncIterator[Vectors]:
        for bundle in self._read(content.bundles, bundle_digest):
            after = 0
            while (page := self._read(content.vectors, bundle, after, rows)) is not None:
                vectors, after = page
                yield vectors
                await sleep(0)

    async def content_of_other_bundles(
        self, bundle_digest: str, *, after: int = 0, limit: int = 64, max_bytes: int = 1 << 20
    ) -> tuple[list[Content], int | None]:
        return self._read(content.of_other_bundles, bundle_digest, after, limit, max_bytes)

    async def ids_without_room(self, bundle_digest: str, *, after: int = 0, limit: int = 256) -> list[tuple[int, str]]:
        return self._read(content.without_room, bundle_digest, after, limit)

    async def preferences_of_other_bundles(
        self, bundle_digest: str, *, after: int = 0, limit: int = 64
    ) -> tuple[list[UserPreferences], int | None]:
        return self._read(users.preferences_of_other_bundles, bundle_digest, after, limit)

    def _read(
        self,
        statement: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        if self._closed:
            raise StoreClosed("the store is closed; repeat the request after the start")
        started = time.monotonic()
        try:
            return statement(self._reader, *args, **kwargs)
        except sqlite3.Error as error:
            raise translate(error, "reading") from error
        except (TypeError, ValueError, OverflowError, IndexError) as error:
            raise StoreCorrupt(f"what is stored cannot be read: {error!r}; {REMEDY}") from error
        finally:
            spent("store", time.monotonic() - started)
