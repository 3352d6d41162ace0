"""Statements on content and its vectors."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.store.errors import StoreCorrupt
from runtime.store.records import (
    Content,
    ContentItem,
    Embedding,
    PutOutcome,
    Unchanged,
    Vectors,
)
from runtime.store.sqlite import totals
from runtime.store.sqlite.checksums import CONTENT, damaged, row_checksum, seal_content
from runtime.store.sqlite.connection import any_text
from runtime.store.sqlite.readable import is_utf8, report

_COLUMNS = """i.id, c.fields, c.embedding, b.model_version, b.digest, c.tokens, c.truncated, i.popularity,
    c.created_us, c.updated_us, c.hidden, c.bundle, c.checksum, c.key"""
_TABLES = "content c JOIN content_ids i USING (key) JOIN bundles b ON b.key = c.bundle"

CURE = "store it again"
_CONTENT = ", ".join(f"c.{column}" for column in CONTENT.split(", "))

# One statement for many ids takes 9 µs an id, one for each 14.
MOST_IDS = 64
_VECTORS_BYTES = 1 << 19  # fields read at once with vectors
_FIND_EMBEDDINGS = f"""SELECT i.id, c.key, c.embedding, c.vector_checksum FROM content_ids i JOIN content c USING (key)
    WHERE i.id IN ({", ".join("?" * MOST_IDS)})"""


def put(connection: sqlite3.Connection, items: Sequence[ContentItem], now_us: int) -> list[PutOutcome]:
    """Insert or replace items, see `Store.put_content`. One outcome an item, in order."""
    outcomes: list[PutOutcome] = []
    for item in items:
        connection.execute("INSERT INTO content_ids (id) VALUES (?) ON CONFLICT DO NOTHING", (item.id,))
        (key,) = connection.execute("SELECT key FROM content_ids WHERE id = ?", (item.id,)).fetchone()
        old = connection.execute("SELECT embedding FROM content WHERE key = ?", (key,)).fetchone()
        embedding = encode(item.embedding)
        connection.execute(
            """INSERT INTO content (key, bundle, tokens, truncated, created_us, updated_us, fields, embedding)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (key) DO UPDATE SET bundle = excluded.bundle, tokens = excluded.tokens,
                truncated = excluded.truncated, updated_us = max(updated_us, excluded.updated_us),
                fields = excluded.fields, embedding = excluded.embedding""",
            (
                key,
                bundle_key(connection, item.bundle_digest, item.model_version),
                item.tokens,
                item.truncated,
                now_us,
                now_us,
                item.fields,
                embedding,
            ),
        )
        seal_content(connection, key)
        if old is None or old[0] != embedding:
            _mark_stale(connection, key)
        outcomes.append("created" if old is None else "replaced")
    totals.change(connection, "content", outcomes.count("created"))
    return outcomes


def replace_vectors(connection: sqlite3.Connection, vectors: Sequence[ContentItem]) -> list[bool]:
    """What was read a while ago is compared in the transaction that writes: who came between keeps what they did."""
    return [_replace_vector(connection, one) for one in vectors]


def _replace_vector(connection: sqlite3.Connection, new: ContentItem) -> bool:
    row = connection.execute(
        "SELECT key, embedding FROM content JOIN content_ids USING (key) WHERE id = ? AND fields = ?",
        (new.id, new.fields),
    ).fetchone()
    if row is None:
        return False
    key, old = row
    embedding = encode(new.embedding)
    bundle = bundle_key(connection, new.bundle_digest, new.model_version)
    connection.execute(
        "UPDATE content SET bundle = ?, tokens = ?, truncated = ?, embedding = ? WHERE key = ?",
        (bundle, new.tokens, new.truncated, embedding, key),
    )
    seal_content(connection, key)
    if old != embedding:
        _mark_stale(connection, key)
    return True


def delete(connection: sqlite3.Connection, id: str) -> bool:
    """Delete an item; False if it was not there. Interactions with it stay."""
    row = connection.execute("SELECT key FROM content JOIN content_ids USING (key) WHERE id = ?", (id,)).fetchone()
    if row is None:
        return False
    _mark_stale(connection, row[0])
    connection.execute("DELETE FROM content WHERE key = ?", row)
    totals.change(connection, "content", -1)
    delete_unused_id(connection, row[0])
    return True


def hide(connection: sqlite3.Connection, id: str, hidden: bool) -> bool:
    """Set or clear an item's `hidden`; False if it is not there."""
    row = connection.execute("SELECT key FROM content JOIN content_ids USING (key) WHERE id = ?", (id,)).fetchone()
    if row is None:
        return False
    connection.execute("UPDATE content SET hidden = ? WHERE key = ?", (hidden, row[0]))
    seal_content(connection, row[0])
    return True


