"""Checksums of rows: what is read is what was written, or the reader says that it is damaged.

A CRC-32 of a row's columns is stored beside them. SQLite finds damage only where it makes a page unreadable; a flipped
bit in a vector, a text or a time it returns as it is. It takes 0.6 µs for a vector.
"""

import sqlite3
import struct
from zlib import crc32

from runtime.store.errors import StoreCorrupt

_INT = struct.Struct("<q")


def row_checksum(*columns: object) -> int:
    """CRC-32 of a row's columns: integers, texts, blobs and nulls, each with its kind and length."""
    checksum = 0
    for column in columns:
        if isinstance(column, bytes):
            checksum = crc32(column, crc32(b"b%d" % len(column), checksum))
        elif isinstance(column, int):
            checksum = crc32(_INT.pack(column), checksum)
        elif column is None:
            checksum = crc32(b"n", checksum)
        else:
            text = str(column).encode("utf-8", "surrogatepass")
            checksum = crc32(text, crc32(b"t%d" % len(text), checksum))
    return checksum


# The columns under each checksum, in the order in which they are hashed.
CONTENT = "key, bundle, tokens, truncated, created_us, updated_us, hidden, fields, embedding"
VECTOR = "key, embedding"
PREFERENCES = "key, bundle, updated_us, preferences, embedding"
SUMS = "key, sums"
EVENT = "event_id, user, content, type, time_us, received_us, duration_ms, device, context, own_type"

# table, checksum's column, its columns, what names a row to people
TABLES = (
    ("content", "checksum", CONTENT, "SELECT id FROM content_ids WHERE key = ?"),
    ("content", "vector_checksum", VECTOR, "SELECT id FROM content_ids WHERE key = ?"),
    ("preferences", "checksum", PREFERENCES, "SELECT id FROM users WHERE key = ?"),
    ("user_sums", "checksum", SUMS, "SELECT id FROM users WHERE key = ?"),
    ("interactions", "checksum", EVENT, "SELECT event_id FROM interactions WHERE sequence = ?"),
)


REMEDY = "stop the server and restore a backup: `vows-edge restore FILE --replace`"


def damaged(what: str, cure: str) -> StoreCorrupt:
    """The error for a row whose checksum is another; `cure` is what mends this row alone."""
    return StoreCorrupt(f"{what} is damaged on the disk: its checksum is not the one stored; {cure}, or {REMEDY}")


def register(connection: sqlite3.Connection) -> None:
    """Make `row_checksum` a function of statements on this connection."""
    connection.create_function("row_checksum", -1, row_checksum, deterministic=True)


def seal_content(connection: sqlite3.Connection, key: int) -> None:
    """Store the checksums of an item, after any change of it."""
    connection.execute(
        f"""UPDATE content SET checksum = row_checksum({CONTENT}), vector_checksum = row_checksum({VECTOR})
        WHERE key = ?""",
        (key,),
    )


def seal_preferences(connection: sqlite3.Connection, key: int) -> None:
    """As `seal_content`."""
    connection.execute(f"UPDATE preferences SET checksum = row_checksum({PREFERENCES}) WHERE key = ?", (key,))
