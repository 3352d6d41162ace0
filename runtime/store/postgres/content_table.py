"""Statements that change content. Rows are locked in one order by every machine, so that none waits in a circle:
content ids, users (each by id), then popularity and counts (by key), then row counts."""

from collections.abc import Sequence

from runtime.store.errors import StoreError
from runtime.store.postgres.connections import Connection
from runtime.store.postgres.context import Context, count
from runtime.store.postgres.ids import escape, escape_all
from runtime.store.records import ContentItem, PutOutcome

CHANGED = "vows_content"  # the channel that wakes those who follow
_ROUNDS = 10


async def put(connection: Connection, context: Context, items: Sequence[ContentItem], now_us: int) -> list[PutOutcome]:
    """See Store.put_content. Within a transaction."""
    ids = escape_all(item.id for item in items)
    keys = await _lock_or_add_ids(connection, list(dict.fromkeys(ids)))
    stored = await connection.fetch(
        "SELECT key, embedding FROM content WHERE key = ANY($1::bigint[])", list(keys.values())
    )
    old: dict[int, bytes] = {row["key"]: row["embedding"] for row in stored}
    bundles = {
        version: await bundle_key(connection, *version)
        for version in {(item.bundle_digest, item.model_version) for item in items}
    }
    outcomes: list[PutOutcome] = []
    changed: set[int] = set()
    rows = []
    for id, item in zip(ids, items, strict=True):
        key, embedding = keys[id], context.column.encode(item.embedding)
        outcomes.append("replaced" if key in old else "created")
        if old.get(key) != embedding:
            changed.add(key)
        old[key] = embedding
        bundle = bundles[item.bundle_digest, item.model_version]
        rows.append((key, bundle, item.tokens, item.truncated, now_us, item.fields, embedding))
    await connection.executemany(
        """INSERT INTO content (key, bundle, tokens, truncated, created_us, updated_us, fields, embedding)
        VALUES ($1, $2, $3, $4, $5, $5, $6, $7)
        ON CONFLICT (key) DO UPDATE SET bundle = excluded.bundle, tokens = excluded.tokens,
            truncated = excluded.truncated, updated_us = greatest(content.updated_us, excluded.updated_us),
            fields = excluded.fields, embedding = excluded.embedding""",
        rows,
    )
    await _mark_stale(connection, changed)
    await _changed(connection, ids)
    await count(connection, context, "content", outcomes.count("created"))
    return outcomes


async def replace_vectors(connection: Connection, context: Context, vectors: Sequence[ContentItem]) -> list[bool]:
    """What was read a while ago is compared in the transaction that writes: who came between keeps what they did."""
    rows = await connection.fetch(
        "SELECT id, key FROM content_ids WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE",
        escape_all(one.id for one in vectors),
    )
    keys = {row["id"]: row["key"] for row in rows}
    outcomes, changed = [], set()
    for one in vectors:
        key, embedding = keys.get(escape(one.id)), context.column.encode(one.embedding)
        old = await connection.fetchval("SELECT embedding FROM content WHERE key = $1 AND fields = $2", key, one.fields)
        outcomes.append(old is not None)
        if key is None or old is None:
            continue
        await connection.execute(
            "UPDATE content SET bundle = $2, tokens = $3, truncated = $4, embedding = $5 WHERE key = $1",
            key, await bundle_key(connection, one.bundle_digest, one.model_version), one.tokens, one.truncated,
            embedding,
        )  # fmt: skip
        if old != embedding:
            changed.add(key)
    await _mark_stale(connection, changed)
    await _changed(connection, escape_all(one.id for one, done in zip(vectors, outcomes, strict=True) if done))
    return outcomes


async def delete(connection: Connection, context: Context, id: str) -> bool:
    """See Store.delete_content. Within a transaction."""
    key = await _lock_content(connection, id)
    if key is None:
        return False
    await _mark_stale(connection, {key})
    await connection.execute("DELETE FROM content WHERE key = $1", key)
    await delete_unused_ids(connection, [key])
    await _changed(connection, [escape(id)])
    await count(connection, context, "content", -1)
    return True


