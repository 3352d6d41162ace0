"""Everything that is kept beside the log, computed from the log again."""

import numpy as np

from runtime.personalization.actions import STRENGTH_OF_CODE
from runtime.personalization.user_vector import Sums
from runtime.store.experiment_records import EXPOSURE_ROW_BYTES
from runtime.store.postgres.connections import Connection
from runtime.store.postgres.context import Context
from runtime.store.postgres.ids import unescape
from runtime.store.postgres.user_tables import sums_from_log

_TOLERANCE = 1e-6

_TOTALS = """
    SELECT 'content' AS name, (SELECT sum(content) FROM totals) AS kept, (SELECT count(*) FROM content) AS found
    UNION ALL SELECT 'users', (SELECT sum(users) FROM totals), (SELECT count(*) FROM users)
    UNION ALL SELECT 'interactions', (SELECT sum(interactions) FROM totals), (SELECT count(*) FROM interactions)
    UNION ALL SELECT 'preferences', (SELECT sum(preferences) FROM totals), (SELECT count(*) FROM preferences)
    UNION ALL SELECT 'exposures', (SELECT sum(exposures) FROM totals), (SELECT count(*) FROM exposures)
    UNION ALL SELECT 'bytes of exposures', (SELECT sum(exposure_bytes) FROM totals),
        (SELECT coalesce(sum(length(items) + $1::bigint), 0) FROM exposures)"""


async def problems(connection: Connection, context: Context) -> list[str]:
    """What contradicts the log, in a transaction in which nothing changes; nothing if all is well. Reads all of it."""
    found = [
        f"{row['kept']} {row['name']} are counted, {row['found']} are stored"
        for row in await connection.fetch(_TOTALS, EXPOSURE_ROW_BYTES)
        if row["kept"] != row["found"]
    ]
    found += [
        f"content {unescape(row['id'])!r} has popularity {row['popularity']}, the log gives {row['expected']}"
        for row in await connection.fetch(
            """SELECT id, popularity, expected FROM content_totals JOIN content_ids USING (key) LEFT JOIN LATERAL (
                SELECT coalesce(sum(coalesce(own_strength, ($1::bigint[])[type + 1])), 0) AS expected
                FROM interactions WHERE content = key
            ) log ON true WHERE popularity <> expected""",
            list(STRENGTH_OF_CODE.values()),
        )
    ]
    users = await connection.fetch(
        """SELECT key, id, interaction_count, stale OR formula <> $1 AS stale, sums,
            (SELECT count(*) FROM interactions WHERE "user" = key) AS events
        FROM users LEFT JOIN user_sums USING (key) ORDER BY key""",
        context.formula,
    )
    for key, id, counted, stale, sums, events in users:
        if counted != events:
            found.append(f"user {unescape(id)!r} has {counted} events by their count, {events} in the log")
        if not stale and not _same(
            None if sums is None else Sums.decode(sums, context.dimensions),
            await sums_from_log(connection, context, key),
        ):
            found.append(f"the sums of user {unescape(id)!r} are not those of the log")
    return found


def _same(kept: Sums | None, computed: Sums | None) -> bool:
    if kept is None or computed is None:
        return kept is computed
    return bool(np.allclose(kept.weighted / kept.weight, computed.weighted / computed.weight, atol=_TOLERANCE))
