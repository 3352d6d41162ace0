"""A user's row and decayed sums."""

import sqlite3

from runtime.personalization.user_vector import Sums
from runtime.store.sqlite import totals
from runtime.store.sqlite.checksums import damaged, row_checksum


def load_sums(connection: sqlite3.Connection, user_key: int, dimensions: int) -> Sums | None:
    """A user's decayed sums, None without any. Raises StoreCorrupt."""
    row = connection.execute("SELECT sums, checksum FROM user_sums WHERE key = ?", (user_key,)).fetchone()
    return None if row is None else whole_sums(user_key, row[0], row[1], dimensions)


def whole_sums(user_key: int, sums: bytes, checksum: int, dimensions: int) -> Sums:
    """Decoded. Raises StoreCorrupt."""
    if row_checksum(user_key, sums) != checksum:
        raise damaged("a user's vector", "it is computed from the log again")
    return Sums.decode(sums, dimensions)


def store_sums(connection: sqlite3.Connection, user_key: int, sums: Sums | None) -> None:
    """Replace a user's decayed sums; None deletes them."""
    if sums is None:
        connection.execute("DELETE FROM user_sums WHERE key = ?", (user_key,))
    else:
        connection.execute(
            """INSERT INTO user_sums (key, sums, checksum) VALUES (?, ?, ?)
            ON CONFLICT (key) DO UPDATE SET sums = excluded.sums, checksum = excluded.checksum""",
            (user_key, blob := sums.encode(), row_checksum(user_key, blob)),
        )


def find_or_add_user(connection: sqlite3.Connection, user_id: str) -> tuple[int, bool]:
    """The user's key and whether the sums are stale."""
    find = "SELECT key, stale FROM users WHERE id = ?"
    row = connection.execute(find, (user_id,)).fetchone()
    if row is None:
        connection.execute("INSERT INTO users (id) VALUES (?)", (user_id,))
        totals.change(connection, "users", 1)
        row = connection.execute(find, (user_id,)).fetchone()
    key, stale = row
    return key, bool(stale)
