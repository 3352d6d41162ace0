"""Statements on experiments: their changes, exposures, participants, and counts by arm and time."""

import sqlite3
from collections.abc import Mapping, Sequence

from runtime.personalization.actions import ENGAGED_STRENGTH, MOST_WEIGHTED_ENGAGEMENT, STRENGTH_OF_CODE
from runtime.personalization.cold_start import COLD_EVENTS
from runtime.store.experiment_records import (
    COUNTED,
    EXPOSURE_ROW_BYTES,
    MOST_BUCKETS,
    MOST_PERIOD_BUCKETS,
    ArmBucket,
    ExperimentChange,
    Exposure,
    FailedRankings,
    LoggedExposure,
    MovedOutcome,
)
from runtime.store.sqlite import totals
from runtime.store.sqlite.readable import READABLE
from runtime.store.sqlite.tombstones import Tombstones
from runtime.store.sqlite.user_rows import find_or_add_user
from runtime.store.tombstones import as_event

_EVENTS_BEFORE = "(SELECT count(*) FROM (SELECT 1 FROM interactions WHERE user = ?1 AND time_us < ?3 LIMIT ?5))"


def change(connection: sqlite3.Connection, made: ExperimentChange, after: int) -> int | None:
    """Append a change where none has come since number `after`; its number, None where one has."""
    (last,) = connection.execute("SELECT coalesce(max(sequence), 0) FROM experiment_changes").fetchone()
    if last > after:
        return None
    done = connection.execute(
        "INSERT INTO experiment_changes (experiment, kind, period, details, time_us) VALUES (?, ?, ?, ?, ?)",
        (made.experiment, made.kind, made.period, made.details, made.time_us),
    )
    assert done.lastrowid is not None
    return done.lastrowid


def changes(connection: sqlite3.Connection, after: int) -> list[ExperimentChange]:
    """The changes with a number over `after`, oldest first."""
    rows = connection.execute(
        """SELECT experiment, kind, period, details, time_us, sequence FROM experiment_changes WHERE sequence > ?
        ORDER BY sequence""",
        (after,),
    )
    return [
        ExperimentChange(
            experiment=experiment, kind=kind, period=period, details=details, time_us=time_us, sequence=sequence
        )
        for experiment, kind, period, details, time_us, sequence in rows
    ]


def add(connection: sqlite3.Connection, exposures: Sequence[Exposure], failed: Sequence[FailedRankings]) -> None:
    """Record rankings that were shown, and counts of those that failed."""
    for shown in exposures:
        _record(connection, shown)
    for some in failed:
        _count(connection, _arm(connection, some), some.time_us, failed=some.failed)


def move(connection: sqlite3.Connection, exposures: Sequence[Exposure], tombstones: Tombstones) -> list[MovedOutcome]:
    """Record rankings that were shown by another database, each once; see `Store.move_exposures`."""
    outcomes: list[MovedOutcome] = []
    for shown in exposures:
        if connection.execute("SELECT 1 FROM exposures WHERE ranking_id = ?", (shown.ranking_id,)).fetchone():
            outcomes.append("duplicate")
        elif tombstones.refuse(as_event(shown)):
            outcomes.append("deleted")
        else:
            _record(connection, shown, moved=True)
            outcomes.append("stored")
    return outcomes


def _record(connection: sqlite3.Connection, shown: Exposure, *, moved: bool = False) -> None:
    """A ranking, its user as a participant, and the counts of the arm. moved: the user's events may be later ones."""
    user, _ = find_or_add_user(connection, shown.user_id)
    arm = _arm(connection, shown)
    connection.execute(
        """INSERT INTO exposures (ranking_id, user, arm, model_version, time_us, items, arm_propensity)
        VALUES (?, ?, ?, ?, ?, ?, ?)""",
        (
            shown.ranking_id,
            user,
            arm,
            shown.model_version,
            shown.time_us,
            shown.items,
            shown.arm_propensity,
        ),
    )
    events = _EVENTS_BEFORE if moved else "interaction_count"
    first = connection.execute(
        f"""INSERT INTO participants (user, arm, first_us, closes_us, cold)
        SELECT ?1, ?2, ?3, ?4, {events} < ?5 FROM users WHERE key = ?1 AND NOT EXISTS (
            SELECT 1 FROM participants p JOIN experiment_arms a ON a.key = p.arm
            JOIN experiment_arms o USING (experiment, period) WHERE p.user = ?1 AND o.key = ?2)""",
        (user, arm, shown.time_us, shown.closes_us, COLD_EVENTS),
    ).rowcount
    _count(connection, arm, shown.time_us, users=first, rankings=1, slow=int(shown.slow))
    totals.change_exposures(connection, 1, EXPOSURE_ROW_BYTES + len(shown.items))


