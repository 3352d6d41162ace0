"""An item's decayed counts as they are stored: the bytes of personalization.popularity, and their checksum."""

import sqlite3

import numpy as np

from runtime.personalization import popularity
from runtime.personalization.actions import CODES_WITH_STRENGTH
from runtime.store.errors import StoreCorrupt
from runtime.store.sqlite.checksums import damaged, row_checksum
from runtime.store.sqlite.readable import MOST_AHEAD_US, READABLE, report

ENGAGED = ",".join(map(str, CODES_WITH_STRENGTH))  # codes, for statements
_CHECKSUM_BYTES = 4


def seal(content_key: int, counts: popularity.Counts) -> bytes | None:
    """To be stored; None without events."""
    if not counts[-1] > -np.inf:
        return None
    blob = popularity.encode(counts)
    return blob + row_checksum(content_key, blob).to_bytes(_CHECKSUM_BYTES, "little")


def unseal(content_key: int, stored: bytes | None) -> popularity.Counts:
    """The inverse of `seal`. Those of earlier versions have no checksum. Raises StoreCorrupt."""
    if stored is None or len(stored) == popularity.COUNT_BYTES:
        return popularity.decode(stored)
    blob, checksum = stored[:-_CHECKSUM_BYTES], stored[-_CHECKSUM_BYTES:]
    if row_checksum(content_key, blob) != int.from_bytes(checksum, "little"):
        raise damaged("what is popular of an item", "its next event computes it from the log again")
    return popularity.decode(blob)


def load(connection: sqlite3.Connection, content_key: int) -> popularity.Counts | None:
    """An item's counts, zeros without any; None where they are damaged and have to be computed from the log."""
    (stored,) = connection.execute("SELECT counts FROM content_ids WHERE key = ?", (content_key,)).fetchone()
    try:
        return unseal(content_key, stored)
    except (StoreCorrupt, ValueError) as error:
        report("what is popular", str(error))
        return None


def store(connection: sqlite3.Connection, content_key: int, counts: popularity.Counts | None, *, now_us: int) -> None:
    """None: computed from the log, which has changed already."""
    if counts is None:
        counts = from_log(connection, content_key, now_us=now_us)
    connection.execute("UPDATE content_ids SET counts = ? WHERE key = ?", (seal(content_key, counts), content_key))


def from_log(connection: sqlite3.Connection, content_key: int, *, now_us: int) -> popularity.Counts:
    """Computed from the log."""
    engaged = connection.execute(
        f"""SELECT min(l.time_us, ?) FROM interactions l
        WHERE l.content = ? AND l.type IN ({ENGAGED}) AND {READABLE} ORDER BY l.sequence""",
        (now_us + MOST_AHEAD_US, content_key),
    )
    return popularity.from_log(np.fromiter((time_us for (time_us,) in engaged), np.int64))
