"""`vows-edge doctor --repair-clock`: events that a clock which was ahead has stamped."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from runtime.cli.findings import Finding
from runtime.settings import Settings

_LISTED = 100
_DIMENSIONS = 384


def repair_clock(settings: Settings, *, dry_run: bool) -> Iterator[Finding]:
    """List the events that are ahead of this machine's clock, and unless it is a dry run give them the time of their
    arrival, or this moment. The server must be stopped for it, and the clock be right."""
    from runtime.store import StoreError
    from runtime.store.sqlite.clock_repair import events_ahead, repair
    from runtime.store.sqlite.connection import DATABASE

    if settings.database_url:
        yield Finding("clock", "the data is in Postgres: take the events back (DELETE /interactions/ID)", "unsafe")
        return
    file = settings.data_dir / DATABASE
    if not file.is_file():
        yield Finding("clock", f"there is no database at {file}: set VOWS_DATA_DIR to the server's folder", "unsafe")
        return
    now_us, skew_us = time.time_ns() // 1000, round(settings.max_clock_skew_s * 1e6)
    yield Finding("clock", f"this machine's says {_shown(now_us)}")
    found = 0
    try:
        for event in events_ahead(file, now_us=now_us, skew_us=skew_us):
            found += 1
            if found <= _LISTED:
                times = f"{_shown(event.time_us)} becomes {_shown(event.new_time_us)}"
                yield Finding("ahead", f"event {event.event_id!r}: {times}")
        if found > _LISTED:
            yield Finding("ahead", f"and {found - _LISTED} more")
        if dry_run:
            advice = "; without --dry-run they are repaired, with the server stopped" if found else ""
            yield Finding("dry run", f"{found} events are ahead{advice}", "" if found else "ok")
            return
        done = asyncio.run(
            repair(
                settings.data_dir, now_us=now_us, skew_us=skew_us, dimensions=_DIMENSIONS,
                decay_per_day=settings.decay_per_day,
            )
        )  # fmt: skip
    except StoreError as error:
        yield Finding("clock", str(error), "unsafe")
        return
    yield Finding(
        "repaired",
        f"{done.events} events; other times of {done.users} users, {done.items} items and {done.preferences} "
        "preferences. Vectors and what is popular follow from the log",
        "ok",
    )


def _shown(time_us: int) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).isoformat(timespec="seconds")
    except OverflowError:
        return f"{time_us} µs since 1970"
