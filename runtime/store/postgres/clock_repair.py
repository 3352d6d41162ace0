"""Events that a clock which was ahead has stamped: found, and given the time at which they can have happened.

As in SQLite, see runtime/store/sqlite/clock_repair.py; but machines may serve meanwhile. They keep in memory how
popular items are, so start them again afterwards.
"""

from collections.abc import AsyncIterator

from runtime.personalization import popularity as decayed
from runtime.store.clock_repair import ROWS_AT_ONCE, AheadEvent, Repaired
from runtime.store.postgres.connections import Connection, Connections
from runtime.store.postgres.ids import unescape
from runtime.store.postgres.interaction_log import engaged_times

_AHEAD = """SELECT sequence, event_id, time_us, received_us FROM interactions
    WHERE sequence > $1 AND (time_us > $2 OR received_us > $2) ORDER BY sequence LIMIT $3"""


async def events_ahead(connections: Connections, *, now_us: int, skew_us: int) -> AsyncIterator[AheadEvent]:
    """Those that are more than `skew_us` ahead, in the order in which they came. Changes nothing. Raises StoreError."""
    after = 0

    async def page(connection: Connection) -> list[AheadEvent]:
        rows = await connection.fetch(_AHEAD, after, now_us + skew_us, ROWS_AT_ONCE)
        return [AheadEvent.of(*row, now_us=now_us, skew_us=skew_us) for row in rows]

    while found := await connections.read("looking for events that are ahead", page):
        for event in found:
            yield event._replace(event_id=unescape(event.event_id))
        after = found[-1].sequence


async def repair(connections: Connections, *, now_us: int, skew_us: int) -> Repaired:
    """Give events that are ahead the time of their arrival, or this moment where that is ahead, too; likewise other
    times. Vectors and counts follow from the log. In pages, each in a transaction of its own. Raises StoreError."""

    async def page(connection: Connection) -> int:
        rows = await connection.fetch(_AHEAD, 0, now_us + skew_us, ROWS_AT_ONCE)
        events = [AheadEvent.of(*row, now_us=now_us, skew_us=skew_us) for row in rows]
        await _repair_page(connection, events)
        return len(events)

    async def rest(connection: Connection) -> tuple[int, int, int]:
        return await _repair_rest(connection, now_us, now_us + skew_us)

    events = 0
    while done := await connections.transact("repairing events", page):
        events += done
    return Repaired(events, *await connections.transact("repairing times", rest))


async def _repair_page(connection: Connection, events: list[AheadEvent]) -> None:
    """Locks users by id, then counts by key, as writers do."""
    sequences = [event.sequence for event in events]
    await connection.execute(
        """SELECT 1 FROM users WHERE key IN (SELECT "user" FROM interactions WHERE sequence = ANY($1::bigint[]))
        ORDER BY id FOR NO KEY UPDATE""",
        sequences,
    )
    rows = await connection.fetch(
        """UPDATE interactions l SET time_us = d.time_us, received_us = d.received_us
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS d (sequence, time_us, received_us)
        WHERE l.sequence = d.sequence RETURNING l."user", l.content""",
        sequences, [event.new_time_us for event in events], [event.new_received_us for event in events],
    )  # fmt: skip
    await connection.execute(
        "UPDATE users SET stale = true WHERE key = ANY($1::bigint[])", list({row["user"] for row in rows})
    )
    locked = await connection.fetch(
        "SELECT key FROM content_totals WHERE key = ANY($1::bigint[]) ORDER BY key FOR NO KEY UPDATE",
        list({row["content"] for row in rows}),
    )
    for (key,) in locked:
        times_us = await engaged_times(connection, key)
        counts = decayed.from_log(times_us).tolist() if len(times_us) else None
        await connection.execute("UPDATE content_totals SET counts = $2 WHERE key = $1", key, counts)


async def _repair_rest(connection: Connection, now_us: int, limit_us: int) -> tuple[int, int, int]:
    """Times of users, items and preferences that are ahead become this moment."""
    done = []
    for statement in (
        "UPDATE users SET last_updated_us = $1, stale = true WHERE last_updated_us > $2",
        """UPDATE content SET created_us = least(created_us, $1), updated_us = least(updated_us, $1)
        WHERE created_us > $2 OR updated_us > $2""",
        "UPDATE preferences SET updated_us = $1 WHERE updated_us > $2",
    ):
        status: str = await connection.execute(statement, now_us, limit_us)
        done.append(int(status.split()[-1]))
    return done[0], done[1], done[2]
