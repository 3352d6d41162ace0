"""What the stored sums were computed with; where the code or the settings now say otherwise, they are stale, or counted
again."""

import sqlite3

import msgspec
import numpy as np

from runtime.personalization import popularity
from runtime.personalization.actions import STRENGTH_OF_CODE, STRENGTHS, InteractionType
from runtime.store.errors import StoreError
from runtime.store.sqlite import item_counts
from runtime.store.sqlite.item_counts import ENGAGED

_EVENTS_AT_ONCE = 4096  # Python tuples held while the log is read, about 0.5 MB


class Formula(msgspec.Struct, frozen=True):
    """A version of the formulas by which stored sums were made: at another one they are rebuilt from the log."""

    dimensions: int
    decay_per_day: float
    strengths: dict[InteractionType, int]
    half_lives_hours: tuple[float, ...] = ()


def reconcile(connection: sqlite3.Connection, *, dimensions: int, decay_per_day: float) -> bool:
    """Bring the database in line with these settings; True if user states became stale by it.

    Raises StoreError when it holds vectors of other dimensions.
    """
    wanted = Formula(dimensions, decay_per_day, STRENGTHS, popularity.HALF_LIVES_HOURS)
    stale = False
    connection.execute("BEGIN IMMEDIATE")
    try:
        row = connection.execute("SELECT json FROM formula").fetchone()
        found = None if row is None else msgspec.json.decode(row[0], type=Formula)
        if found is not None and found != wanted:
            if found.dimensions != dimensions:
                raise StoreError(
                    f"the database holds {found.dimensions}-d vectors and the model makes {dimensions}-d ones; start "
                    "with the model it was made with, or choose another data directory"
                )
            if found.half_lives_hours != wanted.half_lives_hours:
                _count_decayed(connection)
            stale = msgspec.structs.replace(found, half_lives_hours=wanted.half_lives_hours) != wanted
            if stale:
                connection.execute("UPDATE users SET stale = 1 WHERE interaction_count > 0")
            if found.strengths != wanted.strengths:
                _count_popularity(connection)
        if found != wanted:  # otherwise nothing is written, so that a start works on a full volume
            connection.execute("INSERT OR REPLACE INTO formula VALUES (1, ?)", (msgspec.json.encode(wanted),))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return stale


def _count_decayed(connection: sqlite3.Connection) -> None:
    """The decayed counts of all content, from the log in its order."""
    keys = [key for (key,) in connection.execute("SELECT key FROM content_ids ORDER BY key")]
    counts = popularity.no_counts(len(keys))
    events = connection.execute(
        f"SELECT content, time_us FROM interactions WHERE type IN ({ENGAGED}) ORDER BY sequence"
    )
    while rows := events.fetchmany(_EVENTS_AT_ONCE):
        content, times_us = np.array(rows, np.int64).T
        popularity.add_all(counts, np.searchsorted(keys, content), times_us)
    connection.execute("UPDATE content_ids SET counts = NULL")
    connection.executemany(
        "UPDATE content_ids SET counts = ? WHERE key = ?",
        [
            (item_counts.seal(keys[row], counts[row]), keys[row])
            for row in np.flatnonzero(counts[:, -1] > -np.inf).tolist()
        ],
    )


def _count_popularity(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TEMP TABLE strengths (type INTEGER PRIMARY KEY, strength INTEGER NOT NULL)")
    connection.executemany("INSERT INTO strengths VALUES (?, ?)", STRENGTH_OF_CODE.items())
    connection.execute(
        """UPDATE content_ids SET popularity = (SELECT coalesce(sum(coalesce(o.strength, s.strength)), 0)
        FROM interactions l JOIN strengths s USING (type) LEFT JOIN own_types o ON o.key = l.own_type
        WHERE l.content = content_ids.key)"""
    )
    connection.execute("DROP TABLE strengths")
