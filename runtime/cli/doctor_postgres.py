"""The doctor's look at Postgres: whether acknowledged events are safe there, and whether this machine fits beside the
others."""

import asyncio
from collections.abc import Iterator

from runtime.cli.findings import Finding
from runtime.settings import Settings

# Events that come without a time are stamped by the machine they came to.
MOST_CLOCK_DIFFERENCE_S = 5.0

# A transaction that stays open this long holds back the log that machines read.
LONGEST_WRITE_S = 60.0


def examine_postgres(settings: Settings) -> Iterator[Finding]:
    """Findings about the server behind VOWS_DATABASE_URL. Connects once, and writes nothing."""
    try:
        from runtime.store.postgres.connections import Connections, Pooler
        from runtime.store.postgres.migrations import OLDEST_PGVECTOR
        from runtime.store.postgres.store import OLDEST_SERVER
        from runtime.store.postgres.survey import Survey, survey
    except ModuleNotFoundError as error:
        yield Finding("Postgres", f"{error}: pip install 'vows-edge[postgres]'", "unsafe")
        return
    from runtime.store import StoreError

    server = Connections(settings.database_url).server
    pooler: Pooler = "transaction" if settings.database_pooler == "transaction" else "none"
    try:
        found: Survey = asyncio.run(survey(settings.database_url, timeout_s=settings.database_timeout_s, pooler=pooler))
    except StoreError as error:
        yield Finding("Postgres", str(error), "unsafe")
        return
    version = found.settings["server_version"]
    if int(found.settings["server_version_num"]) < OLDEST_SERVER:
        oldest = OLDEST_SERVER // 10_000
        yield Finding("Postgres", f"{version} at {server}: version {oldest} or newer is needed", "unsafe")
    elif found.standby:
        yield Finding("Postgres", f"{server} is a standby, which cannot be written: name the primary", "unsafe")
    else:
        yield Finding("Postgres", f"{version}, {server}", "ok")
    needed = ".".join(map(str, OLDEST_PGVECTOR))
    has = f"pgvector {found.pgvector}" if found.pgvector else "no pgvector"
    yield Finding("extensions", f"{has} (with {needed} or newer SQL can search vectors; the server does not need it)")
    yield _durability(found.settings)
    yield _connections(
        found.settings, found.connections, found.limit, settings.database_connections + (not found.pooled)
    )
    yield _pooler(found.pooled, settings.database_pooler)
    ahead = f"this machine is {found.clock_ahead_s:+.3f} s from Postgres (± {found.clock_error_s:.3f})"
    if abs(found.clock_ahead_s) - found.clock_error_s > MOST_CLOCK_DIFFERENCE_S:
        yield Finding("clock", f"{ahead}, at most {MOST_CLOCK_DIFFERENCE_S:g} are safe: set the clock (NTP)", "unsafe")
    else:
        yield Finding("clock", ahead, "ok")
    yield _schema(found.applied, found.pending, found.unknown)
    lag = f"the oldest open write is {found.oldest_write_s:.1f} s old"
    if found.oldest_write_s > LONGEST_WRITE_S:
        yield Finding("feed", f"{lag}: the log is read up to it; end it (pg_stat_activity shows whose it is)", "unsafe")
    else:
        yield Finding("feed", f"{lag}; machines read the log up to it", "ok")


def _durability(settings: dict[str, str]) -> Finding:
    off = [name for name in ("fsync", "full_page_writes") if settings[name] != "on"]
    found = ", ".join(f"{name}={settings[name]}" for name in ("synchronous_commit", "fsync", "data_checksums"))
    if off:
        return Finding("durability", f"{found}: {' and '.join(off)} off loses acknowledged events with power", "unsafe")
    notes = []
    if settings["synchronous_commit"] in ("off", "local"):
        notes.append("each transaction here sets synchronous_commit=on for itself")
    if settings["data_checksums"] != "on":
        notes.append("without checksums a damaged page goes unnoticed: pg_checksums --enable")
    return Finding("durability", "; ".join([found, *notes]), "ok")


def _connections(settings: dict[str, str], used: int, limit: int | None, needed: int) -> Finding:
    most = int(settings["max_connections"]) - int(settings["superuser_reserved_connections"])
    most = most if limit is None else min(most, limit)
    found = f"{used} of {most} are open, this machine opens up to {needed}"
    if used - 1 + needed > most:  # one of them is the doctor's
        remedy = "lower VOWS_DATABASE_CONNECTIONS, raise max_connections, or put a pooler in front"
        return Finding("connections", f"{found}: {remedy}", "unsafe")
    return Finding("connections", f"{found}: room for {(most - used + 1) // needed} machines like this", "ok")


def _pooler(pooled: bool, setting: str) -> Finding:
    if pooled and setting == "none":
        return Finding("pooler", "a pooler answers: set VOWS_DATABASE_POOLER=transaction", "unsafe")
    if setting == "transaction":
        found = "a pooler answers" if pooled else "none was noticed"
        return Finding("pooler", f"{found}; VOWS_DATABASE_POOLER=transaction: no prepared statements, no LISTEN", "ok")
    return Finding("pooler", "none: statements are prepared, and changes wake the other machines at once", "ok")


def _schema(applied: list[str], pending: list[str], unknown: list[str]) -> Finding:
    if unknown:
        return Finding("schema", f"a newer version migrated it ({', '.join(unknown)}): run that version", "unsafe")
    if not applied:
        return Finding("schema", "an empty database: the first start makes the tables", "ok")
    if pending:
        return Finding("schema", f"{', '.join(pending)} will be run at the next start; make a backup before", "ok")
    return Finding("schema", f"{len(applied)} migrations, the last is {applied[-1]}", "ok")
