"""Which content changed since a machine last looked, whichever machine changed it.

Transactions commit in another order than they began, so "greater than the last number" would lose changes. A position
is a snapshot: the set of transactions that had ended when it was taken. What changed since is what transactions outside
it wrote; a change is seen once its transaction has ended, never before and never left out.
"""

import asyncio
from contextlib import suppress
from typing import NamedTuple

from runtime.store.errors import StoreError
from runtime.store.postgres.connections import Connection, Connections
from runtime.store.postgres.content_table import CHANGED
from runtime.store.postgres.ids import unescape

_KEPT = "1 day"  # of a change
_LONGEST_GAP_S = 12 * 3600.0  # a position that is older is not continued
_TRIM_EVERY = 1200  # looks


class Changes(NamedTuple):
    """`ids` of content that changed, and where to continue. `complete`: the position was lost, and `ids` are those of
    all content; what a machine holds beyond them is gone."""

    ids: list[str]
    position: str
    complete: bool


class ChangeFeed:
    """NOTIFY only wakes: whoever misses one looks at the next interval. Behind a pooler nothing is listened for."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._wake = asyncio.Event()
        self._listening: Connection | None = None
        self._server = ""
        self._looked_at = 0.0
        self._looks = 0

    async def position(self) -> str:
        """Where the feed is now. Raises StoreError."""
        return await self._connections.read("reading", self._position)

    async def since(self, position: str) -> Changes:
        """What changed since `position`. Raises StoreError."""
        return await self._connections.read("reading changes", lambda connection: self._since(connection, position))

    async def wait(self, longest_s: float) -> None:
        """Return when content may have changed, at the latest after `longest_s`."""
        await self._listen()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), longest_s)
        self._wake.clear()

    async def trim(self) -> None:
        """Now and then, forget changes that every machine has seen long ago. Raises StoreError."""
        self._looks += 1
        if self._looks % _TRIM_EVERY == 0:
            await self._connections.transact(
                "trimming changes",
                lambda connection: connection.execute(
                    f"DELETE FROM content_changes WHERE at < now() - interval '{_KEPT}'"
                ),
            )

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.terminate()
            self._listening = None

    async def _position(self, connection: Connection) -> str:
        self._server = await _server(connection)
        self._looked_at = asyncio.get_running_loop().time()
        position: str = await connection.fetchval("SELECT pg_current_snapshot()::text")
        return position

    async def _since(self, connection: Connection, position: str) -> Changes:
        now = asyncio.get_running_loop().time()
        if now - self._looked_at > _LONGEST_GAP_S or self._server != await _server(connection):
            position = await self._position(connection)
            rows = await connection.fetch("SELECT id FROM content JOIN content_ids USING (key)")
            return Changes([unescape(row["id"]) for row in rows], position, True)
        rows = await connection.fetch(
            """WITH here AS MATERIALIZED (SELECT pg_current_snapshot()::text AS position)
            SELECT position, id FROM here LEFT JOIN content_changes
            ON changed >= pg_snapshot_xmin($1::text::pg_snapshot)
                AND NOT pg_visible_in_snapshot(changed, $1::text::pg_snapshot)""",
            position,
        )
        self._looked_at = now
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
            except Exception:
                connection.terminate()
                return
            self._listening = connection
            self._wake.set()  # what was changed before it listened


async def _server(connection: Connection) -> str:
    """Which server this is: transaction numbers of another, or of an earlier state of it, mean something else."""
    found: str = await connection.fetchval(
        "SELECT (SELECT system_identifier FROM pg_control_system())::text || '.' || "
        "(SELECT timeline_id FROM pg_control_checkpoint())::text"
    )
    return found