def close(connection: sqlite3.Connection, now_us: int, limit: int) -> int:
    """Measure the outcome of those whose window is over, each once."""
    due = connection.execute(
        """SELECT user, arm, first_us, closes_us, cold FROM participants WHERE closed = 0 AND closes_us <= ?
        ORDER BY closes_us LIMIT ?""",
        (now_us, limit),
    ).fetchall()
    for user, arm, first_us, closes_us, cold in due:
        engaged = weight = 0
        for code, own in connection.execute(  # one at a time: a user may have done any number of things
            f"""SELECT l.type, o.strength FROM interactions l LEFT JOIN own_types o ON o.key = l.own_type
            WHERE l.user = ? AND l.time_us >= ? AND l.time_us < ? AND {READABLE}""",
            (user, first_us, closes_us),
        ):
            engaged |= int(STRENGTH_OF_CODE[code] >= ENGAGED_STRENGTH)
            weight += STRENGTH_OF_CODE[code] if own is None else own
        weight = min(weight, MOST_WEIGHTED_ENGAGEMENT)
        connection.execute("UPDATE participants SET closed = 1 WHERE user = ? AND arm = ?", (user, arm))
        _count(
            connection,
            arm,
            closes_us,
            closed=1,
            engaged=engaged,
            total=weight,
            squares=weight * weight,
            cold_closed=cold,
            cold_engaged=cold and engaged,
        )
    return len(due)


def counts(connection: sqlite3.Connection, experiment: str, period: int) -> list[ArmBucket]:
    """Of every arm of an experiment in a period: its buckets of users."""
    rows = connection.execute(
        f"""SELECT a.arm, c.bucket * a.bucket_us, {", ".join(COUNTED)}
        FROM experiment_arms a JOIN experiment_counts c ON c.arm = a.key
        WHERE a.experiment = ? AND a.period = ? ORDER BY c.bucket * a.bucket_us, a.key""",
        (experiment, period),
    )
    return [ArmBucket(*row) for row in rows]


def log(connection: sqlite3.Connection, after: int, limit: int) -> list[LoggedExposure]:
    """Up to `limit` exposures with a number over `after`, oldest first."""
    rows = connection.execute(
        """SELECT e.sequence, e.ranking_id, u.id AS user_id, a.experiment, a.period, a.arm,
            e.model_version, e.time_us, e.items, e.arm_propensity
        FROM exposures e JOIN users u ON u.key = e.user JOIN experiment_arms a ON a.key = e.arm
        WHERE e.sequence > ? ORDER BY e.sequence LIMIT ?""",
        (after, limit),
    )
    names = [column[0] for column in rows.description]
    return [LoggedExposure(**dict(zip(names, row, strict=True))) for row in rows]


def trim(connection: sqlite3.Connection, before_us: int, max_bytes: int, after_us: int, limit: int) -> int:
    """Delete the oldest exposures that are from before a time, beyond the bytes, or from after a time. Counts and
    participants stay."""
    (held,) = connection.execute("SELECT rows FROM totals WHERE name = 'exposure_bytes'").fetchone()
    deleted = freed = 0
    oldest = connection.execute(
        "SELECT sequence, time_us, length(items) FROM exposures ORDER BY sequence LIMIT ?", (limit,)
    ).fetchall()
    for sequence, time_us, size in oldest:
        if before_us <= time_us <= after_us and held - freed <= max_bytes:
            break
        connection.execute("DELETE FROM exposures WHERE sequence = ?", (sequence,))
        deleted, freed = deleted + 1, freed + EXPOSURE_ROW_BYTES + size
    totals.change_exposures(connection, -deleted, -freed)
    return deleted


def forget_participants(connection: sqlite3.Connection, ended: Mapping[str, int], limit: int) -> int:
    """Delete participants, whose outcomes are counted, of each experiment's periods up to the one that has ended."""
    deleted = 0
    for experiment, period in ended.items():
        deleted += connection.execute(
            """DELETE FROM participants WHERE (user, arm) IN (
                SELECT p.user, p.arm FROM experiment_arms a JOIN participants p ON p.arm = a.key AND p.closed = 1
                WHERE a.experiment = ? AND a.period <= ? LIMIT ?)""",
            (experiment, period, limit - deleted),
        ).rowcount
    return deleted


