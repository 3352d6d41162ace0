"""Adding events to the log and deleting them, with what each changes beside it."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.personalization import popularity as decayed
from runtime.personalization import user_vector
from runtime.personalization.actions import CODES, STRENGTH_OF_CODE, TYPES
from runtime.personalization.user_vector import Sums
from runtime.store.attribution import CLOCK_GRAIN_US, EXPOSURES_LOOKED_AT, shown_in_items
from runtime.store.errors import StoreCorrupt
from runtime.store.records import (
    AddOutcome,
    Embedding,
    Interaction,
    OwnType,
)
from runtime.store.repeats import repeated
from runtime.store.sqlite import item_counts, totals
from runtime.store.sqlite.checksums import EVENT, row_checksum
from runtime.store.sqlite.content_table import delete_unused_id, whole_vector
from runtime.store.sqlite.readable import MOST_AHEAD_US, report
from runtime.store.sqlite.tombstones import Tombstones
from runtime.store.sqlite.user_rows import find_or_add_user, load_sums, store_sums, whole_sums


@dataclass(slots=True, eq=False)
class _User:
    key: int
    stale: bool
    stored: tuple[bytes, int] | None  # sums and their checksum, until they are needed
    added: int = 0
    changed: bool = False
    sums: Sums | None = None


@dataclass
class _Content:
    key: int
    embedding: Embedding
    counts: decayed.Counts
    strength: int = 0  # of what is added


def add(
    connection: sqlite3.Connection,
    interactions: Sequence[Interaction],
    counts_now: dict[str, decayed.Counts] | None,
    *,
    now_us: int,
    dimensions: int,
    decay_per_day: float,
    tombstones: Tombstones,
    shown: bool = True,
) -> list[AddOutcome]:
    """Append interactions and add them to their users' decayed sums; see `Store.add_interactions`. shown: whether there
    may be exposures that they answer."""
    users: dict[str, _User] = {}
    contents: dict[str, _Content | None] = {}
    engaged: dict[str, _Content] = {}
    own_types: dict[OwnType, int] = {}
    outcomes: list[AddOutcome] = []
    for event in interactions:
        if (outcome := _repeated(connection, event)) is not None:
            if outcome == "duplicate" and event.ranking_id is not None:
                _answer(connection, event)
            outcomes.append(outcome)
            continue
        if tombstones.refuse(event):
            outcomes.append("deleted")
            continue
        if event.content_id not in contents:
            contents[event.content_id] = _find_content(connection, event.content_id, now_us)
        content = contents[event.content_id]
        if content is None:
            outcomes.append("unknown_content")
            continue
        user = users.get(event.user_id)
        if user is None:
            user = users[event.user_id] = _find_user(connection, event.user_id)
        row = (
            event.event_id,
            user.key,
            content.key,
            CODES[event.type],
            event.time_us,
            now_us,
            event.duration_ms,
            event.device,
            event.context,
            None if event.own_type is None else _own_type_key(connection, event.own_type, own_types),
        )
        connection.execute(
            f"INSERT INTO interactions ({EVENT}, checksum, exposure) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*row, row_checksum(*row), _answered_exposure(connection, user.key, event) if shown else None),
        )
        outcomes.append("stored")
        user.added += 1
        strength = event.strength
        if strength:
            if event.content_id not in engaged:
                engaged[event.content_id] = content
                content.counts = decayed.until(content.counts, now_us + MOST_AHEAD_US)
            content.strength += strength
            content.counts = decayed.add(content.counts, event.time_us)
        if strength and not user.stale:  # a stale user's sums are about to be rebuilt from the log
            if user.stored is not None:
                try:
                    user.sums = whole_sums(user.key, *user.stored, dimensions)
                except StoreCorrupt:  # they follow from the log
                    user.stale = True
                    continue
                user.stored = None
                if user.sums.reference_us > now_us + MOST_AHEAD_US:
                    user.stale = True  # by a clock that was wrong: nothing would outweigh it for years
                    continue
            user.sums = user_vector.add(
                user.sums, strength, content.embedding, event.time_us, decay_per_day=decay_per_day
            )
            user.changed = True
    for user in users.values():
        connection.execute(
            """UPDATE users SET interaction_count = interaction_count + ?1, stale = ?4,
            last_updated_us = max(coalesce(last_updated_us, ?2), ?2) WHERE key = ?3""",
            (user.added, now_us, user.key, user.stale),
        )
        if user.changed:
            store_sums(connection, user.key, user.sums)
    for content in engaged.values():
        connection.execute(
            "UPDATE content_ids SET popularity = popularity + ?, counts = ? WHERE key = ?",
            (content.strength, item_counts.seal(content.key, content.counts), content.key),
        )
    if counts_now is not None:
        counts_now.update((id, content.counts) for id, content in engaged.items())
    totals.change(connection, "interactions", outcomes.count("stored"))
    return outcomes


def _find_user(connection: sqlite3.Connection, id: str) -> _User:
    row = connection.execute(
        "SELECT key, stale, sums, checksum FROM users LEFT JOIN user_sums USING (key) WHERE id = ?", (id,)
    ).fetchone()
    if row is None:
        return _User(*find_or_add_user(connection, id), None)
    key, stale, sums, checksum = row
    return _User(key, bool(stale), None if sums is None else (sums, checksum))


def _repeated(connection: sqlite3.Connection, event: Interaction) -> AddOutcome | None:
    """What an event is beside the one that is stored under its event_id; None where there is none."""
    if connection.execute("SELECT 1 FROM interactions WHERE event_id = ?", (event.event_id,)).fetchone() is None:
        return None  # as nearly always: what follows opens four tables
    row = connection.execute(
        """SELECT u.id, c.id, l.type, l.time_us, l.duration_ms, l.device, l.context, o.name
        FROM interactions l JOIN users u ON u.key = l.user JOIN content_ids c ON c.key = l.content
        LEFT JOIN own_types o ON o.key = l.own_type WHERE l.event_id = ?""",
        (event.event_id,),
    ).fetchone()
    if row is None:
        return None
    user_id, content_id, code, time_us, duration_ms, device, context, own_name = row
    type = TYPES[code] if 0 <= code < len(TYPES) else event.type  # one that cannot be read is as good as any
    return repeated(
        event,
        Interaction(
            event_id=event.event_id, user_id=user_id, content_id=content_id, type=type, time_us=time_us,
            duration_ms=duration_ms, device=device, context=context,
            own_type=own_name and OwnType(own_name, 0),
        ),
    )  # fmt: skip


def _answered_exposure(connection: sqlite3.Connection, user_key: int, event: Interaction) -> int | None:
    """The sequence of the exposure that an event answers: the one it names, or the last that showed its content among
    the user's last few; None where there is none."""
    if event.ranking_id is not None:
        row = connection.execute(
            "SELECT sequence FROM exposures WHERE ranking_id = ? AND user = ?", (event.ranking_id, user_key)
        ).fetchone()
    else:
        shown = shown_in_items(event.content_id)
        row = connection.execute(
            """SELECT sequence FROM exposures WHERE user = ?1 AND instr(items, ?2) AND time_us <= ?3
                AND sequence >= coalesce(
                    (SELECT sequence FROM exposures WHERE user = ?1 ORDER BY sequence DESC LIMIT 1 OFFSET ?4), 0)
            ORDER BY sequence DESC LIMIT 1""",
            (user_key, shown, event.time_us + CLOCK_GRAIN_US, EXPOSURES_LOOKED_AT - 1),
        ).fetchone()
    return None if row is None else row[0]


