"""Statements on experiments: their changes, exposures and participants.

Several machines write at once. Changes are numbered under a lock, so that a number is never seen before a lower one.
A participant's row is unique by user and period, so that nobody counts twice, and the counts, which all machines add
to (experiment_counts.py), are changed last.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from runtime.personalization.actions import ENGAGED_STRENGTH, MOST_WEIGHTED_ENGAGEMENT, STRENGTH_OF_CODE
from runtime.personalization.cold_start import COLD_EVENTS
from runtime.store.experiment_records import (
    EXPOSURE_ROW_BYTES,
    ExperimentChange,
    Exposure,
    FailedRankings,
    MovedOutcome,
)
from runtime.store.postgres import tombstones
from runtime.store.postgres.connections import Connection
from runtime.store.postgres.context import Context, count
from runtime.store.postgres.experiment_counts import Arm, BucketCounts, count_in_bucket, store_counts
from runtime.store.postgres.formula import SEQUENCE_BITS
from runtime.store.postgres.ids import escape
from runtime.store.postgres.user_rows import lock_or_add_users
from runtime.store.tombstones import as_event

CHANGED = "vows_experiments"  # the channel that wakes those who follow
# Advisory locks, exclusive to the transaction: of who appends a change, and of who trims
_CHANGING, _TRIMMING = 0x564F5754, 0x564F5755
_EVENTS_BEFORE = """(SELECT count(*) FROM (SELECT 1 FROM interactions l
    WHERE l."user" = d."user" AND l.time_us < d.first_us LIMIT $6) e)"""


async def change(connection: Connection, made: ExperimentChange, after: int) -> int | None:
    """Append a change where none has come since number `after`; its number, None where one has."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _CHANGING)
    if await connection.fetchval("SELECT coalesce(max(sequence), 0) FROM experiment_changes") > after:
        return None
    sequence: int = await connection.fetchval(
        """INSERT INTO experiment_changes (experiment, kind, period, details, time_us) VALUES ($1, $2, $3, $4, $5)
        RETURNING sequence""",
        made.experiment, made.kind, made.period, made.details, made.time_us,
    )  # fmt: skip
    await connection.execute("SELECT pg_notify($1, '')", CHANGED)
    return sequence


async def move(
    connection: Connection, context: Context, exposures: Sequence[Exposure], now_us: int
) -> list[MovedOutcome]:
    """Record at most MOST_EVENTS rankings that another database recorded, each once; see `Store.move_exposures`."""
    rows = await connection.fetch(
        "SELECT ranking_id FROM exposures WHERE ranking_id = ANY($1::text[])",
        [escape(shown.ranking_id) for shown in exposures],
    )
    there = {row[0] for row in rows}
    late = await tombstones.refused(connection, context, list(map(as_event, exposures)), now_us)
    outcomes: list[MovedOutcome] = []
    new: list[Exposure] = []
    for shown, is_late in zip(exposures, late, strict=True):
        if escape(shown.ranking_id) in there:
            outcomes.append("duplicate")
        elif is_late:
            outcomes.append("deleted")
        else:
            there.add(escape(shown.ranking_id))
            new.append(shown)
            outcomes.append("stored")
    if new:
        await add(connection, context, new, (), moved=True)
    return outcomes


async def add(
    connection: Connection,
    context: Context,
    exposures: Sequence[Exposure],
    failed: Sequence[FailedRankings],
    *,
    moved: bool = False,
) -> None:
    """Record at most MOST_EVENTS rankings that were shown, and counts of those that failed. moved: events of the users
    may be later ones."""
    ids = [escape(shown.user_id) for shown in exposures]
    users = await lock_or_add_users(connection, context, set(ids), "FOR KEY SHARE")
    arms = await _arms(connection, [*exposures, *failed])
    theirs = [arms[one.experiment, one.period, one.arm] for one in exposures]
    await connection.execute(
        f"""INSERT INTO exposures
            (sequence, ranking_id, "user", arm, model_version, arm_propensity, time_us, items)
        SELECT ((pg_current_xact_id()::text::bigint + added) << {SEQUENCE_BITS}) + n - 1, ranking_id, "user", arm,
            model_version, arm_propensity, time_us, items
        FROM log_epoch, unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::float8[], $6::bigint[],
            $7::bytea[]) WITH ORDINALITY
            AS e (ranking_id, "user", arm, model_version, arm_propensity, time_us, items, n)""",
        [escape(shown.ranking_id) for shown in exposures],
        [users[id].key for id in ids],
        [arm.key for arm in theirs],
        [escape(shown.model_version) for shown in exposures],
        [shown.arm_propensity for shown in exposures],
        [shown.time_us for shown in exposures],
        [shown.items for shown in exposures],
    )
    counts: BucketCounts = defaultdict(Counter)
    for shown, arm in zip(exposures, theirs, strict=True):
        count_in_bucket(counts, arm, shown.time_us, rankings=1, slow=int(shown.slow))
    first: dict[tuple[int, int], tuple[Arm, Exposure]] = {}
    for id, arm, shown in zip(ids, theirs, exposures, strict=True):
        first.setdefault((users[id].key, arm.period), (arm, shown))
    for key in await _add_participants(connection, first, moved=moved):
        arm, shown = first[key]
        count_in_bucket(counts, arm, shown.time_us, users=1)
    for some in failed:
        count_in_bucket(counts, arms[some.experiment, some.period, some.arm], some.time_us, failed=some.failed)
    await store_counts(connection, counts)
    await count(connection, context, "users", sum(user.created for user in users.values()))
    await count(connection, context, "exposures", len(exposures))
    await count(
        connection, context, "exposure_bytes", sum(EXPOSURE_ROW_BYTES + len(shown.items) for shown in exposures)
    )


