"""What changed of the content since a catalogue in files was last in step with it: see runtime/catalog/files.py.

Triggers list the ids, in the very transaction that changes the content, while there are files that are kept: a row in
`catalog_files` says which.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

from runtime.store.records import FilesState

Read = Callable[..., Any]
Write = Callable[[Callable[[sqlite3.Connection], None]], Awaitable[None]]


class SqliteCatalogLog:
    """See `protocol.CatalogLog`."""

    def __init__(self, read: Read, write: Write) -> None:
        self._read = read
        self._write = write

    def state(self) -> FilesState | None:
        return self._read(_state)  # type: ignore[no-any-return]

    def change(self) -> int:
        return self._read(_change)  # type: ignore[no-any-return]

    def changed(self, most: int) -> list[str] | None:
        return self._read(_changed, most)  # type: ignore[no-any-return]

    def items(self, bundle_digest: str) -> int:
        return self._read(_items, bundle_digest)  # type: ignore[no-any-return]

    async def begin(self, identity: str) -> None:
        await self._write(lambda connection: _begin(connection, identity))

    async def done(self, change: int) -> None:
        await self._write(lambda connection: _done(connection, change))

    async def end(self) -> None:
        if self.state() is not None:  # otherwise nothing is written, so that a start works on a full volume
            await self._write(_end)


def create(connection: sqlite3.Connection) -> None:
    """Tables and triggers: part of a migration."""
    connection.execute(
        """CREATE TABLE catalog_files (
            one INTEGER PRIMARY KEY CHECK (one = 1), identity TEXT NOT NULL, change INTEGER NOT NULL)"""
    )
    connection.execute("CREATE TABLE catalog_changes (id TEXT PRIMARY KEY, change INTEGER NOT NULL) WITHOUT ROWID")
    for name, event, key in (
        ("content_added", "INSERT", "NEW.key"),
        ("content_changed", "UPDATE OF bundle, fields, embedding, hidden", "NEW.key"),
        ("content_deleted", "DELETE", "OLD.key"),
    ):
        connection.execute(
            f"""CREATE TRIGGER {name} AFTER {event} ON content WHEN EXISTS (SELECT 1 FROM catalog_files) BEGIN
                UPDATE catalog_files SET change = change + 1;
                INSERT INTO catalog_changes
                    SELECT i.id, f.change FROM content_ids i, catalog_files f WHERE i.key = {key}
                    ON CONFLICT (id) DO UPDATE SET change = excluded.change;
            END"""
        )
    # What a catalogue leaves out is found without reading all of the content
    connection.execute("CREATE INDEX content_hidden ON content (key) WHERE hidden <> 0")


def forget(connection: sqlite3.Connection) -> None:
    """Make a copy of the database no longer the one that any files are of."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'catalog_files'").fetchone():
        connection.execute("PRAGMA secure_delete = ON").fetchall()
        _end(connection)


def _state(connection: sqlite3.Connection) -> FilesState | None:
    row = connection.execute("SELECT identity, change FROM catalog_files").fetchone()
    return None if row is None else FilesState(*row)


def _change(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT change FROM catalog_files").fetchone()
    return 0 if row is None else int(row[0])


def _changed(connection: sqlite3.Connection, most: int) -> list[str] | None:
    found = connection.execute("SELECT id FROM catalog_changes LIMIT ?", (most + 1,)).fetchall()
    return None if len(found) > most else [id for (id,) in found]


def _items(connection: sqlite3.Connection, bundle_digest: str) -> int:
    (count,) = connection.execute(
        """SELECT (SELECT count(*) FROM content WHERE bundle IN (SELECT key FROM bundles WHERE digest = ?1))
        - (SELECT count(*) FROM content INDEXED BY content_hidden
            WHERE hidden <> 0 AND bundle IN (SELECT key FROM bundles WHERE digest = ?1))""",
        (bundle_digest,),
    ).fetchone()
    return int(count)


def _begin(connection: sqlite3.Connection, identity: str) -> None:
    connection.execute("DELETE FROM catalog_changes")
    connection.execute(
        """INSERT INTO catalog_files VALUES (1, ?, 1)
        ON CONFLICT (one) DO UPDATE SET identity = excluded.identity, change = change + 1""",
        (identity,),
    )


def _done(connection: sqlite3.Connection, change: int) -> None:
    connection.execute("DELETE FROM catalog_changes WHERE change <= ?", (change,))


def _end(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM catalog_files")
    connection.execute("DELETE FROM catalog_changes")
