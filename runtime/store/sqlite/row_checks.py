"""Rows looked at again and again while the server runs, a few at a time.

Most readers check what they read. Those that read many events at once do not: the checksums of 256 take 2 ms, what they
read 0.06 ms. So damage of these, and of the index that they read from, is found by this within the time of a pass.
"""

import sqlite3

from runtime.store.sqlite.checksums import TABLES, row_checksum
from runtime.store.sqlite.connection import any_text
from runtime.store.sqlite.readable import report

_MOST_ITEMS = 4  # at once: one can have 250 KB
_IN_INDEX = """SELECT content, type FROM interactions INDEXED BY interactions_recent
    WHERE user = ? AND time_us = ? AND sequence = ?"""


class RowChecks:
    """Where a pass over all rows is. A pass begins again when it has ended."""

    def __init__(self) -> None:
        self._table = 0  # a position in TABLES
        self._after = -(2**63)

    def step(self, connection: sqlite3.Connection, rows: int) -> None:
        """Look at the next rows, at most so many, and report those that are damaged."""
        table, checksum, columns, name = TABLES[self._table]
        limit = min(rows, _MOST_ITEMS) if table == "content" else rows
        with any_text(connection):
            found = connection.execute(
                f"SELECT rowid, {checksum}, {columns} FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT ?",
                (self._after, limit),
            ).fetchall()
            for key, stored, *row in found:
                if row_checksum(*row) != stored:
                    named = connection.execute(name, (key,)).fetchone()
                    report(f"{table} of {named[0] if named else key!r} ({checksum})", "it is damaged on the disk")
                elif table == "interactions":
                    _check_index(connection, key, *row[:5])
        self._after = found[-1][0] if found else self._after
        if len(found) < limit:
            self._table, self._after = (self._table + 1) % len(TABLES), -(2**63)


def _check_index(
    connection: sqlite3.Connection, sequence: int, event_id: str, user: int, content: int, type: int, time_us: int
) -> None:
    if connection.execute(_IN_INDEX, (user, time_us, sequence)).fetchone() != (content, type):
        report(f"event {event_id!r} in the index of histories", "it is damaged on the disk")
