"""Statements on the marks of what was deleted: see runtime/store/tombstones.py.

Whoever adds an event reads them once the rows of its users are locked: a deletion by another machine has ended then, or
begins afterwards and finds the event.
"""

from collections.abc import Sequence

from runtime.store.postgres.connections import Connection
from runtime.store.postgres.context import Context
from runtime.store.postgres.ids import unescape
from runtime.store.records import Interaction
from runtime.store.tombstones import EXPIRED_AT_ONCE, MOST_EVENTS_OF_USER, event_mark, user_mark


async def refused(connection: Connection, context: Context, events: Sequence[Interaction], now_us: int) -> list[bool]:
    """Of each event, whether it was taken back, or was its user's, who was deleted after it."""
    key = context.tombstone_key
    marks = [(event_mark(key, event.user_id, event.event_id), user_mark(key, event.user_id)) for event in events]
    rows = await connection.fetch(
        "SELECT mark, deleted_us FROM tombstones WHERE mark = ANY($1::bytea[]) AND deleted_us >= $2",
        list({mark for pair in marks for mark in pair}), context.tombstones.since_us(now_us),
    )  # fmt: skip
    deleted_us = dict(rows)
    return [
        of_event in deleted_us or (event.timed and event.time_us <= deleted_us.get(of_user, event.time_us - 1))
        for event, (of_event, of_user) in zip(events, marks, strict=True)
    ]


async def add_event(connection: Connection, context: Context, user_id: str, event_id: str, now_us: int) -> None:
    """Remember an event that was taken back."""
    await _add(connection, context, [event_mark(context.tombstone_key, user_id, event_id)], now_us)


async def add_user(connection: Connection, context: Context, user_id: str, key: int | None, now_us: int) -> None:
    """Remember a user who is about to be deleted, and the newest events that `key` has."""
    events = [] if key is None else await connection.fetch(
        'SELECT event_id FROM interactions WHERE "user" = $1 ORDER BY sequence DESC LIMIT $2', key, MOST_EVENTS_OF_USER
    )  # fmt: skip
    marks = [event_mark(context.tombstone_key, user_id, unescape(row["event_id"])) for row in events]
    await _add(connection, context, [*marks, user_mark(context.tombstone_key, user_id)], now_us)


async def _add(connection: Connection, context: Context, marks: Sequence[bytes], now_us: int) -> None:
    limits = context.tombstones
    if not limits.seconds:
        return
    await connection.execute(
        """INSERT INTO tombstones SELECT mark, $2 FROM unnest($1::bytea[]) mark ORDER BY mark
        ON CONFLICT (mark) DO UPDATE SET deleted_us = greatest(tombstones.deleted_us, excluded.deleted_us)""",
        marks, now_us,
    )  # fmt: skip
    # Rows that another machine removes at the moment are left to it
    await connection.execute(
        """DELETE FROM tombstones WHERE mark IN (
            SELECT mark FROM tombstones WHERE deleted_us < $1 ORDER BY deleted_us LIMIT $2 FOR UPDATE SKIP LOCKED)""",
        limits.since_us(now_us), EXPIRED_AT_ONCE,
    )  # fmt: skip
    rows = await connection.fetchval("SELECT count(*) FROM tombstones")
    if rows > limits.rows:
        await connection.execute(
            """DELETE FROM tombstones WHERE mark IN (
                SELECT mark FROM tombstones ORDER BY deleted_us LIMIT $1 FOR UPDATE SKIP LOCKED)""",
            rows - limits.rows,
        )