def hidden(connection: sqlite3.Connection, ids: Sequence[str]) -> set[str]:
    find = "SELECT hidden FROM content JOIN content_ids USING (key) WHERE id = ?"
    return {id for id in ids if (row := connection.execute(find, (id,)).fetchone()) is not None and row[0]}


def delete_unused_id(connection: sqlite3.Connection, key: int) -> None:
    """Drop a content id that neither content nor log uses."""
    connection.execute(
        """DELETE FROM content_ids WHERE key = ?1 AND NOT EXISTS (SELECT 1 FROM content WHERE key = ?1)
        AND NOT EXISTS (SELECT 1 FROM interactions WHERE content = ?1)""",
        (key,),
    )


def bundle_key(connection: sqlite3.Connection, digest: str, model_version: str) -> int:
    """The key of a bundle in the table `bundles`, where it is added if it is new."""
    bundle = (digest, model_version)
    find = "SELECT key FROM bundles WHERE digest = ? AND model_version = ?"
    row = connection.execute(find, bundle).fetchone()
    if row is None:
        connection.execute("INSERT INTO bundles (digest, model_version) VALUES (?, ?)", bundle)
        row = connection.execute(find, bundle).fetchone()
    return int(row[0])


def get(connection: sqlite3.Connection, id: str) -> Content | None:
    """See Store.get_content."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM {_TABLES} WHERE i.id = ?", (id,)).fetchone()
    return None if row is None else _content(row)


def unchanged(
    connection: sqlite3.Connection, items: Sequence[tuple[str, bytes]], bundle_digest: str
) -> dict[str, Unchanged]:
    """By id, of items (id, fields) that are stored with these fields and a vector of this bundle."""
    same = {}
    for id, fields in items:
        row = connection.execute(
            f"""SELECT c.tokens, c.truncated, b.model_version FROM {_TABLES} WHERE i.id = ? AND b.digest = ?
            AND c.fields = ? AND c.checksum = row_checksum({_CONTENT})""",
            (id, bundle_digest, fields),
        ).fetchone()
        if row is not None:  # a damaged one is stored again
            same[id] = Unchanged(row[0], bool(row[1]), row[2])
    return same


def page(connection: sqlite3.Connection, after: int, limit: int, max_bytes: int) -> tuple[list[Content], int | None]:
    """Visible items after a key, about `max_bytes` at most, and the `after` of the next page, None at the end."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM {_TABLES} WHERE c.key > ? AND c.hidden = 0 ORDER BY c.key LIMIT ?",
        (after, limit + 1),
    )
    return _page(rows, after, limit, max_bytes)


def _page(rows: sqlite3.Cursor, after: int, limit: int, max_bytes: int) -> tuple[list[Content], int | None]:
    """Rows are read one by one, so that what does not fit is never held."""
    found: list[Content] = []
    size, last = 0, after
    seen = 0
    for row in rows:
        size += len(row[1])
        if seen == limit or (found and size > max_bytes):
            rows.close()  # an open statement would keep the log from being emptied
            return found, last
        seen, last = seen + 1, row[-1]
        try:
            found.append(_content(row))
        except StoreCorrupt as error:  # one item does not hide the others
            report(f"item {row[0]!r}", str(error))
    return found, None


def of_other_bundles(
    connection: sqlite3.Connection, bundle_digest: str, after: int, limit: int, max_bytes: int
) -> tuple[list[Content], int | None]:
    """As `page`, of the items whose vector another bundle made."""
    rows = connection.execute(
        f"""SELECT {_COLUMNS} FROM {_TABLES} WHERE c.key IN (
            SELECT key FROM content WHERE bundle IN (SELECT key FROM bundles WHERE digest <> ?) AND key > ?
            ORDER BY key LIMIT ?) ORDER BY c.key""",
        (bundle_digest, after, limit + 1),
    )
    return _page(rows, after, limit, max_bytes)


