"""The store in one SQLite file: a thread that writes, a connection that reads."""

import os
import sqlite3
import time
from asyncio import to_thread
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypeVar

from runtime.personalization import popularity
from runtime.personalization.actions import DECAY_PER_DAY
from runtime.store.changes import CatalogLog
from runtime.store.errors import StoreBusy, StoreCorrupt, StoreFull, StoreIOError
from runtime.store.experiment_records import ExperimentChange, Exposure, FailedRankings, MovedOutcome
from runtime.store.queue_bytes import ROW_BYTES, queued_bytes
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
from runtime.store.sqlite import content_table as content
from runtime.store.sqlite import experiment_tables, formula, interaction_log, totals
from runtime.store.sqlite import user_tables as users
from runtime.store.sqlite.acknowledged import Acknowledgements
from runtime.store.sqlite.backup import before_migrating
from runtime.store.sqlite.catalog_log import SqliteCatalogLog
from runtime.store.sqlite.checksums import REMEDY
from runtime.store.sqlite.connection import (
    DATABASE,
    LOCK,
    lock_directory,
    open_reader,
    open_writer,
    sync_directory,
    translated,
)
from runtime.store.sqlite.integrity import check_at_start, problems, report_damaged_rows
from runtime.store.sqlite.migrations import migrate
from runtime.store.sqlite.reads import SqliteReads, wall_clock_us
from runtime.store.sqlite.scrub import Scrubber
from runtime.store.sqlite.tombstones import Marks, Tombstones
from runtime.store.sqlite.waits import Waits
from runtime.store.sqlite.writer import Writer
from runtime.store.tombstones import FOR_A_WEEK, TombstoneLimits
from runtime.system.trace import spent

T = TypeVar("T")

_MOST_SHARED_EVENTS = 64  # of one write that shares a transaction with others: each changes some ten pages


