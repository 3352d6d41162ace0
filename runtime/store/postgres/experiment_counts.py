"""Counts of an experiment's arms by time, in Postgres: all machines add to them, by arithmetic in SQL."""

from collections import Counter, defaultdict
from typing import NamedTuple

from runtime.store.experiment_records import COUNTED, MOST_BUCKETS, MOST_PERIOD_BUCKETS
from runtime.store.postgres.connections import Connection

_COUNT_TYPES = {name: "float8" if name in ("total", "squares") else "bigint" for name in COUNTED}

_ADD_COUNTS = f"""INSERT INTO experiment_counts AS c (arm, start_us, {", ".join(COUNTED)})
    SELECT * FROM unnest($1::bigint[], $2::bigint[],
        {", ".join(f"${n}::{type}[]" for n, type in enumerate(_COUNT_TYPES.values(), 3))}) AS d (arm, start_us)
    ORDER BY arm, start_us
    ON CONFLICT (arm, start_us) DO UPDATE SET {", ".join(f"{name} = c.{name} + excluded.{name}" for name in COUNTED)}
    RETURNING xmax = 0 AS created, arm"""


class Arm(NamedTuple):
    """The row of an arm, and how long its period's buckets are."""

    key: int
    period: int  # the key of its row in experiment_periods
    bucket_us: int


# By arm and start of the bucket, what is added by name
BucketCounts = defaultdict[tuple[int, int], Counter[str]]


def count_in_bucket(counts: BucketCounts, arm: Arm, time_us: int, **by: int) -> None:
    """Add to the bucket of a time, by name."""
    counts[arm.key, time_us // arm.bucket_us * arm.bucket_us].update(by)


async def store_counts(connection: Connection, counts: BucketCounts) -> None:
    """Add these to the arms' counts; a period that got too many buckets gets wider ones."""
    added = {bucket: some for bucket, some in counts.items() if any(some.values())}
    if not added:
        return
    rows = await connection.fetch(
        _ADD_COUNTS,
        [arm for arm, _ in added],
        [start_us for _, start_us in added],
        *([some[name] for some in added.values()] for name in COUNTED),
    )
    new = {row["arm"] for row in rows if row["created"]}
    if not new:
        return
    many = await connection.fetch(
        """SELECT period FROM (
            SELECT a.period, count(*) AS buckets FROM experiment_counts c JOIN experiment_arms a ON a.key = c.arm
            WHERE a.period IN (SELECT period FROM experiment_arms WHERE key = ANY($1::bigint[]))
            GROUP BY a.period, c.arm) arms
        GROUP BY period HAVING max(buckets) > $2 OR sum(buckets) > $3 ORDER BY period""",
        list(new), MOST_BUCKETS, MOST_PERIOD_BUCKETS,
    )  # fmt: skip
    for row in many:
        await _widen(connection, row["period"])


async def _widen(connection: Connection, period: int) -> None:
    """Make two buckets one in every arm of a period. A machine that still counts by the old grain adds a narrow bucket,
    which is as good."""
    bucket_us = await connection.fetchval(
        "UPDATE experiment_periods SET bucket_us = bucket_us * 2 WHERE key = $1 RETURNING bucket_us", period
    )
    names = ", ".join(COUNTED)
    rows = await connection.fetch(
        f"""SELECT arm, start_us, {names} FROM experiment_counts
        WHERE arm IN (SELECT key FROM experiment_arms WHERE period = $1) ORDER BY arm, start_us FOR UPDATE""",
        period,
    )
    merged: dict[tuple[int, int], list[float]] = {}
    for arm, start_us, *values in rows:
        bucket = arm, start_us // bucket_us * bucket_us
        merged[bucket] = [a + b for a, b in zip(merged.get(bucket, [0] * len(COUNTED)), values, strict=True)]
    await connection.execute(
        "DELETE FROM experiment_counts WHERE arm = ANY($1::bigint[])", list({arm for arm, _ in merged})
    )
    await connection.fetch(
        _ADD_COUNTS,
        [arm for arm, _ in merged],
        [start_us for _, start_us in merged],
        *([values[n] for values in merged.values()] for n in range(len(COUNTED))),
    )
