"""Statements that change the event log, and what each event changes beside it.

An event's sequence is its transaction's number, then its place in the transaction. Transactions commit in another order
than they began, so the log is shown up to the oldest one that has not ended: below that nothing is added any more, and
a reader who continues after the last sequence misses nothing.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.personalization import popularity as decayed
from runtime.personalization import user_vector
from runtime.personalization.actions import CODES, CODES_WITH_STRENGTH, STRENGTH_OF_CODE, TYPES
from runtime.personalization.user_vector import Sums
from runtime.store.attribution import CLOCK_GRAIN_US, EXPOSURES_LOOKED_AT, shown_in_items
from runtime.store.postgres import tombstones
from runtime.store.postgres.connections import Connection
from runtime.store.postgres.content_table import delete_unused_ids
from runtime.store.postgres.context import Context, count
from runtime.store.postgres.formula import SEQUENCE_BITS
from runtime.store.postgres.ids import escape, escape_all, escape_optional, unescape
from runtime.store.postgres.user_rows import load_sums, lock_or_add_users, store_users
from runtime.store.records import AddOutcome, Embedding, Interaction, OwnType
from runtime.store.repeats import repeated

MOST_EVENTS = 1 << SEQUENCE_BITS  # of one transaction
_HALF_LIVES = len(decayed.HALF_LIVES_HOURS)

# Of an event e (ranking_id, shown, "user", time_us): the sequence of the exposure that it names, or of the last that
# showed its content among the user's last few; NULL where there is none.
_ANSWERED = f"""CASE WHEN ranking_id IS NOT NULL
    THEN (SELECT x.sequence FROM exposures x WHERE x.ranking_id = e.ranking_id AND x."user" = e."user")
    ELSE (SELECT last.sequence FROM (
            SELECT x.sequence, x.time_us, x.items FROM exposures x WHERE x."user" = e."user"
            ORDER BY x.sequence DESC LIMIT {EXPOSURES_LOOKED_AT}) last
        WHERE position(shown IN last.items) > 0 AND last.time_us <= e.time_us + {CLOCK_GRAIN_US}
        ORDER BY last.sequence DESC LIMIT 1) END"""

_INSERT = f"""INSERT INTO interactions
    (sequence, event_id, "user", content, type, time_us, received_us, duration_ms, device, context, own_type,
    own_strength, exposure)
    SELECT ((pg_current_xact_id()::text::bigint + added) << {SEQUENCE_BITS}) + n - 1, event_id, "user", content, type,
        time_us, received_us, duration_ms, device, context, own_type, own_strength, {_ANSWERED}
    FROM log_epoch, unnest($1::text[], $2::bigint[], $3::bigint[], $4::smallint[], $5::bigint[], $6::bigint[],
        $7::bigint[], $8::text[], $9::bytea[], $10::text[], $11::bigint[], $12::text[], $13::bytea[]) WITH ORDINALITY
        AS e (event_id, "user", content, type, time_us, received_us, duration_ms, device, context, own_type,
            own_strength, ranking_id, shown, n)
    ORDER BY event_id ON CONFLICT (event_id) DO NOTHING RETURNING event_id"""

_ADD_TOTALS = f"""WITH locked AS MATERIALIZED (
        SELECT key FROM content_totals WHERE key = ANY($1::bigint[]) ORDER BY key FOR NO KEY UPDATE)
    UPDATE content_totals t SET popularity = t.popularity + d.popularity, counts = vows_add_logs(t.counts, d.counts)
    FROM (SELECT key, popularity, ARRAY[{", ".join(f"c{n}" for n in range(_HALF_LIVES))}] AS counts
        FROM unnest($1::bigint[], $2::bigint[], {", ".join(f"${n + 3}::float8[]" for n in range(_HALF_LIVES))})
        AS e (key, popularity, {", ".join(f"c{n}" for n in range(_HALF_LIVES))})) d
    WHERE t.key = d.key AND t.key IN (SELECT key FROM locked)"""


async def add(
    connection: Connection, context: Context, events: Sequence[Interaction], received_us: Sequence[int]
) -> list[AddOutcome]:
    """Append at most MOST_EVENTS events. received_us: when each came."""
    event_ids = escape_all(event.event_id for event in events)
    content_ids = escape_all(event.content_id for event in events)
    user_ids = escape_all(event.user_id for event in events)
    contents = await _lock_contents(connection, context, set(content_ids))
    taken = await _stored(connection, event_ids)
    fresh = [n for n, event_id in enumerate(event_ids) if event_id not in taken]
    users = await lock_or_add_users(connection, context, {user_ids[n] for n in fresh if content_ids[n] in contents})
    found = await tombstones.refused(connection, context, [events[n] for n in fresh], max(received_us))
    late = {n for n, is_refused in zip(fresh, found, strict=True) if is_refused}
    outcomes: list[AddOutcome] = []
    new: list[int] = []
    for n, event_id in enumerate(event_ids):
        if event_id in taken:
            outcomes.append(repeated(events[n], taken[event_id]))
        elif n in late:
            outcomes.append("deleted")
        elif content_ids[n] not in contents:
            outcomes.append("unknown_content")
        else:
            outcomes.append("stored")
            taken[event_id] = events[n]
            new.append(n)
    await _answer(connection, [e for e, outcome in zip(events, outcomes, strict=True) if outcome == "duplicate"])
    if not users:
        return outcomes
    own_types = [events[n].own_type for n in new]
    inserted = {
        row["event_id"]
        for row in await connection.fetch(
            _INSERT,
            [event_ids[n] for n in new],
            [users[user_ids[n]].key for n in new],
            [contents[content_ids[n]][0] for n in new],
            [CODES[events[n].type] for n in new],
            [events[n].time_us for n in new],
            [received_us[n] for n in new],
            [events[n].duration_ms for n in new],
            [escape_optional(events[n].device) for n in new],
            [events[n].context for n in new],
            [None if own is None else own.name for own in own_types],
            [None if own is None else own.strength for own in own_types],
            [escape_optional(events[n].ranking_id) for n in new],
            [shown_in_items(events[n].content_id) for n in new],
        )
    }
    if len(inserted) < len(new):  # another machine stored some a moment ago
        theirs = await _stored(connection, [event_ids[n] for n in new if event_ids[n] not in inserted])
        for n in new:
            if event_ids[n] not in inserted:
                outcomes[n] = repeated(events[n], theirs.get(event_ids[n], events[n]))
    kept = [n for n in new if outcomes[n] == "stored"]
    await load_sums(connection, context, users)
    for n in kept:
        user, event = users[user_ids[n]], events[n]
        user.added += 1
        user.received_us = max(user.received_us, received_us[n])
        strength = event.strength
        if strength and not user.stale:
            embedding = contents[content_ids[n]][1]
            user.sums = user_vector.add(
                user.sums, strength, embedding, event.time_us, decay_per_day=context.decay_per_day
            )
            user.changed = True
    await store_users(connection, context, list(users.values()))
    await _add_totals(
        connection,
        np.array([contents[content_ids[n]][0] for n in kept], np.int64),
        np.array([events[n].strength for n in kept], np.int64),
        np.array([events[n].time_us for n in kept], np.int64),
    )
    await count(connection, context, "users", sum(user.created and user.added > 0 for user in users.values()))
    await count(connection, context, "interactions", len(kept))
    return outcomes


async def _answer(connection: Connection, duplicates: Sequence[Interaction]) -> None:
    """Note the rankings that stored events answer, where those were not there when they came."""
    named = [(event.event_id, event.ranking_id) for event in duplicates if event.ranking_id is not None]
    if named:
        await connection.execute(
            """UPDATE interactions l SET exposure = x.sequence
            FROM unnest($1::text[], $2::text[]) AS d (event_id, ranking_id)
            JOIN exposures x ON x.ranking_id = d.ranking_id
            WHERE l.event_id = d.event_id AND l."user" = x."user" AND l.exposure IS NULL""",
            escape_all(event_id for event_id, _ in named),
            escape_all(ranking_id for _, ranking_id in named),
        )


async def delete(
    connection: Connection, context: Context, event_id: str, counted: set[str] | None, now_us: int
) -> bool:
    """See Store.delete_interaction. Within a transaction."""
    found = await connection.fetchrow('SELECT "user", content FROM interactions WHERE event_id = $1', escape(event_id))
    if found is None:
        return False
    user_key, content_key = found
    content_id = await connection.fetchval("SELECT id FROM content_ids WHERE key = $1 FOR KEY SHARE", content_key)
    await connection.execute("SELECT 1 FROM users WHERE key = $1 FOR NO KEY UPDATE", user_key)
    row = await connection.fetchrow(
        """SELECT l.sequence, l.type, l.time_us, u.stale OR u.formula <> $4 AS stale, c.embedding, s.sums,
            l.own_strength, u.id
        FROM interactions l JOIN users u ON u.key = l."user" LEFT JOIN content c ON c.key = l.content
        LEFT JOIN user_sums s ON s.key = l."user"
        WHERE l.event_id = $1 AND l."user" = $2 AND l.content = $3""",
        escape(event_id), user_key, content_key, context.formula,
    )  # fmt: skip
    if row is None:  # taken back by another machine meanwhile
        return False
    sequence, code, time_us, stale, embedding, stored, own, user_id = row
    strength = STRENGTH_OF_CODE[code] if own is None else own
    if strength and not stale and embedding is not None:  # without its content it is not in the sums
        sums = None if stored is None else Sums.decode(stored, context.dimensions)
        if sums is not None:
            vector = context.column.decode(embedding)
            sums = user_vector.remove(sums, strength, vector, time_us, decay_per_day=context.decay_per_day)
        if sums is None:
            stale = True
        else:
            await connection.execute("UPDATE user_sums SET sums = $2 WHERE key = $1", user_key, sums.encode())
    await connection.execute("DELETE FROM interactions WHERE sequence = $1", sequence)
    await tombstones.add_event(connection, context, unescape(user_id), event_id, time_us, now_us)
    await connection.execute(
        """UPDATE users SET interaction_count = interaction_count - 1, stale = $1,
        last_updated_us = CASE WHEN interaction_count > 1 THEN greatest(last_updated_us, $2) END WHERE key = $3""",
        stale, now_us, user_key,
    )  # fmt: skip
    await remove_from_totals(connection, {content_key: ([time_us] if strength else [], strength)})
    if strength and counted is not None:
        counted.add(unescape(content_id))
    await delete_unused_ids(connection, [content_key])
    await count(connection, context, "interactions", -1)
    return True


async def remove_from_totals(connection: Connection, removed: dict[int, tuple[list[int], int]]) -> None:
    """Take events that are deleted already off content: by its key the times of those with a strength, and the sum of
    their strengths."""
    rows = await connection.fetch(
        "SELECT key, counts FROM content_totals WHERE key = ANY($1::bigint[]) ORDER BY key FOR NO KEY UPDATE",
        list(removed),
    )
    changes = []
    for key, stored in rows:
        times_us, strength = removed[key]
        counts = None if stored is None else np.array(stored, np.float64)
        for time_us in times_us:
            counts = None if counts is None else decayed.remove(counts, time_us)
        if times_us and counts is None:
            counts = decayed.from_log(await engaged_times(connection, key))
        kept = counts is not None and bool(counts[-1] > -np.inf)
        changes.append((key, strength, counts.tolist() if kept and counts is not None else None))
    await connection.executemany(
        "UPDATE content_totals SET popularity = popularity - $2, counts = $3 WHERE key = $1", changes
    )


async def _stored(connection: Connection, event_ids: Sequence[str]) -> dict[str, Interaction]:
    """The events that are stored under these ids, by their id as it is stored."""
    rows = await connection.fetch(
        """SELECT l.event_id, u.id, c.id, l.type, l.time_us, l.duration_ms, l.device, l.context, l.own_type,
            l.own_strength
        FROM interactions l JOIN users u ON u.key = l."user" JOIN content_ids c ON c.key = l.content
        WHERE l.event_id = ANY($1::text[])""",
        event_ids,
    )
    return {
        row[0]: Interaction(
            event_id=unescape(row[0]), user_id=unescape(row[1]), content_id=unescape(row[2]), type=TYPES[row[3]],
            time_us=row[4], duration_ms=row[5], device=None if row[6] is None else unescape(row[6]), context=row[7],
            own_type=None if row[8] is None else OwnType(row[8], row[9]),
        )
        for row in rows
    }  # fmt: skip


async def _lock_contents(connection: Connection, context: Context, ids: set[str]) -> dict[str, tuple[int, Embedding]]:
    """Key and vector of the content that is there, held as it is until the transaction ends."""
    rows = await connection.fetch(
        "SELECT id, key FROM content_ids WHERE id = ANY($1::text[]) ORDER BY id FOR KEY SHARE", list(ids)
    )
    id_of = {row["key"]: row["id"] for row in rows}
    rows = await connection.fetch(  # a statement of its own: it sees what the locks had to wait for
        "SELECT key, embedding FROM content WHERE key = ANY($1::bigint[])", list(id_of)
    )
    return {id_of[row["key"]]: (row["key"], context.column.decode(row["embedding"])) for row in rows}


async def _add_totals(
    connection: Connection, keys: NDArray[np.int64], strengths: NDArray[np.int64], times_us: NDArray[np.int64]
) -> None:
    engaged = strengths > 0
    if not engaged.any():
        return
    content, rows = np.unique(keys[engaged], return_inverse=True)
    counts = decayed.no_counts(len(content))
    decayed.add_all(counts, rows, times_us[engaged])
    popularity: Counter[int] = Counter()
    for key, strength in zip(keys.tolist(), strengths.tolist(), strict=True):
        popularity[key] += strength
    added = [popularity[key] for key in content.tolist()]
    await connection.execute(_ADD_TOTALS, content.tolist(), added, *(column.tolist() for column in counts.T))


async def engaged_times(connection: Connection, content_key: int) -> NDArray[np.int64]:
    """When an item's events with a strength happened, int64 [n]."""
    rows = await connection.fetch(
        "SELECT time_us FROM interactions WHERE content = $1 AND type = ANY($2::smallint[]) ORDER BY sequence",
        content_key, CODES_WITH_STRENGTH,
    )  # fmt: skip
    return np.fromiter((row["time_us"] for row in rows), np.int64, len(rows))
