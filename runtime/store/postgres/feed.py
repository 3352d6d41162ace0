"""Which content changed since a machine last looked, whichever machine changed it.

Transactions commit in another order than they began, so "greater than the last number" would lose changes. A position
is a snapshot: the set of transactions that had ended when it was taken. What changed since is what transactions outside
it wrote; a change is seen once its transaction has ended, never before and never left out.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from runtime.store.changes import ChangeFeed
from runtime.store.errors import StoreError
from runtime.store.postgres import content_reads, experiment_tables, log_reads
from runtime.store.postgres.connections import Connection, Connections
from runtime.store.postgres.content_table import CHANGED
from runtime.store.postgres.context import Context
from runtime.store.postgres.ids import unescape
from runtime.store.records import Changes, Content

_KEPT = "1 day"  # of a change
LONGEST_GAP_S = 12 * 3600.0  # a position that is older is not continued
_TRIM_EVERY = 1200  # looks
_EVENTS_AT_ONCE = 4096


class PostgresFeed(ChangeFeed):
    """NOTIFY only wakes: whoever misses one looks at the next interval. Behind a pooler nothing is listened for.

    `position`: up to which everything was reported and is `done`, in the database `server`; `looked_at`: when changes
    were last read, by the event loop's clock.
    """

    def __init__(self, connections: Connections, context: Context) -> None:
        self._connections = connections
        self._context = context
        self.position = ""
        self.server = ""
        self._sequence = 0
        self._wake = asyncio.Event()
        self._experiments = asyncio.Event()
        self._listening: Connection | None = None
        self.looked_at = 0.0
        self._looks = 0

    async def begin(self) -> None:
        """From here on. To be called before what is followed is first read. Raises StoreError."""

        async def read(connection: Connection) -> None:
            self.position = await self._here(connection)
            self._sequence = await connection.fetchval("SELECT coalesce(max(sequence), 0) FROM interactions")
            self._sequence = min(self._sequence, await log_reads.horizon(connection) - 1)

        await self._connections.read("reading", read)

    async def changes(self) -> Changes:
        await self._trim()
        return await self._connections.read("reading changes", self._since)

    def done(self, changes: Changes) -> None:
        self.position = changes.position

    async def contents(self, ids: Sequence[str]) -> list[Content]:
        return await self._connections.read(
            "reading changes", lambda connection: content_reads.get_some(connection, self._context, ids)
        )

    async def engaged(self) -> list[str]:
        rows = await self._connections.read(
            "reading changes",
            lambda connection: connection.fetch(
                f"""SELECT l.sequence, i.id FROM interactions l JOIN content_ids i ON i.key = l.content
                WHERE l.sequence > $1 AND l.sequence < {log_reads.HORIZON} ORDER BY l.sequence LIMIT $2""",
                self._sequence, _EVENTS_AT_ONCE,
            ),
        )  # fmt: skip
        if rows:
            self._sequence = rows[-1]["sequence"]
        return [unescape(id) for id in dict.fromkeys(row["id"] for row in rows)]

    async def wait(self, longest_s: float) -> None:
        await self._listen()
        await _next(self._wake, longest_s)

    async def wait_for_experiments(self, longest_s: float) -> None:
        await _next(self._experiments, longest_s)

    async def close(self) -> None:
        """Stop listening for notifications."""
        if self._listening is not None:
            self._listening.terminate()
            self._listening = None

    async def _trim(self) -> None:
        """Now and then, forget changes that every machine has seen long ago."""
        self._looks += 1
        if self._looks % _TRIM_EVERY == 0:
            await self._connections.transact(
                "trimming changes",
                lambda connection: connection.execute(
                    f"DELETE FROM content_changes WHERE at < now() - interval '{_KEPT}'"
                ),
            )

    async def _here(self, connection: Connection) -> str:
        self.server = await server(connection)
        self.looked_at = asyncio.get_running_loop().time()
        position: str = await connection.fetchval("SELECT pg_current_snapshot()::text")
        return position

    async def _since(self, connection: Connection) -> Changes:
        now = asyncio.get_running_loop().time()
        if now - self.looked_at > LONGEST_GAP_S or self.server != await server(connection):
            position = await self._here(connection)
            rows = await connection.fetch("SELECT id FROM content JOIN content_ids USING (key)")
            return Changes([unescape(row["id"]) for row in rows], position, True)
        rows = await connection.fetch(
            """WITH here AS MATERIALIZED (SELECT pg_current_snapshot()::text AS position)
            SELECT position, id FROM here LEFT JOIN content_changes
            ON changed >= pg_snapshot_xmin($1::text::pg_snapshot)
                AND NOT pg_visible_in_snapshot(changed, $1::text::pg_snapshot)""",
            self.position,
        )
        self.looked_at = now
        ids = [unescape(row["id"]) for row in rows if row["id"] is not None]
        return Changes(ids, rows[0]["position"], False)

    async def _listen(self) -> None:
        if self._connections.pooler != "none" or self._connections.away is not None:
            return
        if self._listening is not None and not self._listening.is_closed():
            return
        with suppress(StoreError, OSError):
            connection = await self._connections.connect()
            try:
                await connection.add_listener(CHANGED, lambda *_: self._wake.set())
                await connection.add_listener(experiment_tables.CHANGED, lambda *_: self._experiments.set())
            except Exception:
                connection.terminate()
                return
            self._listening = connection
            self._wake.set()  # what was changed before it listened
            self._experiments.set()


async def _next(event: asyncio.Event, longest_s: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), longest_s)
    event.clear()


async def server(connection: Connection) -> str:
    """Which server and database this is: transaction numbers of another, or of an earlier state of it, mean something
    else, and so do those in tables that were filled from a backup."""
    found: str = await connection.fetchval(
        "SELECT (SELECT system_identifier FROM pg_control_system())::text || '.' || "
        "(SELECT timeline_id FROM pg_control_checkpoint())::text || '.' || "
        "(SELECT oid FROM pg_database WHERE datname = current_database())::text || '.' || "
        "'content_changes'::regclass::oid::text"
    )
    return found