async def hide(connection: Connection, id: str, hidden: bool) -> bool:
    """See Store.hide_content. Within a transaction."""
    key = await _lock_content(connection, id)
    if key is None:
        return False
    await connection.execute("UPDATE content SET hidden = $2 WHERE key = $1", key, hidden)
    await _changed(connection, [escape(id)])
    return True


async def delete_unused_ids(connection: Connection, keys: Sequence[int]) -> None:
    """Drop content ids that neither content nor log uses; one that another transaction is about to use stays."""
    await connection.execute(
        """DELETE FROM content_ids WHERE key IN (
            SELECT key FROM content_ids i WHERE key = ANY($1::bigint[])
            AND NOT EXISTS (SELECT 1 FROM content c WHERE c.key = i.key)
            AND NOT EXISTS (SELECT 1 FROM interactions l WHERE l.content = i.key)
            FOR UPDATE SKIP LOCKED)""",
        keys,
    )


async def bundle_key(connection: Connection, digest: str, model_version: str) -> int:
    """The key of a bundle's row, which is made where there is none."""
    find = "SELECT key FROM bundles WHERE digest = $1 AND model_version = $2"
    key = await connection.fetchval(find, digest, model_version)
    if key is None:
        await connection.execute(
            "INSERT INTO bundles (digest, model_version) VALUES ($1, $2) ON CONFLICT DO NOTHING", digest, model_version
        )
        key = await connection.fetchval(find, digest, model_version)
    return int(key)


async def _lock_or_add_ids(connection: Connection, ids: list[str]) -> dict[str, int]:
    """The keys of content ids, new ones in the order of `ids`, locked against everyone who uses or changes them."""
    for _ in range(_ROUNDS):  # one that was there may be deleted by who held it
        rows = await connection.fetch(
            "SELECT id, key FROM content_ids WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE", ids
        )
        keys = {row["id"]: row["key"] for row in rows}
        missing = [id for id in ids if id not in keys]
        if not missing:
            return keys
        await connection.execute(
            """WITH new AS (
                INSERT INTO content_ids (key, id) OVERRIDING SYSTEM VALUE
                SELECT key, id FROM (
                    SELECT nextval(pg_get_serial_sequence('content_ids', 'key')) AS key, id FROM unnest($1::text[]) id
                ) numbered ORDER BY id ON CONFLICT DO NOTHING RETURNING key)
            INSERT INTO content_totals (key) SELECT key FROM new""",
            missing,
        )
    raise StoreError(f"{len(missing)} items are created and deleted at once; repeat the request")


async def _lock_content(connection: Connection, id: str) -> int | None:
    """The key of content that is there, locked against everyone who uses or changes it."""
    key = await connection.fetchval("SELECT key FROM content_ids WHERE id = $1 FOR UPDATE", escape(id))
    if key is None or await connection.fetchval("SELECT 1 FROM content WHERE key = $1", key) is None:
        return None
    return int(key)


async def _mark_stale(connection: Connection, keys: set[int]) -> None:
    """The sums of everyone who interacted with this content are no longer what the log gives."""
    if not keys:
        return
    # Also those that are stale already: who computes their sums again at this moment has read the old vector.
    users = await connection.fetch(
        """SELECT key FROM users WHERE key IN (SELECT "user" FROM interactions WHERE content = ANY($1::bigint[]))
        ORDER BY id FOR NO KEY UPDATE""",
        list(keys),
    )
    if users:
        await connection.execute(
            "UPDATE users SET stale = true WHERE key = ANY($1::bigint[]) AND NOT stale", [row["key"] for row in users]
        )


async def _changed(connection: Connection, ids: Sequence[str]) -> None:
    """Tell the other machines, once this is committed."""
    await connection.execute(
        """INSERT INTO content_changes (id, changed, at)
        SELECT DISTINCT id, pg_current_xact_id(), now() FROM unnest($1::text[]) id ORDER BY id
        ON CONFLICT (id) DO UPDATE SET changed = excluded.changed, at = excluded.at""",
        ids,
    )
    await connection.execute("SELECT pg_notify($1, '')", CHANGED)
