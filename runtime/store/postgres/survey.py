"""What a Postgres server is like, as far as the store depends on it. Reads, and writes nothing."""

import time
from typing import NamedTuple

from runtime.store.postgres import migrations
from runtime.store.postgres.connections import CONNECTING, Connection, Connections, Pooler

_SETTINGS = (
    "server_version", "server_version_num", "synchronous_commit", "fsync", "full_page_writes", "data_checksums",
    "max_connections", "superuser_reserved_connections",
)  # fmt: skip
_CLOCK_LOOKS = 5


class Survey(NamedTuple):
    """settings: by name, as SHOW prints them. standby: it is read-only. pgvector: version, None without it.

    connections: open now, of everybody; limit: most of this role or database, None for none of their own. pooled:
    another session answers than the one connected to. clock_ahead_s: of this machine's clock, ± clock_error_s. applied,
    pending: migrations. unknown: applied ones that this version does not know and cannot serve. oldest_write_s: age of
    the oldest transaction that writes and has not ended, in the whole server: machines read the log up to it.
    """

    settings: dict[str, str]
    standby: bool
    pgvector: str | None
    connections: int
    limit: int | None
    pooled: bool
    clock_ahead_s: float
    clock_error_s: float
    applied: list[str]
    pending: list[str]
    unknown: list[str]
    oldest_write_s: float


async def survey(url: str, *, timeout_s: float, pooler: Pooler) -> Survey:
    """Raises StoreUnreachable or StoreError."""
    connections = Connections(url, most=1, timeout_s=timeout_s, pooler=pooler)
    try:
        return await connections.read(CONNECTING, _look)
    finally:
        await connections.close()


async def _look(connection: Connection) -> Survey:
    settings = {name: str(await connection.fetchval("SELECT current_setting($1)", name)) for name in _SETTINGS}
    limits = await connection.fetchrow(
        """SELECT (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role,
            (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database"""
    )
    limited = [limit for limit in (limits["role"], limits["database"]) if limit is not None and limit >= 0]
    known = [step.name for step in migrations.MIGRATIONS]
    applied = await migrations.applied(connection)
    unknown = []
    if applied:
        unknown = [
            row["name"]
            for row in await connection.fetch("SELECT name FROM migrations WHERE NOT serves_older")
            if row["name"] not in known
        ]
    ahead, error = await _clock(connection)
    return Survey(
        settings=settings,
        standby=await connection.fetchval("SELECT pg_is_in_recovery()"),
        pgvector=await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'vector'"),
        connections=await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL"),
        limit=min(limited, default=None),
        pooled=await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid(),
        clock_ahead_s=ahead,
        clock_error_s=error,
        applied=applied,
        pending=[name for name in known if name not in applied],
        unknown=unknown,
        oldest_write_s=await connection.fetchval(
            """SELECT coalesce(extract(epoch FROM clock_timestamp() - min(xact_start)), 0)::float8
            FROM pg_stat_activity WHERE backend_xid IS NOT NULL"""
        ),
    )


async def _clock(connection: Connection) -> tuple[float, float]:
    """How far this machine's clock is ahead, and by how much that may be wrong: by the fastest of a few answers."""
    found = []
    for _ in range(_CLOCK_LOOKS):
        before = time.time()
        theirs = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
        after = time.time()
        found.append(((after - before) / 2, (before + after) / 2 - theirs))
    error, ahead = min(found)
    return ahead, error