class SqliteStore(SqliteReads):
    """See `Store`. Holds the data directory's lock, two connections (1 MiB of cache each) and one thread.

    Reads run in the event loop's thread: a point read takes 4 to 7 µs and a page at most a millisecond, where passing
    it to a thread costs 25 µs and the waits for the interpreter's lock (docs/decisions/014).

    Opening checks that the file is ours, migrates it (after a backup beside it), marks user states stale where
    `decay_per_day` is not what they were computed with, and looks for damage for a fifth of a second: all of a database
    of some megabytes. Damage that this does not reach is reported as StoreCorrupt by the statement that meets it;
    `check` looks at everything on demand.

    Raises StoreLocked, SchemaTooNew, StoreCorrupt, StoreIOError or StoreFull.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        dimensions: int = 384,
        decay_per_day: float = DECAY_PER_DAY,
        clock_us: Callable[[], int] = wall_clock_us,
        write_timeout_s: float = 60.0,
        tombstones: TombstoneLimits = FOR_A_WEEK,
    ) -> None:
        """write_timeout_s: how long a write may wait for the disk. tombstones: for how long late retries of what was
        deleted are refused."""
        self.path = data_dir / DATABASE
        self._decay_per_day = decay_per_day
        self._clock_us = clock_us
        self._waits = Waits(write_timeout_s)
        self._marks = Marks(tombstones)
        with ExitStack() as undo:
            self._lock = lock_directory(data_dir)
            undo.callback(os.close, self._lock)
            connection = open_writer(self.path)
            undo.callback(connection.close)
            with translated(f"preparing {self.path}"):
                check_at_start(connection)
                before_migrating(connection, self.path)
                migrate(connection)
                sync_directory(data_dir)
                formula.reconcile(connection, dimensions=dimensions, decay_per_day=decay_per_day)
                acknowledgements = Acknowledgements(connection, self.path, self._lock, data_dir / LOCK)
                report_damaged_rows(connection)
                self._scrubber = Scrubber(self.path)
                undo.callback(self._scrubber.close)
            # Whether an event may answer an exposure: without an experiment none is looked for.
            self._shown = bool(totals.read(connection).exposures)
            super().__init__(open_reader(self.path), dimensions)
            # It also finishes a deletion's scrub that a crash has interrupted.
            self.writer = Writer(connection, self._scrubber, acknowledgements)
            undo.pop_all()
        self.catalog_log: CatalogLog = SqliteCatalogLog(self._read, self._write)

    async def put_content(self, items: Sequence[ContentItem]) -> list[PutOutcome]:
        for one in items:
            check_vector(one.id, one.embedding, self.dimensions)
        now_us = self._clock_us()
        return await self._write(
            lambda connection: content.put(connection, items, now_us),
            bytes=queued_bytes(items),
            alone=True,
        )

    async def replace_vectors(self, vectors: Sequence[ContentItem]) -> list[bool]:
        for one in vectors:
            check_vector(one.id, one.embedding, self.dimensions)
        return await self._write(
            lambda connection: content.replace_vectors(connection, vectors),
            bytes=queued_bytes(vectors),
            alone=True,
        )

    async def delete_content(self, id: str) -> bool:
        return await self._write(lambda connection: content.delete(connection, id), alone=True)

    async def hide_content(self, id: str, hidden: bool) -> bool:
        return await self._write(lambda connection: content.hide(connection, id, hidden))

    async def add_interactions(
        self, interactions: Sequence[Interaction], *, counts: dict[str, popularity.Counts] | None = None
    ) -> list[AddOutcome]:
        now_us, shown = self._clock_us(), self._shown
        return await self._write(
            lambda connection: interaction_log.add(
                connection,
                interactions,
                counts,
                now_us=now_us,
                dimensions=self.dimensions,
                decay_per_day=self._decay_per_day,
                tombstones=Tombstones(connection, self._marks, now_us),
                shown=shown,
            ),
            bytes=queued_bytes(interactions),
            alone=len(interactions) > _MOST_SHARED_EVENTS,
        )

    async def delete_interaction(self, event_id: str, *, counted: set[str] | None = None) -> bool:
        now_us = self._clock_us()
        return await self._write(
            lambda connection: interaction_log.delete(
                connection,
                event_id,
                counted,
                now_us=now_us,
                dimensions=self.dimensions,
                decay_per_day=self._decay_per_day,
                tombstones=Tombstones(connection, self._marks, now_us),
            ),
        )

    async def put_preferences(self, user_id: str, preferences: Preferences) -> None:
        check_vector(user_id, preferences.embedding, self.dimensions)
        now_us = self._clock_us()
        return await self._write(
            lambda connection: users.put_preferences(connection, user_id, preferences, now_us),
            bytes=queued_bytes([preferences]),
        )

    async def replace_preference_vector(self, user_id: str, preferences: Preferences) -> bool:
        check_vector(user_id, preferences.embedding, self.dimensions)
        return await self._write(
            lambda connection: users.replace_preference_vector(connection, user_id, preferences),
            bytes=queued_bytes([preferences]),
        )

    async def rebuild_user(self, user_id: str) -> UserState | None:
        options = {"dimensions": self.dimensions, "decay_per_day": self._decay_per_day, "now_us": wall_clock_us()}
        try:
            return await self._write(lambda connection: users.rebuild(connection, user_id, **options))  # type: ignore[arg-type]
        except (StoreBusy, StoreFull, StoreIOError):  # it is a read for whoever requested it: nothing has to be stored
            with closing(open_reader(self.path)) as connection:
                return await to_thread(users.computed, connection, user_id, **options)  # type: ignore[arg-type]

    async def delete_user(self, user_id: str, *, counted: set[str] | None = None) -> DeletedUser:
        now_us = self._clock_us()

        def delete(connection: sqlite3.Connection) -> DeletedUser:
            return users.delete(connection, user_id, counted, now_us, Tombstones(connection, self._marks, now_us))

        return await self._write(delete, scrub=True, alone=True)

    async def change_experiment(self, change: ExperimentChange, *, after: int) -> int | None:
        return await self._write(
            lambda connection: experiment_tables.change(connection, change, after),
            bytes=queued_bytes([change]),
        )

    async def add_exposures(self, exposures: Sequence[Exposure], failed: Sequence[FailedRankings] = ()) -> None:
        self._shown = True
        return await self._write(
            lambda connection: experiment_tables.add(connection, exposures, failed),
            bytes=queued_bytes([*exposures, *failed]),
        )

    async def move_exposures(self, exposures: Sequence[Exposure]) -> list[MovedOutcome]:
        self._shown = True
        now_us = self._clock_us()
        return await self._write(
            lambda connection: experiment_tables.move(
                connection, exposures, Tombstones(connection, self._marks, now_us)
            ),
            bytes=queued_bytes(exposures),
            alone=True,
        )

    async def close_windows(self, now_us: int, *, limit: int = 256) -> int:
        return await self._write(lambda connection: experiment_tables.close(connection, now_us, limit))

    async def trim_exposures(
        self, before_us: int, max_bytes: int, *, after_us: int = 2**63 - 1, limit: int = 1000
    ) -> int:
        return await self._write(
            lambda connection: experiment_tables.trim(connection, before_us, max_bytes, after_us, limit),
            alone=True,
        )

    async def forget_participants(self, ended: Mapping[str, int], *, limit: int = 1000) -> int:
        return await self._write(lambda connection: experiment_tables.forget_participants(connection, ended, limit))

    def waiting_writes(self) -> int:
        return self.writer.waiting

    def check(self) -> list[str]:
        """What is wrong with the database, nothing if all is well: see `integrity.problems`. Reads all of it."""
        return self._read(lambda connection: list(problems(connection)))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._reader.close()  # first: the last connection to close is the one that may remove the log
        await to_thread(self.writer.close)  # waits for the disk
        self._scrubber.close()
        os.close(self._lock)

    async def _write(
        self,
        apply: Callable[[sqlite3.Connection], T],
        *,
        bytes: int = ROW_BYTES,
        scrub: bool = False,
        alone: bool = False,
    ) -> T:
        started = time.monotonic()
        try:
            return await self._waits.until_done(self.writer.submit(apply, bytes=bytes, scrub=scrub, alone=alone))
        except (TypeError, ValueError, OverflowError, IndexError) as error:  # arguments were checked before
            raise StoreCorrupt(f"what is stored cannot be read: {error!r}; {REMEDY}") from error
        except TimeoutError:
            raise StoreIOError(
                f"the disk has not taken a write for {self._waits.timeout_s:g} s: it may be stored or not; check that "
                "the volume is healthy, then repeat"
            ) from None
        finally:
            spent("store", time.monotonic() - started)
