"""What the stored sums were computed with; where the code or the settings now say otherwise, they are stale."""

import sqlite3

import msgspec

from runtime.personalization.actions import STRENGTHS, TYPES, InteractionType
from runtime.store.errors import StoreError


class Formula(msgspec.Struct, frozen=True):
    dimensions: int
    decay_per_day: float
    strengths: dict[InteractionType, int]


def reconcile(connection: sqlite3.Connection, *, dimensions: int, decay_per_day: float) -> bool:
    """Bring the database in line with these settings; True if user states became stale by it.

    Raises StoreError when it holds vectors of other dimensions.
    """
    wanted = Formula(dimensions, decay_per_day, STRENGTHS)
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
            connection.execute("UPDATE users SET stale = 1 WHERE interaction_count > 0")
            if found.strengths != wanted.strengths:
                _count_popularity(connection)
        connection.execute("INSERT OR REPLACE INTO formula VALUES (1, ?)", (msgspec.json.encode(wanted),))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return found is not None and found != wanted


def _count_popularity(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TEMP TABLE strengths (type INTEGER PRIMARY KEY, strength INTEGER NOT NULL)")
    connection.executemany(
        "INSERT INTO strengths VALUES (?, ?)", [(code, STRENGTHS[type]) for code, type in enumerate(TYPES)]
    )
    connection.execute(
        """UPDATE content_ids SET popularity = (SELECT coalesce(sum(s.strength), 0)
        FROM interactions l JOIN strengths s USING (type) WHERE l.content = content_ids.key)"""
    )
    connection.execute("DROP TABLE strengths")
