"""Statements that read the event log."""

import numpy as np

from runtime.personalization.actions import STRENGTH_OF_CODE, TYPES
from runtime.store.postgres.connections import Connection
from runtime.store.postgres.context import Context
from runtime.store.postgres.formula import SEQUENCE_BITS
from runtime.store.postgres.ids import escape, unescape
from runtime.store.records import LoggedInteraction, OwnType, PastInteraction, RecentEvents, Seen, UserHistory

# The sequence below which no event is added any more: that of the oldest transaction that has not ended.
HORIZON = f"""(SELECT (pg_snapshot_xmin(pg_current_snapshot())::text::bigint + added) << {SEQUENCE_BITS}
    FROM log_epoch)"""
_USER = "(SELECT key FROM users WHERE id = $1)"


async def read(connection: Connection, after: int, limit: int, user_id: str | None = None) -> list[LoggedInteraction]:
    """Up to the oldest transaction that has not ended: see interaction_log.py. user_id: of that user alone."""
    of_user = "" if user_id is None else 'AND l."user" = (SELECT key FROM users WHERE id = $3)'
    rows = await connection.fetch(
        f"""SELECT l.sequence, l.event_id, u.id, c.id, l.type, l.time_us, l.received_us, l.duration_ms, l.device,
            l.context, l.own_type, l.own_strength, e.ranking_id
        FROM interactions l JOIN users u ON u.key = l."user" JOIN content_ids c ON c.key = l.content
        LEFT JOIN exposures e ON e.sequence = l.exposure
        WHERE l.sequence > $1 AND l.sequence < {HORIZON} {of_user}
        ORDER BY l.sequence LIMIT $2""",
        after, limit, *(() if user_id is None else (escape(user_id),)),
    )  # fmt: skip
    return [
        LoggedInteraction(
            sequence=sequence,
            event_id=unescape(event_id),
            user_id=unescape(user_id),
            content_id=unescape(content_id),
            type=TYPES[code],
            time_us=time_us,
            received_us=received_us,
            duration_ms=duration_ms,
            device=None if device is None else unescape(device),
            context=context,
            own_type=None if own is None else OwnType(own, strength),
            ranking_id=None if ranking_id is None else unescape(ranking_id),
        )
        for (
            sequence,
            event_id,
            user_id,
            content_id,
            code,
            time_us,
            received_us,
            duration_ms,
            device,
            context,
            own,
            strength,
            ranking_id,
        ) in rows
    ]


async def horizon(connection: Connection) -> int:
    """The sequence below which every transaction has ended."""
    sequence: int = await connection.fetchval(f"SELECT {HORIZON}")
    return sequence


async def newest(connection: Connection, user_id: str, limit: int) -> UserHistory:
    rows = await connection.fetch(
        f"""SELECT c.id, l.type, l.time_us, l.duration_ms, l.device, l.context
        FROM interactions l JOIN content_ids c ON c.key = l.content
        WHERE l."user" = {_USER} AND EXISTS (SELECT 1 FROM content WHERE key = l.content)
        ORDER BY l.time_us DESC, l.sequence DESC LIMIT $2""",
        escape(user_id), limit,
    )  # fmt: skip
    ids, codes, times, durations, devices, contexts = zip(*reversed(rows), strict=True) if rows else ((),) * 6
    return UserHistory(
        content_ids=[unescape(id) for id in ids],
        action=np.array(codes, np.int8),
        time_us=np.array(times, np.int64),
        duration_ms=np.array(durations, np.float32),  # None becomes NaN
        device=[None if device is None else unescape(device) for device in devices],
        context=list(contexts),
    )


async def recent(connection: Connection, user_id: str, limit: int) -> RecentEvents:
    rows = await connection.fetch(
        f"""SELECT c.id, l.type FROM interactions l JOIN content_ids c ON c.key = l.content
        WHERE l."user" = {_USER} ORDER BY l.time_us DESC, l.sequence DESC LIMIT $2""",
        escape(user_id), limit,
    )  # fmt: skip
    ids, codes = zip(*reversed(rows), strict=True) if rows else ((), ())
    return RecentEvents([unescape(id) for id in ids], np.array(codes, np.int8))


async def seen(connection: Connection, user_id: str, before: int | None, limit: int) -> list[Seen]:
    rows = await connection.fetch(
        f"""SELECT l.sequence, c.id, l.type, l.time_us FROM interactions l
        JOIN content_ids c ON c.key = l.content
        WHERE l."user" = {_USER} AND ($2::bigint IS NULL OR l.sequence < $2) ORDER BY l.sequence DESC LIMIT $3""",
        escape(user_id), before, limit,
    )  # fmt: skip
    return [Seen(sequence, unescape(id), TYPES[code], time_us) for sequence, id, code, time_us in rows]


async def history(
    connection: Connection, context: Context, user_id: str, before: int | None, limit: int
) -> list[PastInteraction]:
    rows = await connection.fetch(
        f"""SELECT l.sequence, l.event_id, i.id, l.type, l.time_us, c.hidden, c.embedding, l.own_strength,
            l.own_type
        FROM interactions l JOIN content c ON c.key = l.content JOIN content_ids i ON i.key = l.content
        WHERE l."user" = {_USER} AND ($2::bigint IS NULL OR l.sequence < $2) ORDER BY l.sequence DESC LIMIT $3""",
        escape(user_id), before, limit,
    )  # fmt: skip
    decode = context.column.decode
    return [
        PastInteraction(
            sequence,
            unescape(event_id),
            unescape(id),
            TYPES[code],
            time_us,
            hidden,
            decode(vector),
            STRENGTH_OF_CODE[code] if strength is None else strength,
            own or TYPES[code],
        )
        for sequence, event_id, id, code, time_us, hidden, vector, strength, own in rows
    ]