def participant_arm(connection: sqlite3.Connection, user_id: str, experiment: str, period: int) -> str | None:
    """The arm that a user takes part in; None for one who does not."""
    row = connection.execute(
        """SELECT a.arm FROM participants p JOIN experiment_arms a ON a.key = p.arm
        WHERE p.user = (SELECT key FROM users WHERE id = ?) AND a.experiment = ? AND a.period = ?""",
        (user_id, experiment, period),
    ).fetchone()
    return None if row is None else row[0]


def delete_user_exposures(connection: sqlite3.Connection, user: int) -> dict[str, int]:
    """Delete a user's rows; the counts of their arms stay, which name nobody. Rows deleted by table."""
    (size,) = connection.execute(
        "SELECT coalesce(sum(length(items) + ?), 0) FROM exposures WHERE user = ?", (EXPOSURE_ROW_BYTES, user)
    ).fetchone()
    deleted = {
        name: connection.execute(f"DELETE FROM {name} WHERE user = ?", (user,)).rowcount
        for name in ("exposures", "participants")
    }
    totals.change_exposures(connection, -deleted["exposures"], -size)
    return deleted


def _arm(connection: sqlite3.Connection, of: Exposure | FailedRankings) -> int:
    """Its key."""
    find = "SELECT key FROM experiment_arms WHERE experiment = ? AND period = ? AND arm = ?"
    named = (of.experiment, of.period, of.arm)
    row = connection.execute(find, named).fetchone()
    if row is None:
        (wider,) = connection.execute(
            "SELECT max(bucket_us) FROM experiment_arms WHERE experiment = ? AND period = ?", named[:2]
        ).fetchone()  # that of the other arms, which may have been widened
        connection.execute(
            "INSERT INTO experiment_arms (experiment, period, arm, bucket_us) VALUES (?, ?, ?, ?)",
            (*named, wider or of.bucket_us),
        )
        row = connection.execute(find, named).fetchone()
    key: int = row[0]
    return key


def _count(connection: sqlite3.Connection, arm: int, time_us: int, **by: float) -> None:
    added = {name: value for name, value in by.items() if value}
    if not added:
        return
    changed = ", ".join(f"{name} = {name} + ?" for name in added)
    update = f"""UPDATE experiment_counts SET {changed} WHERE arm = ?
        AND bucket = ? / (SELECT bucket_us FROM experiment_arms WHERE key = experiment_counts.arm)"""
    arguments = (*added.values(), arm, time_us)
    if connection.execute(update, arguments).rowcount:  # as nearly always
        return
    connection.execute(
        "INSERT INTO experiment_counts (arm, bucket) SELECT key, ? / bucket_us FROM experiment_arms WHERE key = ?",
        (time_us, arm),
    )
    connection.execute(update, arguments)
    (rows,) = connection.execute("SELECT count(*) FROM experiment_counts WHERE arm = ?", (arm,)).fetchone()
    (all_rows,) = connection.execute(
        """SELECT count(*) FROM experiment_arms a JOIN experiment_arms o USING (experiment, period)
        JOIN experiment_counts c ON c.arm = o.key WHERE a.key = ?""",
        (arm,),
    ).fetchone()
    if rows > MOST_BUCKETS or all_rows > MOST_PERIOD_BUCKETS:
        _widen(connection, arm)


def _widen(connection: sqlite3.Connection, of_arm: int) -> None:
    """Make two buckets one in every arm of a period: at the end of each bucket all arms are counted up to it."""
    sums = ", ".join(f"sum({name})" for name in COUNTED)
    keys = connection.execute(
        """SELECT o.key FROM experiment_arms a JOIN experiment_arms o USING (experiment, period) WHERE a.key = ?""",
        (of_arm,),
    ).fetchall()
    for key in keys:
        merged = connection.execute(
            f"SELECT arm, bucket / 2 AS half, {sums} FROM experiment_counts WHERE arm = ? GROUP BY half", key
        ).fetchall()
        connection.execute("DELETE FROM experiment_counts WHERE arm = ?", key)
        connection.executemany(
            f"INSERT INTO experiment_counts (arm, bucket, {', '.join(COUNTED)}) VALUES ({', '.join('?' * 12)})", merged
        )
        connection.execute("UPDATE experiment_arms SET bucket_us = bucket_us * 2 WHERE key = ?", key)
