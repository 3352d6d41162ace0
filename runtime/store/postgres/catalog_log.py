"""What changed of the content since a catalogue in files on this machine was last in step with it.

The position of the change feed says it: see feed.py. Other machines know nothing of these files, so nothing is written
for them, and they are made again where they are older than changes are kept.
"""

import asyncio
import math
from collections.abc import Sequence

from runtime.store.postgres.connections import Connection, Connections
from runtime.store.postgres.feed import LONGEST_GAP_S, PostgresFeed, server
from runtime.store.postgres.ids import unescape
from runtime.store.records import Content, FilesChanges, FilesMark

# Not hidden and of a bundle ($1), by indexes and sums alone
_RANKED = """(SELECT sum(content)::bigint FROM totals) - (SELECT count(*) FROM content WHERE hidden)
    - (SELECT count(*) FROM content WHERE NOT hidden AND bundle IN (SELECT key FROM bundles WHERE digest <> $1))"""


class PostgresCatalogLog:
    """See `protocol.CatalogLog`. A mark's number is of this machine alone: it rises with each mark."""

    alone = False

    def __init__(self, connections: Connections, feed: PostgresFeed) -> None:
        """feed: has begun before anything is read into the files, and is followed."""
        self._connections = connections
        self._feed = feed
        self._change = 1

    def change(self) -> int:
        return self._change

    async def begin(self) -> None:
        """The feed has begun."""

    async def since(self, mark: FilesMark, bundle_digest: str, most: int) -> FilesChanges | str:
        async def read(connection: Connection) -> FilesChanges | str:
            return await _since(connection, mark, bundle_digest, most)

        self._change = mark.change + 1
        return await self._connections.read("reading changes", read)

    async def mark(self) -> FilesMark:
        now_s = await self._connections.read("reading the time", _now_s)
        age_s = math.ceil(asyncio.get_running_loop().time() - self._feed.looked_at)
        mark = FilesMark(self._feed.server, self._change, f"{now_s - age_s} {self._feed.position}")
        self._change += 1
        return mark

    async def done(self, mark: FilesMark) -> None:
        """Changes are kept for all machines."""

    async def end(self) -> None:
        """Nothing is kept for the files."""

    async def contents(self, ids: Sequence[str]) -> list[Content]:
        return await self._feed.contents(ids)


async def _now_s(connection: Connection) -> int:
    """By the database's clock, as changes are kept by it."""
    now: int = await connection.fetchval("SELECT extract(epoch FROM now())::bigint")
    return now


async def _since(connection: Connection, mark: FilesMark, digest: str, most: int) -> FilesChanges | str:
    if mark.identity != await server(connection):
        return "they are not of this database"
    made_at_s, _, snapshot = mark.position.partition(" ")
    age_s = await _now_s(connection) - int(made_at_s)
    if age_s > LONGEST_GAP_S:
        return f"they are {age_s / 3600:.0f} hours old, and changes are kept for {LONGEST_GAP_S / 3600:.0f}"
    ids, unchanged = await connection.fetchrow(
        f"""WITH changed AS MATERIALIZED (SELECT id FROM content_changes
            WHERE changed >= pg_snapshot_xmin($2::text::pg_snapshot)
                AND NOT pg_visible_in_snapshot(changed, $2::text::pg_snapshot) LIMIT $3)
        SELECT array(SELECT id FROM changed), {_RANKED} - (
            SELECT count(*) FROM changed JOIN content_ids USING (id) JOIN content c USING (key)
            WHERE NOT c.hidden AND c.bundle IN (SELECT key FROM bundles WHERE digest = $1))""",
        digest, snapshot, most + 1,
    )  # fmt: skip
    if len(ids) > most:
        return f"more than {most} items have changed since"
    return FilesChanges([unescape(id) for id in ids], unchanged)
