"""Statements on the marks of deleted events: see runtime/store/tombstones.py.

Whoever adds an event reads them once the rows of its users are locked: a deletion by another machine has ended then, or
begins afterwards and finds the event.
"""

from collections.abc import Sequence

from runtime.store.postgres.connections import Connection
from runtime.store.postgres.context import Context
from runtime.store.postgres.ids import unescape
from runtime.store.records import Interaction
from runtime.store.tombstones import EXPIRED_AT_ONCE, MOST_EVENTS_OF_USER, event_mark, is_retry


async def refused(connection: Connection, context: Context, events: Sequence[Interaction], now_us: int) -> list[bool]:
    """Of each event, whether it is a late retry of one that was deleted."""
    marks = [event_mark(context.tombstone_key, event.user_id, event.event_id) for event in events]
    rows = await connection.fetch(
        "SELECT mark, time_us FROM tombstones WHERE mark = ANY($1::bytea[]) AND deleted_us >= $2",
        marks,
        context.tombstones.since_us(now_us),
    )
    times_us = dict(rows)
    return [mark in times_us and is_retry(event, times_us[mark]) for event, mark in zip(events, marks, strict=True)]


async def add_event(
    connection: Connection, context: Context, user_id: str, event_id: str, time_us: int, now_us: int
) -> None:
    """Remember an event that was taken back."""
    await _add(connection, context, user_id, [(event_id, time_us)], now_us)


async def add_user(connection: Connection, context: Context, user_id: str, key: int, now_us: int) -> None:
    """Remember the newest events and exposures of a user who is about to be deleted."""
    for statement in (
        'SELECT event_id, time_us FROM interactions WHERE "user" = $1 ORDER BY sequence DESC LIMIT $2',
        'SELECT ranking_id, time_us FROM exposures WHERE "user" = $1 ORDER BY sequence DESC LIMIT $2',
    ):
        rows = await connection.fetch(statement, key, MOST_EVENTS_OF_USER)
        await _add(connection, context, user_id, [(unescape(id), time_us) for id, time_us in rows], now_us)


async def _add(
    connection: Connection, context: Context, user_id: str, events: Sequence[tuple[str, int]], now_us: int
) -> None:
    limits = context.tombstones
    if not limits.seconds:
        return
    await connection.execute(
        """INSERT INTO tombstones SELECT mark, time_us, $3 FROM unnest($1::bytea[], $2::bigint[]) e (mark, time_us)
        ORDER BY mark ON CONFLICT (mark) DO UPDATE SET time_us = excluded.time_us, deleted_us = excluded.deleted_us""",
        [event_mark(context.tombstone_key, user_id, event_id) for event_id, _ in events],
        [time_us for _, time_us in events],
        now_us,
    )
    # Rows that another machine removes at the moment are left to it
    await connection.execute(
        """DELETE FROM tombstones WHERE mark IN (
            SELECT mark FROM tombstones WHERE deleted_us < $1 ORDER BY deleted_us LIMIT $2 FOR UPDATE SKIP LOCKED)""",
        limits.since_us(now_us),
        EXPIRED_AT_ONCE,
    )
    rows = await connection.fetchval("SELECT count(*) FROM tombstones")
    if rows > limits.rows:
        await connection.execute(
            """DELETE FROM tombstones WHERE mark IN (
                SELECT mark FROM tombstones ORDER BY deleted_us LIMIT $1 FOR UPDATE SKIP LOCKED)""",
            rows - limits.rows,
        )
