"""What stored sums and counts were computed with, and what follows where this machine's settings say otherwise."""

import logging

import msgspec
import numpy as np

from runtime.personalization import popularity
from runtime.personalization.actions import CODES_WITH_STRENGTH, STRENGTH_OF_CODE, STRENGTHS, InteractionType
from runtime.store.errors import StoreError
from runtime.store.postgres.connections import Connection

log = logging.getLogger("vows")

SEQUENCE_BITS = 10  # of an event's sequence: its place in the transaction, whose number is above it
_EVENTS_AT_ONCE = 4096


class Formula(msgspec.Struct, frozen=True):
    """Of popularity and the counts of content: the same for all machines."""

    dimensions: int
    strengths: dict[InteractionType, int]
    half_lives_hours: tuple[float, ...]


class SumFormula(msgspec.Struct, frozen=True):
    """Of the sums of users. Machines with different settings serve side by side: each user's sums name theirs."""

    decay_per_day: float
    strengths: dict[InteractionType, int]


async def reconcile(connection: Connection, *, dimensions: int) -> None:
    """Bring popularity and counts in line with this version, in the caller's transaction. Raises StoreError when the
    database holds vectors of other dimensions."""
    wanted = Formula(dimensions, STRENGTHS, popularity.HALF_LIVES_HOURS)
    stored = await connection.fetchval("SELECT json FROM formula")
    found = None if stored is None else msgspec.json.decode(stored, type=Formula)
    if found is not None and found.dimensions != dimensions:
        raise StoreError(
            f"the database holds {found.dimensions}-d vectors and the model makes {dimensions}-d ones; start with the "
            "model it was made with, or choose another database"
        )
    if found is not None and found.strengths != wanted.strengths:
        await _count_popularity(connection)
    if found is not None and found != wanted:
        await _count_decayed(connection)
    if found != wanted:
        await connection.execute(
            "INSERT INTO formula VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET json = excluded.json",
            msgspec.json.encode(wanted),
        )


async def sum_formula(connection: Connection, decay_per_day: float) -> int:
    """The key of this machine's formula."""
    json = msgspec.json.encode(SumFormula(decay_per_day, STRENGTHS))
    await connection.execute("INSERT INTO sum_formulas (json) VALUES ($1) ON CONFLICT DO NOTHING", json)
    key: int = await connection.fetchval("SELECT key FROM sum_formulas WHERE json = $1", json)
    return key


async def renew_epoch(connection: Connection) -> None:
    """Keep sequences rising in a database that was restored into a server whose transaction numbers are lower."""
    raised = await connection.fetchval(
        f"""UPDATE log_epoch SET added = last.block + 1 - pg_current_xact_id()::text::bigint
        FROM (SELECT greatest((SELECT max(sequence) FROM interactions), (SELECT max(sequence) FROM exposures), 0)
            >> {SEQUENCE_BITS} AS block) last
        WHERE last.block >= pg_current_xact_id()::text::bigint + added RETURNING added"""
    )
    if raised is not None:
        await connection.execute("DELETE FROM content_changes")  # their numbers are of the other server
        log.warning("the database comes from another server; the log's sequences continue above its own")


async def _count_popularity(connection: Connection) -> None:
    await connection.execute(
        """UPDATE content_totals t SET popularity = (
            SELECT coalesce(sum(coalesce(l.own_strength, s.strength)), 0) FROM interactions l
            JOIN unnest($1::smallint[], $2::bigint[]) s (type, strength) USING (type) WHERE l.content = t.key)""",
        list(STRENGTH_OF_CODE), list(STRENGTH_OF_CODE.values()),
    )  # fmt: skip


async def _count_decayed(connection: Connection) -> None:
    """The decayed counts of all content, from the log in its order."""
    keys = [row["key"] for row in await connection.fetch("SELECT key FROM content_totals ORDER BY key")]
    counts = popularity.no_counts(len(keys))
    after = -1
    while rows := await connection.fetch(
        "SELECT sequence, content, time_us FROM interactions WHERE sequence > $1 AND type = ANY($2::smallint[]) "
        "ORDER BY sequence LIMIT $3",
        after, CODES_WITH_STRENGTH, _EVENTS_AT_ONCE,
    ):  # fmt: skip
        after = rows[-1]["sequence"]
        content, times_us = np.array([row[1:] for row in rows], np.int64).T
        popularity.add_all(counts, np.searchsorted(keys, content), times_us)
    await connection.execute("UPDATE content_totals SET counts = NULL WHERE counts IS NOT NULL")
    await connection.executemany(
        "UPDATE content_totals SET counts = $1 WHERE key = $2",
        [(counts[row].tolist(), keys[row]) for row in np.flatnonzero(counts[:, -1] > -np.inf).tolist()],
    )
