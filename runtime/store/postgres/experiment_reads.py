"""Statements that read experiments, what they showed and what they counted."""

from runtime.store.experiment_records import COUNTED, ArmBucket, ExperimentChange, LoggedExposure
from runtime.store.postgres.connections import Connection
from runtime.store.postgres.ids import escape, unescape
from runtime.store.postgres.log_reads import HORIZON


async def changes(connection: Connection, after: int) -> list[ExperimentChange]:
    """The changes with a number over `after`, oldest first."""
    rows = await connection.fetch(
        """SELECT experiment, kind, period, details, time_us, sequence FROM experiment_changes WHERE sequence > $1
        ORDER BY sequence""",
        after,
    )
    return [ExperimentChange(**dict(row)) for row in rows]


async def counts(connection: Connection, experiment: str, period: int) -> list[ArmBucket]:
    """Of every arm of an experiment in a period: its buckets of users."""
    rows = await connection.fetch(
        f"""SELECT a.arm, c.start_us, {", ".join(COUNTED)}
        FROM experiment_periods o JOIN experiment_arms a ON a.period = o.key JOIN experiment_counts c ON c.arm = a.key
        WHERE o.experiment = $1 AND o.period = $2 ORDER BY c.start_us, a.key""",
        experiment, period,
    )  # fmt: skip
    return [ArmBucket(*row) for row in rows]


async def log(connection: Connection, after: int, limit: int) -> list[LoggedExposure]:
    """Up to `limit` exposures with a number over `after`, up to the oldest transaction that has not ended."""
    rows = await connection.fetch(
        f"""SELECT e.sequence, e.ranking_id, u.id AS user_id, o.experiment, o.period, a.arm, e.model_version,
            e.arm_propensity, e.time_us, e.items
        FROM exposures e JOIN users u ON u.key = e."user" JOIN experiment_arms a ON a.key = e.arm
        JOIN experiment_periods o ON o.key = a.period
        WHERE e.sequence > $1 AND e.sequence < {HORIZON} ORDER BY e.sequence LIMIT $2""",
        after, limit,
    )  # fmt: skip
    return [
        LoggedExposure(**dict(row) | {name: unescape(row[name]) for name in ("ranking_id", "user_id", "model_version")})
        for row in rows
    ]


async def participant_arm(connection: Connection, user_id: str, experiment: str, period: int) -> str | None:
    """The arm that a user takes part in; None for one who does not."""
    arm: str | None = await connection.fetchval(
        """SELECT a.arm FROM users u JOIN participants p ON p."user" = u.key JOIN experiment_arms a ON a.key = p.arm
        JOIN experiment_periods o ON o.key = p.period
        WHERE u.id = $1 AND o.experiment = $2 AND o.period = $3""",
        escape(user_id), experiment, period,
    )  # fmt: skip
    return arm
