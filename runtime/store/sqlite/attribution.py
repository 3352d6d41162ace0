"""Which ranking an interaction answers."""

import sqlite3

from runtime.store.attribution import CLOCK_GRAIN_US, EXPOSURES_LOOKED_AT, shown_in_items
from runtime.store.records import Interaction


def answered_exposure(connection: sqlite3.Connection, user_key: int, event: Interaction) -> int | None:
    """The sequence of the exposure that an event answers: the one it names, or the last that showed its content among
    the user's last few; None where there is none."""
    if event.ranking_id is not None:
        row = connection.execute(
            "SELECT sequence FROM exposures WHERE ranking_id = ? AND user = ?", (event.ranking_id, user_key)
        ).fetchone()
    else:
        shown = shown_in_items(event.content_id)
        row = connection.execute(
            """SELECT sequence FROM exposures WHERE user = ?1 AND instr(items, ?2) AND time_us <= ?3
                AND sequence >= coalesce(
                    (SELECT sequence FROM exposures WHERE user = ?1 ORDER BY sequence DESC LIMIT 1 OFFSET ?4), 0)
            ORDER BY sequence DESC LIMIT 1""",
            (user_key, shown, event.time_us + CLOCK_GRAIN_US, EXPOSURES_LOOKED_AT - 1),
        ).fetchone()
    return None if row is None else row[0]
