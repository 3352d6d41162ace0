"""Events that a clock which was ahead has stamped: found, and given the time at which they can have happened.

A later event would never outweigh one from the future, and its user's vector would stay where it is. The server counts
such events as of now; this changes what is stored, once.
"""

import sqlite3
from asyncio import wrap_future
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from runtime.store.clock_repair import ROWS_AT_ONCE, AheadEvent, Repaired
from runtime.store.sqlite import item_counts
from runtime.store.sqlite.checksums import EVENT, seal_content, seal_preferences
from runtime.store.sqlite.connection import any_text, open_reader, translated
from runtime.store.sqlite.store import SqliteStore

T = TypeVar("T")


def events_ahead(path: Path, *, now_us: int, skew_us: int) -> Iterator[AheadEvent]:
    """Those of the database at `path` that are more than `skew_us` ahead, in the order in which they came. Changes
    nothing, and a server may be using it. Raises StoreError."""
    with translated("looking for events that are ahead"), closing(open_reader(path)) as connection:
        after = 0
        while page := _page(connection, after, now_us=now_us, skew_us=skew_us):
            yield from page
            after = page[-1].sequence


async def repair(data_dir: Path, *, now_us: int, skew_us: int, dimensions: int, decay_per_day: float) -> Repaired:
    """Give events that are ahead the time of their arrival, or this moment where that is ahead too, and compute from
    the log again what they were counted in; likewise other times that are ahead. In pages, each in a transaction of its
    own: an interrupted repair is continued by another one. No server may be running. Raises StoreError."""
    store = SqliteStore(data_dir, dimensions=dimensions, decay_per_day=decay_per_day)
    try:
        events = 0
        while True:
            done = await _in_transaction(store, lambda connection: _repair_page(connection, now_us, skew_us))
            events += done
            if done < ROWS_AT_ONCE:
                break
        rest = await _in_transaction(store, lambda connection: _repair_rest(connection, now_us, skew_us))
    finally:
        await store.close()
    return Repaired(events, *rest)


async def _in_transaction(store: SqliteStore, apply: Callable[[sqlite3.Connection], T]) -> T:
    return await wrap_future(store.writer.submit(apply, bytes=1, alone=True))


def _page(connection: sqlite3.Connection, after: int, *, now_us: int, skew_us: int) -> list[AheadEvent]:
    with any_text(connection):
        rows = connection.execute(
            """SELECT sequence, event_id, time_us, received_us FROM interactions
            WHERE sequence > ?1 AND (time_us > ?2 OR received_us > ?2) ORDER BY sequence LIMIT ?3""",
            (after, now_us + skew_us, ROWS_AT_ONCE),
        ).fetchall()
    return [AheadEvent.of(*row, now_us=now_us, skew_us=skew_us) for row in rows]


def _repair_page(connection: sqlite3.Connection, now_us: int, skew_us: int) -> int:
    page = _page(connection, 0, now_us=now_us, skew_us=skew_us)
    touched: set[int] = set()
    for event in page:
        user, content = connection.execute(
            "SELECT user, content FROM interactions WHERE sequence = ?", (event.sequence,)
        ).fetchone()
        connection.execute(
            "UPDATE interactions SET time_us = ?, received_us = ? WHERE sequence = ?",
            (event.new_time_us, event.new_received_us, event.sequence),
        )
        connection.execute(
            f"UPDATE interactions SET checksum = row_checksum({EVENT}) WHERE sequence = ?", (event.sequence,)
        )
        connection.execute("UPDATE users SET stale = 1 WHERE key = ?", (user,))
        touched.add(content)
    for content in sorted(touched):
        item_counts.store(connection, content, None, now_us=now_us)
    return len(page)


def _repair_rest(connection: sqlite3.Connection, now_us: int, skew_us: int) -> tuple[int, int, int]:
    """Times of users, items and preferences that are ahead become this moment."""
    limit_us = now_us + skew_us
    users = connection.execute(
        "UPDATE users SET last_updated_us = ?, stale = 1 WHERE last_updated_us > ?", (now_us, limit_us)
    ).rowcount
    items = connection.execute(
        "SELECT key FROM content WHERE created_us > ?1 OR updated_us > ?1", (limit_us,)
    ).fetchall()
    for (key,) in items:
        connection.execute(
            "UPDATE content SET created_us = min(created_us, ?1), updated_us = min(updated_us, ?1) WHERE key = ?2",
            (now_us, key),
        )
        seal_content(connection, key)
    preferences = connection.execute("SELECT key FROM preferences WHERE updated_us > ?", (limit_us,)).fetchall()
    for (key,) in preferences:
        connection.execute("UPDATE preferences SET updated_us = ? WHERE key = ?", (now_us, key))
        seal_preferences(connection, key)
    return users, len(items), len(preferences)
