"""Statements on user states and preferences."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.personalization import popularity, user_vector
from runtime.personalization.actions import STRENGTH_OF_CODE
from runtime.personalization.user_vector import Sums
from runtime.store.errors import StoreCorrupt
from runtime.store.records import DeletedUser, Preferences, UserPreferences, UserState
from runtime.store.sqlite import experiment_tables, item_counts, scrub, totals
from runtime.store.sqlite.checksums import damaged, row_checksum, seal_preferences
from runtime.store.sqlite.content_table import bundle_key, decode, delete_unused_id, encode, whole_vector
from runtime.store.sqlite.readable import MOST_AHEAD_US, READABLE, report
from runtime.store.sqlite.tombstones import Tombstones
from runtime.store.sqlite.user_rows import find_or_add_user, store_sums, whole_sums

_STRENGTH_OF_CODE = np.array(list(STRENGTH_OF_CODE.values()), np.int64)
_EVENTS_AT_ONCE = 4096  # Python tuples held while the log is read into arrays, about 0.5 MB
_VECTORS_AT_ONCE = 256

# An index look-up
_LAST_SEQUENCE = "(SELECT max(sequence) FROM interactions WHERE user = users.key)"

_PREFERENCES = """u.id, p.preferences, p.embedding, b.model_version, b.digest, p.updated_us, p.key, p.bundle, p.checksum
    FROM preferences p JOIN users u USING (key) JOIN bundles b ON b.key = p.bundle"""


def get(connection: sqlite3.Connection, user_id: str, dimensions: int, now_us: int) -> UserState | None:
    """See Store.get_user."""
    row = connection.execute(
        f"""SELECT key, interaction_count, {_LAST_SEQUENCE}, last_updated_us, stale, sums, checksum
        FROM users LEFT JOIN user_sums USING (key) WHERE id = ?""",
        (user_id,),
    ).fetchone()
    if row is None:
        return None
    key, count, last_sequence, last_updated_us, stale, blob, checksum = row
    sums = None
    if blob is not None:
        try:
            sums = whole_sums(key, blob, checksum, dimensions)
        except StoreCorrupt as error:
            stale = True
            report("a user's vector", str(error))
    if sums is not None and sums.reference_us > now_us + MOST_AHEAD_US:  # written by a clock that was wrong
        stale = True
    return UserState(
        interaction_count=count,
        last_sequence=last_sequence,
        last_updated_us=last_updated_us,
        sums=sums,
        stale=bool(stale),
    )


def rebuild(
    connection: sqlite3.Connection, user_id: str, *, dimensions: int, decay_per_day: float, now_us: int
) -> UserState | None:
    """Sum a user's events up anew from the log and store that; None for a user without any."""
    row = connection.execute("SELECT key FROM users WHERE id = ?", (user_id,)).fetchone()
    if row is None:
        return None
    store_sums(connection, row[0], _from_log(connection, row[0], decay_per_day, now_us))
    connection.execute("UPDATE users SET stale = 0 WHERE key = ?", row)
    return get(connection, user_id, dimensions, now_us)


def computed(
    connection: sqlite3.Connection, user_id: str, *, dimensions: int, decay_per_day: float, now_us: int
) -> UserState | None:
    """As `rebuild`, and nothing is stored."""
    row = connection.execute(
        f"SELECT key, interaction_count, {_LAST_SEQUENCE}, last_updated_us FROM users WHERE id = ?", (user_id,)
    ).fetchone()
    if row is None:
        return None
    key, count, last_sequence, last_updated_us = row
    sums = _from_log(connection, key, decay_per_day, now_us)
    return UserState(
        interaction_count=count, last_sequence=last_sequence, last_updated_us=last_updated_us, sums=sums, stale=False
    )


def _from_log(connection: sqlite3.Connection, key: int, decay_per_day: float, now_us: int) -> Sums | None:
    events = _history(connection, key)
    contents, rows = np.unique(events[:, 0], return_inverse=True)
    ahead = events[:, 2] > now_us + MOST_AHEAD_US
    return user_vector.from_log(
        np.where(events[:, 3] < 0, _STRENGTH_OF_CODE[events[:, 1]], events[:, 3]),
        np.where(ahead, now_us, events[:, 2]),
        rows,
        _embeddings(connection, contents),
        decay_per_day=decay_per_day,
    )


def delete(
    connection: sqlite3.Connection, user_id: str, counted: set[str] | None, now_us: int, tombstones: Tombstones
) -> DeletedUser:
    """Delete all rows of a user, and their part of the items' counts; returns how many of each kind. counted: see
    `Store.delete_user`."""
    row = connection.execute("SELECT key FROM users WHERE id = ?", (user_id,)).fetchone()
    if row is None:
        return DeletedUser(0, 0, 0, 0)
    tombstones.add_user(user_id, row[0])
    weights = connection.execute(
        f"""SELECT l.content, l.type, o.strength, count(*) FROM interactions l
        LEFT JOIN own_types o ON o.key = l.own_type WHERE l.user = ? AND {READABLE}
        GROUP BY l.content, l.type, o.strength""",
        row,
    ).fetchall()
    counts: dict[int, popularity.Counts | None] = {}
    for content_key, code, time_us in connection.execute(
        f"SELECT l.content, l.type, l.time_us FROM interactions l WHERE l.user = ? AND {READABLE}", row
    ):
        if STRENGTH_OF_CODE[code]:
            before = counts[content_key] if content_key in counts else item_counts.load(connection, content_key)
            counts[content_key] = None if before is None else popularity.remove(before, time_us)
    if counted is not None:
        keys = msgspec.json.encode(list(counts)).decode()
        rows = connection.execute("SELECT id FROM content_ids WHERE key IN (SELECT value FROM json_each(?))", (keys,))
        counted.update(id for (id,) in rows)
    deleted = experiment_tables.delete_user_exposures(connection, row[0]) | {
        name: connection.execute(f"DELETE FROM {name} WHERE {column} = ?", row).rowcount
        for name, column in (("interactions", "user"), ("user_sums", "key"), ("preferences", "key"), ("users", "key"))
    }
    for content_key, code, own, events in weights:
        connection.execute(
            "UPDATE content_ids SET popularity = popularity - ? WHERE key = ?",
            ((STRENGTH_OF_CODE[code] if own is None else own) * events, content_key),
        )
        delete_unused_id(connection, content_key)
    for content_key, count in counts.items():
        item_counts.store(connection, content_key, count, now_us=now_us)
    scrub.request_scrub(connection)
    for name in ("interactions", "preferences", "users"):
        totals.change(connection, name, -deleted[name])
    return DeletedUser(**deleted)


