"""Reading the event log: pages of it, a user's part, and what follows from it for items."""

import sqlite3
from collections.abc import Sequence

import msgspec
import numpy as np

from runtime.personalization import popularity as decayed
from runtime.personalization.actions import STRENGTH_OF_CODE, TYPES
from runtime.store.errors import StoreCorrupt
from runtime.store.records import (
    Embedding,
    LoggedInteraction,
    OwnType,
    PastInteraction,
    RecentEvents,
    Seen,
    UserHistory,
)
from runtime.store.sqlite import item_counts
from runtime.store.sqlite.checksums import row_checksum
from runtime.store.sqlite.connection import any_text, is_not_text
from runtime.store.sqlite.content_table import whole_vector
from runtime.store.sqlite.readable import READABLE, is_utf8, problem_of, report

_decode_ids = msgspec.json.Decoder(list[str]).decode


def read(
    connection: sqlite3.Connection, after: int, limit: int, user_id: str | None = None
) -> tuple[list[LoggedInteraction], int | None]:
    """A page of the log without the rows that cannot be read, and the `after` of the next page, None on the last."""
    of_user = "" if user_id is None else "l.user = (SELECT key FROM users WHERE id = ?3) AND"
    statement = f"""
        SELECT l.sequence, l.event_id, u.id, c.id, l.type, l.time_us, l.received_us, l.duration_ms, l.device,
            l.context, e.ranking_id, o.name, o.strength, l.own_type, l.user, l.content, l.checksum
        FROM interactions l JOIN users u ON u.key = l.user JOIN content_ids c ON c.key = l.content
        LEFT JOIN exposures e ON e.sequence = l.exposure LEFT JOIN own_types o ON o.key = l.own_type
        WHERE {of_user} l.sequence > ?1 ORDER BY l.sequence LIMIT ?2"""
    arguments = (after, limit) if user_id is None else (after, limit, user_id)
    try:
        rows = connection.execute(statement, arguments).fetchall()
    except sqlite3.OperationalError as error:
        if not is_not_text(error):
            raise
        with any_text(connection):
            rows = connection.execute(statement, arguments).fetchall()
    logged: list[LoggedInteraction] = []
    for row in rows:
        problem = problem_of(row[4], row[5], row[6], row[9])
        own_type, user, content, checksum = row[13:]
        if problem is None and row_checksum(row[1], user, content, *row[4:10], own_type) != checksum:
            problem = "its checksum is not the one stored"
        if problem is None and not all(map(is_utf8, (row[2], row[3], row[10] or ""))):
            problem = "the id of its user, content or ranking is not UTF-8"
        if problem is not None:
            report(f"event {row[1]!r}", problem)
            continue
        logged.append(
            LoggedInteraction(
                sequence=row[0],
                event_id=row[1],
                user_id=row[2],
                content_id=row[3],
                type=TYPES[row[4]],
                time_us=row[5],
                received_us=row[6],
                duration_ms=row[7],
                device=row[8],
                context=row[9],
                ranking_id=row[10],
                own_type=None if row[11] is None else OwnType(row[11], row[12]),
            )
        )
    return logged, rows[-1][0] if len(rows) == limit else None


def newest(connection: sqlite3.Connection, user_id: str, limit: int) -> UserHistory:
    rows = connection.execute(
        f"""SELECT c.id, l.type, l.time_us, l.duration_ms, l.device, l.context
        FROM interactions l JOIN content_ids c ON c.key = l.content
        WHERE l.user = (SELECT key FROM users WHERE id = ?) AND EXISTS (SELECT 1 FROM content WHERE key = l.content)
            AND {READABLE}
        ORDER BY l.time_us DESC, l.sequence DESC LIMIT ?""",
        (user_id, limit),
    ).fetchall()
    ids, codes, times, durations, devices, contexts = zip(*reversed(rows), strict=True) if rows else ((),) * 6
    return UserHistory(
        content_ids=list(ids),
        action=np.array(codes, np.int8),
        time_us=np.array(times, np.int64),
        duration_ms=np.array(durations, np.float32),  # None becomes NaN
        device=list(devices),
        context=list(contexts),
    )