async def close(connection: Connection, now_us: int, limit: int) -> int:
    """Measure the outcome of those whose window is over, each once, whichever machine is first. A window is over when
    the server's clock says so too: one machine's may be ahead of those that record events."""
    due = await connection.fetch(
        """SELECT p."user", p.period, p.arm, p.first_us, p.closes_us, p.cold, o.bucket_us
        FROM participants p JOIN experiment_periods o ON o.key = p.period
        WHERE NOT p.closed AND p.closes_us <= least($1, (extract(epoch FROM clock_timestamp()) * 1e6)::bigint)
        ORDER BY p.closes_us LIMIT $2 FOR UPDATE OF p SKIP LOCKED""",
        now_us, limit,
    )  # fmt: skip
    if not due:
        return 0
    rows = await connection.fetch(
        """SELECT n, max(strength) >= $6, least(sum(coalesce(own_strength, strength)), $7)
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS d ("user", first_us, closes_us, n)
        JOIN interactions l ON l."user" = d."user" AND l.time_us >= first_us AND l.time_us < closes_us
        JOIN unnest($4::smallint[], $5::bigint[]) AS s (type, strength) ON s.type = l.type GROUP BY n""",
        [row["user"] for row in due], [row["first_us"] for row in due], [row["closes_us"] for row in due],
        list(STRENGTH_OF_CODE), list(STRENGTH_OF_CODE.values()), ENGAGED_STRENGTH, MOST_WEIGHTED_ENGAGEMENT,
    )  # fmt: skip
    outcomes = {n: (int(engaged), int(weight)) for n, engaged, weight in rows}
    await connection.execute(
        """UPDATE participants p SET closed = true FROM unnest($1::bigint[], $2::bigint[]) AS d ("user", period)
        WHERE p."user" = d."user" AND p.period = d.period""",
        [row["user"] for row in due], [row["period"] for row in due],
    )  # fmt: skip
    counts: BucketCounts = defaultdict(Counter)
    for n, row in enumerate(due, 1):
        engaged, weight = outcomes.get(n, (0, 0))
        count_in_bucket(
            counts,
            Arm(row["arm"], row["period"], row["bucket_us"]),
            row["closes_us"],
            closed=1,
            engaged=engaged,
            total=weight,
            squares=weight * weight,
            cold_closed=int(row["cold"]),
            cold_engaged=int(row["cold"] and engaged),
        )
    await store_counts(connection, counts)
    return len(due)


async def trim(
    connection: Connection, context: Context, before_us: int, max_bytes: int, after_us: int, limit: int
) -> int:
    """Delete the oldest exposures that are from before a time, beyond the bytes, or from after a time; none while
    another machine does."""
    if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _TRIMMING):
        return 0
    held = await connection.fetchval("SELECT sum(exposure_bytes)::bigint FROM totals")
    rows = await connection.fetch(
        "SELECT sequence, time_us, length(items) FROM exposures ORDER BY sequence LIMIT $1", limit
    )
    oldest: list[int] = []
    freed = 0
    for sequence, time_us, size in rows:
        if before_us <= time_us <= after_us and held - freed <= max_bytes:
            break
        oldest.append(sequence)
        freed += EXPOSURE_ROW_BYTES + size
    if oldest:
        await _delete_exposures(connection, context, "sequence = ANY($1::bigint[])", oldest)
    return len(oldest)