def _answer(connection: sqlite3.Connection, event: Interaction) -> None:
    """Note the ranking that a stored event answers, where that was not there when it came."""
    connection.execute(
        """UPDATE interactions AS l SET exposure = (
            SELECT e.sequence FROM exposures e WHERE e.ranking_id = ?1 AND e.user = l.user)
        WHERE event_id = ?2 AND exposure IS NULL""",
        (event.ranking_id, event.event_id),
    )


def delete(
    connection: sqlite3.Connection,
    event_id: str,
    counted: set[str] | None,
    *,
    now_us: int,
    dimensions: int,
    decay_per_day: float,
    tombstones: Tombstones,
) -> bool:
    """Delete an event, also from its user's sums and its item's counts; False if it is not there. counted: see
    `Store.delete_interaction`."""
    row = connection.execute(
        """SELECT l.sequence, l.user, l.content, l.type, l.time_us, u.stale, c.embedding, c.vector_checksum,
            o.strength, u.id, (SELECT id FROM content_ids WHERE key = l.content)
        FROM interactions l JOIN users u ON u.key = l.user LEFT JOIN content c ON c.key = l.content
        LEFT JOIN own_types o ON o.key = l.own_type
        WHERE l.event_id = ?""",
        (event_id,),
    ).fetchone()
    if row is None:
        return False
    sequence, user_key, content_key, code, time_us, stale, embedding, checksum, own_strength, user_id, content_id = row
    strength = own_strength
    if strength is None:  # an event that cannot be read counts nowhere
        strength = STRENGTH_OF_CODE.get(code, 0)
    if strength and not stale and embedding is not None:  # without its content it is not in the sums
        try:
            sums = load_sums(connection, user_key, dimensions)
        except StoreCorrupt:  # they follow from the log
            sums = None
        if sums is not None:
            vector = whole_vector(event_id, content_key, embedding, checksum)
            sums = user_vector.remove(sums, strength, vector, time_us, decay_per_day=decay_per_day)
        if sums is None:
            stale = True
        else:
            store_sums(connection, user_key, sums)
    connection.execute("DELETE FROM interactions WHERE sequence = ?", (sequence,))
    tombstones.add_event(user_id, event_id, time_us)
    connection.execute(
        """UPDATE users SET interaction_count = interaction_count - 1, stale = ?1,
        last_updated_us = CASE WHEN interaction_count > 1 THEN max(coalesce(last_updated_us, ?2), ?2) END
        WHERE key = ?3""",
        (stale, now_us, user_key),
    )
    connection.execute("UPDATE content_ids SET popularity = popularity - ? WHERE key = ?", (strength, content_key))
    if strength:
        before = item_counts.load(connection, content_key)
        left = None if before is None else decayed.remove(before, time_us)
        item_counts.store(connection, content_key, left, now_us=now_us)
        if counted is not None:
            counted.add(content_id)
    delete_unused_id(connection, content_key)
    totals.change(connection, "interactions", -1)
    return True


def _own_type_key(connection: sqlite3.Connection, own: OwnType, known: dict[OwnType, int]) -> int:
    """The key of a site's own type, with the strength that it has now: an event keeps the one it was recorded with."""
    if own not in known:
        connection.execute("INSERT OR IGNORE INTO own_types (name, strength) VALUES (?, ?)", (own.name, own.strength))
        (known[own],) = connection.execute(
            "SELECT key FROM own_types WHERE name = ? AND strength = ?", (own.name, own.strength)
        ).fetchone()
    return known[own]


def _find_content(connection: sqlite3.Connection, id: str, now_us: int) -> "_Content | None":
    row = connection.execute(
        "SELECT key, embedding, vector_checksum, counts FROM content JOIN content_ids USING (key) WHERE id = ?", (id,)
    ).fetchone()
    if row is None:
        return None
    try:
        counts = item_counts.unseal(row[0], row[3])
    except (StoreCorrupt, ValueError) as error:
        report(f"what is popular of item {id!r}", str(error))
        counts = item_counts.from_log(connection, row[0], now_us=now_us)
    return _Content(row[0], whole_vector(id, *row[:3]), counts)
