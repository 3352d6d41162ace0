"""`vows-edge doctor --repair-clock`: events that a clock which was ahead has stamped."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from runtime.cli.findings import Finding
from runtime.settings import Settings

if TYPE_CHECKING:
    from runtime.store.clock_repair import AheadEvent, Repaired

_LISTED = 100
_DIMENSIONS = 384


def repair_clock(settings: Settings, *, dry_run: bool) -> Iterator[Finding]:
    """List the events that are ahead of this machine's clock, and unless it is a dry run give them the time of their
    arrival, or this moment. The clock must be right; with SQLite the server must be stopped for it."""
    from runtime.store import StoreError
    from runtime.store.sqlite.connection import DATABASE

    file = settings.data_dir / DATABASE
    if not settings.database_url and not file.is_file():
        yield Finding("clock", f"there is no database at {file}: set VOWS_DATA_DIR to the server's folder", "unsafe")
        return
    now_us, skew_us = time.time_ns() // 1000, round(settings.max_clock_skew_s * 1e6)
    yield Finding("clock", f"this machine's says {_shown(now_us)}")
    run = _postgres if settings.database_url else _sqlite
    try:
        found, listed, done = run(settings, now_us, skew_us, dry_run)
    except ModuleNotFoundError as error:
        yield Finding("clock", f"{error}: pip install 'vows-edge[postgres]'", "unsafe")
        return
    except StoreError as error:
        yield Finding("clock", str(error), "unsafe")
        return
    for event in listed:
        times = f"{_shown(event.time_us)} becomes {_shown(event.new_time_us)}"
        yield Finding("ahead", f"event {event.event_id!r}: {times}")
    if found > len(listed):
        yield Finding("ahead", f"and {found - len(listed)} more")
    if done is None:
        stopped = "" if settings.database_url else ", with the server stopped"
        advice = f"; without --dry-run they are repaired{stopped}" if found else ""
        yield Finding("dry run", f"{found} events are ahead{advice}", "" if found else "ok")
        return
    again = "; start the machines again, which keep in memory what is popular" if settings.database_url else ""
    yield Finding(
        "repaired",
        f"{done.events} events; other times of {done.users} users, {done.items} items and {done.preferences} "
        f"preferences. Vectors and what is popular follow from the log{again}",
        "ok",
    )


# How many events are ahead, the first of them, and what was repaired
_Result = tuple[int, "list[AheadEvent]", "Repaired | None"]


def _sqlite(settings: Settings, now_us: int, skew_us: int, dry_run: bool) -> _Result:
    from runtime.store.sqlite.clock_repair import events_ahead, repair
    from runtime.store.sqlite.connection import DATABASE

    found, listed = 0, []
    for event in events_ahead(settings.data_dir / DATABASE, now_us=now_us, skew_us=skew_us):
        found += 1
        if found <= _LISTED:
            listed.append(event)
    if dry_run:
        return found, listed, None
    repairing = repair(
        settings.data_dir, now_us=now_us, skew_us=skew_us, dimensions=_DIMENSIONS, decay_per_day=settings.decay_per_day
    )
    return found, listed, asyncio.run(repairing)


def _postgres(settings: Settings, now_us: int, skew_us: int, dry_run: bool) -> _Result:
    from runtime.store.postgres.clock_repair import events_ahead, repair
    from runtime.store.postgres.connections import Connections, Pooler

    pooler: Pooler = "transaction" if settings.database_pooler == "transaction" else "none"

    async def run() -> _Result:
        found, listed = 0, []
        connections = Connections(settings.database_url, most=1, timeout_s=settings.database_timeout_s, pooler=pooler)
        try:
            async for event in events_ahead(connections, now_us=now_us, skew_us=skew_us):
                found += 1
                if found <= _LISTED:
                    listed.append(event)
            done = None if dry_run else await repair(connections, now_us=now_us, skew_us=skew_us)
        finally:
            await connections.close()
        return found, listed, done

    return asyncio.run(run())


def _shown(time_us: int) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).isoformat(timespec="seconds")
    except OverflowError:
        return f"{time_us} µs since 1970"
