"""Row counts kept in step with the rows, so that asking for them costs the same for 10 rows and 1,000,000."""

import sqlite3

import msgspec

from runtime.store.records import Counts


def change(connection: sqlite3.Connection, name: str, by: int) -> None:
    """Add to a total, in the same transaction as the rows that it counts."""
    if by:
        connection.execute("UPDATE totals SET rows = rows + ? WHERE name = ?", (by, name))


def change_exposures(connection: sqlite3.Connection, rows: int, bytes: int) -> None:
    """As `change`, of exposures and the bytes that they hold."""
    if rows or bytes:
        connection.execute(
            """UPDATE totals SET rows = rows + CASE name WHEN 'exposures' THEN ? ELSE ? END
            WHERE name IN ('exposures', 'exposure_bytes')""",
            (rows, bytes),
        )


def read(connection: sqlite3.Connection) -> Counts:
    """All totals: no table is scanned."""
    return msgspec.convert(dict(connection.execute("SELECT name, rows FROM totals").fetchall()), Counts)
