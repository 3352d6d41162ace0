"""What changed of the content since a catalogue in files was last in step with it: see runtime/catalog/files.py.

Triggers list the ids, in the very transaction that changes the content, while there are files that are kept: a row in
`catalog_files` says which.
"""

import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from runtime.store.records import Content, FilesChanges, FilesMark
from runtime.store.sqlite import content_table

Read = Callable[..., Any]
Write = Callable[[Callable[[sqlite3.Connection], None]], Awaitable[None]]


class SqliteCatalogLog:
    """See `protocol.CatalogLog`. A mark's number is that of the last change, which counts in the database."""

    alone = True  # the store holds the data folder's lock

    def __init__(self, read: Read, write: Write) -> None:
        self._read = read
        self._write = write

    def change(self) -> int:
        return self._read(_change)  # type: ignore[no-any-return]

    async def begin(self) -> None:
        identity = secrets.token_hex(16)
        await self._write(lambda connection: _begin(connection, identity))

    async def since(self, mark: FilesMark, bundle_digest: str, most: int) -> FilesChanges | str:
        now = await self.mark()
        if now.identity != mark.identity:
            return "they are not of this database"
        if mark.change > now.change:
            return f"they hold change {mark.change} of the database, whose last is {now.change}"
        changed = self.listed(most)
        if changed is None:
            return f"more than {most} items have changed since"
        return FilesChanges(changed, self._read(_unchanged, bundle_digest))

    def listed(self, most: int) -> list[str] | None:
        """Ids of what changed since `done`; None where there are more than `most`."""
        return self._read(_listed, most)  # type: ignore[no-any-return]

    async def mark(self) -> FilesMark:
        return self._read(_mark)  # type: ignore[no-any-return]

    async def done(self, mark: FilesMark) -> None:
        await self._write(lambda connection: _done(connection, mark.change))

    async def end(self) -> None:
        if (await self.mark()).identity:  # otherwise nothing is written, so that a start works on a full volume
            await self._write(_end)

    async def contents(self, ids: Sequence[str]) -> list[Content]:
        found = [self._read(content_table.get, id) for id in ids]
        return [one for one in found if one is not None]


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


def _mark(connection: sqlite3.Connection) -> FilesMark:
    """Without an identity where there are no files."""
    row = connection.execute("SELECT identity, change FROM catalog_files").fetchone()
    return FilesMark("", 0) if row is None else FilesMark(*row)


def _change(connection: sqlite3.Connection) -> int:
    return _mark(connection).change


def _listed(connection: sqlite3.Connection, most: int) -> list[str] | None:
    found = connection.execute("SELECT id FROM catalog_changes LIMIT ?", (most + 1,)).fetchall()
    return None if len(found) > most else [id for (id,) in found]


def _unchanged(connection: sqlite3.Connection, bundle_digest: str) -> int:
    """By indexes alone: CROSS JOIN keeps the planner from reading all of the content first."""
    (count,) = connection.execute(
        """SELECT (SELECT count(*) FROM content WHERE bundle IN (SELECT key FROM bundles WHERE digest = ?1))
        - (SELECT count(*) FROM content INDEXED BY content_hidden
            WHERE hidden <> 0 AND bundle IN (SELECT key FROM bundles WHERE digest = ?1))
        - (SELECT count(*) FROM catalog_changes a CROSS JOIN content_ids i ON i.id = a.id
            CROSS JOIN content c ON c.key = i.key
            WHERE c.hidden = 0 AND c.bundle IN (SELECT key FROM bundles WHERE digest = ?1))""",
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