def recent(connection: sqlite3.Connection, user_id: str, limit: int) -> RecentEvents:
    # As two texts, not as rows: 256 events in 0.10 ms instead of 0.15
    ids, codes = connection.execute(
        f"""SELECT json_group_array(id), group_concat(type, '') FROM (
            SELECT c.id, l.type FROM interactions l JOIN content_ids c ON c.key = l.content
            WHERE l.user = (SELECT key FROM users WHERE id = ?) AND {READABLE}
            ORDER BY l.time_us DESC, l.sequence DESC LIMIT ?)""",
        (user_id, limit),
    ).fetchone()
    digits = np.frombuffer((codes or "").encode(), np.uint8)
    return RecentEvents(_decode_ids(ids)[::-1], (digits[::-1] - ord("0")).astype(np.int8))


def counts_of(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, decayed.Counts]:
    """Decayed counts of at most MOST_IDS ids. Damaged ones are left out and reported."""
    found = connection.execute(
        "SELECT id, key, counts FROM content_ids WHERE id IN (SELECT value FROM json_each(?)) AND counts IS NOT NULL",
        (msgspec.json.encode(ids).decode(),),
    ).fetchall()
    return _readable_counts(found)


def _readable_counts(rows: Sequence[tuple[str, int, bytes]]) -> dict[str, decayed.Counts]:
    counts: dict[str, decayed.Counts] = {}
    for id, key, stored in rows:
        try:
            counts[id] = item_counts.unseal(key, stored)
        except (StoreCorrupt, ValueError) as error:
            report(f"what is popular of item {id!r}", str(error))
    return counts


def engaged_content(
    connection: sqlite3.Connection, after: int, limit: int
) -> tuple[dict[str, decayed.Counts], int | None]:
    found = connection.execute(
        """SELECT id, key, counts FROM content_ids INDEXED BY content_ids_engaged
        WHERE key > ? AND counts IS NOT NULL ORDER BY key LIMIT ?""",
        (after, limit),
    ).fetchall()
    return _readable_counts(found), found[-1][1] if len(found) == limit else None


def seen(connection: sqlite3.Connection, user_id: str, before: int | None, limit: int) -> list[Seen]:
    rows = connection.execute(
        f"""SELECT l.sequence, c.id, l.type, l.time_us FROM interactions l JOIN content_ids c ON c.key = l.content
        WHERE l.user = (SELECT key FROM users WHERE id = ?1) AND (?2 IS NULL OR l.sequence < ?2) AND {READABLE}
        ORDER BY l.sequence DESC LIMIT ?3""",
        (user_id, before, limit),
    ).fetchall()
    return [Seen(sequence, id, TYPES[code], time_us) for sequence, id, code, time_us in rows]


def history(connection: sqlite3.Connection, user_id: str, before: int | None, limit: int) -> list[PastInteraction]:
    rows = connection.execute(
        f"""SELECT l.sequence, l.event_id, i.id, l.type, l.time_us, c.hidden, c.embedding, c.key, c.vector_checksum,
            o.strength, o.name
        FROM interactions l JOIN content c ON c.key = l.content JOIN content_ids i ON i.key = l.content
        LEFT JOIN own_types o ON o.key = l.own_type
        WHERE l.user = (SELECT key FROM users WHERE id = ?1) AND (?2 IS NULL OR l.sequence < ?2) AND {READABLE}
        ORDER BY l.sequence DESC LIMIT ?3""",
        (user_id, before, limit),
    ).fetchall()
    vectors: dict[int, Embedding] = {}
    for row in rows:
        if row[7] not in vectors:
            vectors[row[7]] = whole_vector(row[2], row[7], row[6], row[8])
    return [
        PastInteraction(
            sequence,
            event_id,
            content_id,
            TYPES[code],
            time_us,
            bool(hidden),
            vectors[key],
            STRENGTH_OF_CODE[code] if strength is None else strength,
            name or TYPES[code],
        )
        for sequence, event_id, content_id, code, time_us, hidden, _, key, _, strength, name in rows
    ]