def without_room(connection: sqlite3.Connection, bundle_digest: str, after: int, limit: int) -> list[tuple[int, str]]:
    """Keys and ids, after a key, of items that a catalogue of this bundle leaves out: hidden, or of others."""
    return connection.execute(
        """SELECT key, id FROM content_ids WHERE key IN (
            SELECT key FROM (SELECT key FROM content INDEXED BY content_hidden
                WHERE hidden <> 0 AND key > ?1 ORDER BY key LIMIT ?3)
            UNION SELECT key FROM (SELECT key FROM content INDEXED BY content_bundle
                WHERE bundle IN (SELECT key FROM bundles WHERE digest <> ?2) AND key > ?1 ORDER BY key LIMIT ?3))
        ORDER BY key LIMIT ?3""",
        (after, bundle_digest, limit),
    ).fetchall()


def bundles(connection: sqlite3.Connection, digest: str) -> list[int]:
    """The keys of a bundle: one for each model version that it was stored with."""
    return [key for (key,) in connection.execute("SELECT key FROM bundles WHERE digest = ?", (digest,)).fetchall()]


def vectors(connection: sqlite3.Connection, bundle: int, after: int, rows: int) -> tuple[Vectors, int] | None:
    """A page of a bundle's vectors and the `after` of the next one; None after the last. It ends early where the fields
    are long."""
    found = connection.execute(
        """SELECT key, id, fields, embedding, vector_checksum FROM content JOIN content_ids USING (key)
        WHERE bundle = ? AND key > ? AND hidden = 0 ORDER BY key LIMIT ?""",
        (bundle, after, rows),
    )
    last, size = None, 0
    ids: list[str] = []
    fields: list[bytes] = []
    vectors: list[Embedding] = []
    with any_text(connection):
        for last, id, its_fields, blob, checksum in found:
            if row_checksum(last, blob) != checksum or not is_utf8(id):
                report(f"item {id!r}", "its vector or id is damaged; store it again")
                continue
            ids.append(id)
            fields.append(its_fields)
            vectors.append(decode(blob))
            size += len(its_fields)
            if size > _VECTORS_BYTES:
                break
        found.close()
    if last is None:
        return None
    return Vectors(ids, fields, np.stack(vectors) if vectors else np.empty((0, 0), np.float32)), last


def embeddings(connection: sqlite3.Connection, ids: Sequence[str]) -> list[tuple[str, Embedding]]:
    """Of at most MOST_IDS ids."""
    rows = connection.execute(_FIND_EMBEDDINGS, [*ids, *[None] * (MOST_IDS - len(ids))]).fetchall()
    return [(id, whole_vector(id, key, blob, checksum)) for id, key, blob, checksum in rows]


def encode(embedding: Embedding) -> bytes:
    """float32 little-endian, as vectors are stored."""
    return embedding.astype("<f4", copy=False).tobytes()


def decode(blob: bytes) -> Embedding:
    """The inverse of `encode`; read-only."""
    return np.frombuffer(blob, "<f4")


def whole_vector(id: object, key: int, blob: bytes, checksum: int) -> Embedding:
    """The vector of an item. Raises StoreCorrupt."""
    if row_checksum(key, blob) != checksum:
        raise damaged(f"the vector of the item {id!r}", CURE)
    return decode(blob)


def _mark_stale(connection: sqlite3.Connection, key: int) -> None:
    """The sums of everyone who interacted with this content are no longer what the log gives."""
    connection.execute(
        "UPDATE users SET stale = 1 WHERE stale = 0 AND key IN (SELECT user FROM interactions WHERE content = ?)",
        (key,),
    )


def _content(row: tuple[Any, ...]) -> Content:
    """Raises StoreCorrupt."""
    id, fields, embedding, model_version, digest, tokens, truncated, popularity, *others = row
    created_us, updated_us, hidden, bundle, checksum, key = others
    found = row_checksum(key, bundle, tokens, truncated, created_us, updated_us, hidden, fields, embedding)
    if found != checksum:
        raise damaged(f"the item {id!r}", CURE)
    return Content(
        id=id,
        fields=fields,
        embedding=decode(embedding),
        model_version=model_version,
        bundle_digest=digest,
        tokens=tokens,
        truncated=bool(truncated),
        popularity=popularity,
        created_us=created_us,
        updated_us=updated_us,
        hidden=bool(hidden),
    )