async def forget_participants(connection: Connection, ended: Mapping[str, int], limit: int) -> int:
    """Delete participants, whose outcomes are counted, of each experiment's periods up to the one that has ended."""
    status: str = await connection.execute(
        """DELETE FROM participants WHERE ctid = ANY (ARRAY(
            SELECT p.ctid FROM unnest($1::text[], $2::bigint[]) AS e (experiment, period)
            JOIN experiment_periods o ON o.experiment = e.experiment AND o.period <= e.period
            JOIN participants p ON p.period = o.key AND p.closed LIMIT $3 FOR UPDATE OF p SKIP LOCKED))""",
        list(ended), list(ended.values()), limit,
    )  # fmt: skip
    return int(status.split()[-1])


async def delete_user_exposures(connection: Connection, context: Context, user: int) -> dict[str, int]:
    """Delete a user's rows; the counts of their arms stay, which name nobody. Rows deleted by table. The user's row is
    locked."""
    exposures = await _delete_exposures(connection, context, '"user" = $1', user)
    status = await connection.execute('DELETE FROM participants WHERE "user" = $1', user)
    return {"exposures": exposures, "participants": int(status.split()[-1])}


async def _delete_exposures(connection: Connection, context: Context, which: str, argument: object) -> int:
    deleted, freed = await connection.fetchrow(
        f"""WITH gone AS (DELETE FROM exposures WHERE {which} RETURNING length(items) + $2::bigint AS size)
        SELECT count(*), coalesce(sum(size), 0)::bigint FROM gone""",
        argument, EXPOSURE_ROW_BYTES,
    )  # fmt: skip
    await count(connection, context, "exposures", -deleted)
    await count(connection, context, "exposure_bytes", -freed)
    return int(deleted)


async def _arms(connection: Connection, named: Iterable[Exposure | FailedRankings]) -> dict[tuple[str, int, str], Arm]:
    """The arms' rows, by experiment, period and name; made where they are new."""
    grains = {(one.experiment, one.period): one.bucket_us for one in named}
    wanted = sorted({(one.experiment, one.period, one.arm) for one in named})
    columns = [list(column) for column in zip(*wanted, strict=True)] or [[], [], []]
    for _ in range(2):
        rows = await connection.fetch(
            """SELECT o.experiment, o.period, a.arm, a.key, o.key, o.bucket_us
            FROM unnest($1::text[], $2::bigint[], $3::text[]) AS w (experiment, period, arm)
            JOIN experiment_periods o USING (experiment, period)
            JOIN experiment_arms a ON a.period = o.key AND a.arm = w.arm""",
            *columns,
        )
        if len(rows) == len(wanted):
            return {(row[0], row[1], row[2]): Arm(*row[3:]) for row in rows}
        await connection.execute(
            """INSERT INTO experiment_periods (experiment, period, bucket_us)
            SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS d (experiment, period)
            ORDER BY experiment, period ON CONFLICT DO NOTHING""",
            [experiment for experiment, _ in grains], [period for _, period in grains], list(grains.values()),
        )  # fmt: skip
        await connection.execute(
            """INSERT INTO experiment_arms (period, arm) SELECT o.key, w.arm
            FROM unnest($1::text[], $2::bigint[], $3::text[]) AS w (experiment, period, arm)
            JOIN experiment_periods o USING (experiment, period) ORDER BY o.key, w.arm ON CONFLICT DO NOTHING""",
            *columns,
        )
    raise AssertionError("this is a bug: arms that were made are not there")


async def _add_participants(
    connection: Connection, first: Mapping[tuple[int, int], tuple[Arm, Exposure]], *, moved: bool
) -> list[tuple[int, int]]:
    """first: by user and period the exposure that may be the first of all. Those who were no participants before."""
    events = _EVENTS_BEFORE if moved else "u.interaction_count"
    rows = await connection.fetch(
        f"""INSERT INTO participants ("user", period, arm, first_us, closes_us, cold)
        SELECT d."user", d.period, d.arm, d.first_us, d.closes_us, {events} < $6
        FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
            AS d ("user", period, arm, first_us, closes_us)
        JOIN users u ON u.key = d."user" ORDER BY d."user", d.period
        ON CONFLICT DO NOTHING RETURNING "user", period""",
        [user for user, _ in first],
        [period for _, period in first],
        [arm.key for arm, _ in first.values()],
        [shown.time_us for _, shown in first.values()],
        [shown.closes_us for _, shown in first.values()],
        COLD_EVENTS,
    )
    return [(row["user"], row["period"]) for row in rows]