def put_preferences(connection: sqlite3.Connection, user_id: str, preferences: Preferences, now_us: int) -> None:
    key, _ = find_or_add_user(connection, user_id)
    known = connection.execute("SELECT 1 FROM preferences WHERE key = ?", (key,)).fetchone()
    connection.execute(
        """INSERT INTO preferences (key, bundle, updated_us, preferences, embedding) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (key) DO UPDATE SET bundle = excluded.bundle, updated_us = excluded.updated_us,
            preferences = excluded.preferences, embedding = excluded.embedding""",
        (
            key,
            bundle_key(connection, preferences.bundle_digest, preferences.model_version),
            now_us,
            msgspec.json.encode(preferences.preferences),
            encode(preferences.embedding),
        ),
    )
    seal_preferences(connection, key)
    totals.change(connection, "preferences", 0 if known else 1)


def replace_preference_vector(connection: sqlite3.Connection, user_id: str, preferences: Preferences) -> bool:
    bundle = bundle_key(connection, preferences.bundle_digest, preferences.model_version)
    row = connection.execute(
        "SELECT key FROM preferences WHERE key = (SELECT key FROM users WHERE id = ?) AND preferences = ?",
        (user_id, msgspec.json.encode(preferences.preferences)),
    ).fetchone()
    if row is None:
        return False
    connection.execute(
        "UPDATE preferences SET bundle = ?, embedding = ? WHERE key = ?",
        (bundle, encode(preferences.embedding), row[0]),
    )
    seal_preferences(connection, row[0])
    return True


def get_preferences(connection: sqlite3.Connection, user_id: str) -> Preferences | None:
    row = connection.execute(f"SELECT {_PREFERENCES} WHERE u.id = ?", (user_id,)).fetchone()
    return None if row is None else _preferences(row).preferences


def preferences_of_other_bundles(
    connection: sqlite3.Connection, bundle_digest: str, after: int, limit: int
) -> tuple[list[UserPreferences], int | None]:
    keys = connection.execute(
        """SELECT key FROM preferences WHERE bundle IN (SELECT key FROM bundles WHERE digest <> ?) AND key > ?
        ORDER BY key LIMIT ?""",
        (bundle_digest, after, limit),
    ).fetchall()
    rows = [connection.execute(f"SELECT {_PREFERENCES} WHERE p.key = ?", key).fetchone() for key in keys]
    found: list[UserPreferences] = []
    for row in rows:
        try:
            found.append(_preferences(row))
        except StoreCorrupt as error:
            report("preferences", str(error))
    return found, keys[-1][0] if len(keys) == limit else None


def _history(connection: sqlite3.Connection, key: int) -> NDArray[np.int64]:
    """The user's events whose content has a vector: int64 [events, 4] of content key, type code, time_us, and the
    strength of its own type, −1 for none."""
    cursor = connection.execute(
        f"""SELECT l.content, l.type, l.time_us, coalesce(o.strength, -1) FROM interactions l
        LEFT JOIN own_types o ON o.key = l.own_type
        WHERE l.user = ? AND EXISTS (SELECT 1 FROM content c WHERE c.key = l.content) AND {READABLE}""",
        (key,),
    )
    parts = [np.empty((0, 4), np.int64)]
    while rows := cursor.fetchmany(_EVENTS_AT_ONCE):
        parts.append(np.array(rows, np.int64))
    return np.concatenate(parts)


def _embeddings(connection: sqlite3.Connection, keys: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    """Vectors of the content `keys` (ascending, all present), float32 [k, dimensions] at a time."""
    for start in range(0, len(keys), _VECTORS_AT_ONCE):
        wanted = msgspec.json.encode(keys[start : start + _VECTORS_AT_ONCE].tolist()).decode()
        rows = connection.execute(
            """SELECT key, embedding, vector_checksum FROM content
            WHERE key IN (SELECT value FROM json_each(?)) ORDER BY key""",
            (wanted,),
        ).fetchall()
        yield np.stack([whole_vector(f"number {row[0]}", *row) for row in rows])


def _preferences(row: tuple[Any, ...]) -> UserPreferences:
    """Raises StoreCorrupt."""
    user_id, preferences, embedding, model_version, digest, updated_us, key, bundle, checksum = row
    if row_checksum(key, bundle, updated_us, preferences, embedding) != checksum:
        raise damaged(f"what {user_id!r} prefers", "send the preferences again, or delete the user")
    return UserPreferences(
        user_id,
        Preferences(
            preferences=msgspec.json.decode(preferences, type=list[str]),
            embedding=decode(embedding),
            model_version=model_version,
            bundle_digest=digest,
            updated_us=updated_us,
        ),
    )
