"""Statements on user states and preferences."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.personalization import user_vector
from runtime.personalization.actions import STRENGTH_OF_CODE
from runtime.personalization.user_vector import Sums
from runtime.store.postgres import tombstones
from runtime.store.postgres.connections import Connection
from runtime.store.postgres.content_table import bundle_key, delete_unused_ids
from runtime.store.postgres.context import Context, count
from runtime.store.postgres.experiment_tables import delete_user_exposures
from runtime.store.postgres.ids import escape, unescape
from runtime.store.postgres.interaction_log import remove_from_totals
from runtime.store.postgres.user_rows import lock_or_add_users
from runtime.store.records import DeletedUser, Preferences, UserPreferences, UserState

_STRENGTH_OF_CODE = np.array(list(STRENGTH_OF_CODE.values()), np.int64)
_EVENTS_AT_ONCE = 4096
_VECTORS_AT_ONCE = 256

_PREFERENCES = """u.id, p.preferences, p.embedding, b.model_version, b.digest, p.updated_us, p.key
    FROM preferences p JOIN users u USING (key) JOIN bundles b ON b.key = p.bundle"""


async def get(connection: Connection, context: Context, user_id: str) -> UserState | None:
    """See Store.get_user."""
    row = await connection.fetchrow(
        """SELECT interaction_count, (SELECT max(sequence) FROM interactions WHERE "user" = users.key),
            last_updated_us, stale OR (formula <> $2 AND interaction_count > 0), sums
        FROM users LEFT JOIN user_sums USING (key) WHERE id = $1""",
        escape(user_id), context.formula,
    )  # fmt: skip
    if row is None:
        return None
    events, last_sequence, last_updated_us, stale, sums = row
    return UserState(
        interaction_count=events,
        last_sequence=last_sequence,
        last_updated_us=last_updated_us,
        sums=None if sums is None else Sums.decode(sums, context.dimensions),
        stale=stale,
    )


async def rebuild(connection: Connection, context: Context, user_id: str) -> UserState | None:
    """See Store.rebuild_user. Within a transaction."""
    key = await connection.fetchval("SELECT key FROM users WHERE id = $1 FOR NO KEY UPDATE", escape(user_id))
    if key is None:
        return None
    sums = await sums_from_log(connection, context, key)
    if sums is None:
        await connection.execute("DELETE FROM user_sums WHERE key = $1", key)
    else:
        await connection.execute(
            "INSERT INTO user_sums (key, sums) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET sums = excluded.sums",
            key, sums.encode(),
        )  # fmt: skip
    await connection.execute("UPDATE users SET stale = false, formula = $2 WHERE key = $1", key, context.formula)
    return await get(connection, context, user_id)


async def sums_from_log(connection: Connection, context: Context, key: int) -> Sums | None:
    """The sums of a user who is locked, so that none of their content changes meanwhile."""
    events = await _history(connection, key)
    contents, rows = np.unique(events[:, 0], return_inverse=True)
    sums: Sums | None = None
    for start in range(0, len(contents), _VECTORS_AT_ONCE):
        some = contents[start : start + _VECTORS_AT_ONCE]
        theirs = (rows >= start) & (rows < start + len(some))
        part = user_vector.from_log(
            np.where(events[theirs, 3] < 0, _STRENGTH_OF_CODE[events[theirs, 1]], events[theirs, 3]),
            events[theirs, 2],
            rows[theirs] - start,
            [await _embeddings(connection, context, some)],
            decay_per_day=context.decay_per_day,
        )
        sums = user_vector.merged(sums, part, decay_per_day=context.decay_per_day)
    return sums


async def delete(
    connection: Connection, context: Context, user_id: str, counted: set[str] | None, now_us: int
) -> DeletedUser:
    """See Store.delete_user. Within a transaction."""
    key = await connection.fetchval("SELECT key FROM users WHERE id = $1 FOR UPDATE", escape(user_id))
    if key is None:
        return DeletedUser(0, 0, 0, 0)
    await tombstones.add_user(connection, context, user_id, key, now_us)
    removed: dict[int, tuple[list[int], int]] = {}
    after = -1
    while rows := await connection.fetch(
        'SELECT sequence, content, type, time_us, own_strength FROM interactions WHERE "user" = $1 AND sequence > $2 '
        "ORDER BY sequence LIMIT $3",
        key, after, _EVENTS_AT_ONCE,
    ):  # fmt: skip
        for after, content, code, time_us, own in rows:  # noqa: B007 - the last is where the next page begins
            times_us, weight = removed.get(content, ([], 0))
            if strength := STRENGTH_OF_CODE[code] if own is None else own:
                times_us.append(time_us)
            removed[content] = times_us, weight + strength
    deleted = await delete_user_exposures(connection, context, key)
    for name, column in (("interactions", '"user"'), ("user_sums", "key"), ("preferences", "key"), ("users", "key")):
        status = await connection.execute(f"DELETE FROM {name} WHERE {column} = $1", key)
        deleted[name] = int(status.split()[-1])
    await remove_from_totals(connection, removed)
    if counted is not None:
        engaged = [key for key, (times_us, _) in removed.items() if times_us]
        rows = await connection.fetch("SELECT id FROM content_ids WHERE key = ANY($1::bigint[])", engaged)
        counted.update(unescape(row["id"]) for row in rows)
    await delete_unused_ids(connection, list(removed))
    for name in ("interactions", "preferences", "users"):
        await count(connection, context, name, -deleted[name])
    return DeletedUser(**deleted)


async def put_preferences(
    connection: Connection, context: Context, user_id: str, preferences: Preferences, now_us: int
) -> None:
    users = await lock_or_add_users(connection, context, {escape(user_id)})
    (user,) = users.values()
    added = await connection.fetchval(
        """INSERT INTO preferences (key, bundle, updated_us, preferences, embedding) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (key) DO UPDATE SET bundle = excluded.bundle, updated_us = excluded.updated_us,
            preferences = excluded.preferences, embedding = excluded.embedding RETURNING xmax = 0""",
        user.key,
        await bundle_key(connection, preferences.bundle_digest, preferences.model_version),
        now_us,
        msgspec.json.encode(preferences.preferences),
        context.column.encode(preferences.embedding),
    )
    await count(connection, context, "users", int(user.created))
    await count(connection, context, "preferences", int(added))


async def get_preferences(connection: Connection, context: Context, user_id: str) -> Preferences | None:
    row = await connection.fetchrow(f"SELECT {_PREFERENCES} WHERE u.id = $1", escape(user_id))
    return None if row is None else _preferences(context, row).preferences


async def replace_preference_vector(
    connection: Connection, context: Context, user_id: str, preferences: Preferences
) -> bool:
    status = await connection.execute(
        """UPDATE preferences SET bundle = $1, embedding = $2
        WHERE key = (SELECT key FROM users WHERE id = $3) AND preferences = $4""",
        await bundle_key(connection, preferences.bundle_digest, preferences.model_version),
        context.column.encode(preferences.embedding),
        escape(user_id),
        msgspec.json.encode(preferences.preferences),
    )
    return bool(status != "UPDATE 0")


async def preferences_of_other_bundles(
    connection: Connection, context: Context, bundle_digest: str, after: int, limit: int
) -> tuple[list[UserPreferences], int | None]:
    rows = await connection.fetch(
        f"""SELECT {_PREFERENCES} WHERE p.bundle IN (SELECT key FROM bundles WHERE digest <> $1) AND p.key > $2
        ORDER BY p.key LIMIT $3""",
        bundle_digest, after, limit,
    )  # fmt: skip
    following = rows[-1]["key"] if len(rows) == limit else None
    return [_preferences(context, row) for row in rows], following


async def _history(connection: Connection, key: int) -> NDArray[np.int64]:
    """The user's events whose content has a vector: int64 [events, 4] of content key, type code, time_us, and the
    strength of its own type, −1 for none."""
    parts = [np.empty((0, 4), np.int64)]
    after = -1
    while rows := await connection.fetch(
        """SELECT l.sequence, l.content, l.type, l.time_us, coalesce(l.own_strength, -1) FROM interactions l
        WHERE l."user" = $1 AND l.sequence > $2 AND EXISTS (SELECT 1 FROM content c WHERE c.key = l.content)
        ORDER BY l.sequence LIMIT $3""",
        key, after, _EVENTS_AT_ONCE,
    ):  # fmt: skip
        after = rows[-1]["sequence"]
        parts.append(np.array([row[1:] for row in rows], np.int64))
    return np.concatenate(parts)


async def _embeddings(connection: Connection, context: Context, keys: NDArray[np.int64]) -> NDArray[np.float32]:
    """Vectors of the content `keys` (ascending, all present), float32 [k, dimensions]."""
    rows = await connection.fetch(
        "SELECT embedding FROM content WHERE key = ANY($1::bigint[]) ORDER BY key", keys.tolist()
    )
    return np.stack([context.column.decode(row["embedding"]) for row in rows])


def _preferences(context: Context, row: Any) -> UserPreferences:
    user_id, preferences, embedding, model_version, digest, updated_us, _ = row
    return UserPreferences(
        unescape(user_id),
        Preferences(
            preferences=msgspec.json.decode(preferences, type=list[str]),
            embedding=context.column.decode(embedding),
            model_version=model_version,
            bundle_digest=digest,
            updated_us=updated_us,
        ),
    )
