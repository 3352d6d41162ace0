"""Take deleted rows out of the bytes of the file, not only out of the tables.

SQLite's `secure_delete` overwrites a row where it is deleted. It does not overwrite copies: when a B-tree page is split
or merged, rows move to a sibling and their old bytes stay behind, in the part of the page that belongs to no row (seen:
5 of 60 deleted users could be read back that way). VACUUM would remove them by writing the whole database anew: with
913,502 events (235 MB) 4.8 s without writes, and twice the disk. So this zeroes that unallocated part in place, in
0.3 s: the bytes between a page's cell pointers and its cells, which SQLite never reads
(https://www.sqlite.org/fileformat2.html#b_tree_pages). A crash in the middle leaves each of them old or zero: both do.

It is safe only while the file alone is the database and stays so; `Scrubber.step` makes sure of both. A pass goes in
steps of some milliseconds, with writes between.
"""

import math
import os
import sqlite3
import time
from pathlib import Path

from runtime.store.sqlite.connection import BUSY_MS, sync_directory

MORE = "more pages are to come"

_BUSY_MS = 20  # that a step waits for another connection, while others wait for it
_PAGES_AT_ONCE = 64
_DATABASE_HEADER_BYTES = 100  # at the start of page 1
_INTERIOR = (2, 5)  # page types, indexes and tables: 12 bytes of header
_LEAF = (10, 13)  # 8 bytes of header

# A page that is no B-tree page starts with a page number. In a smaller file its first byte is 0 and never a page type.
_MOST_PAGES = 1 << 24

_WAL_SUFFIX = "-wal"

# Copies beside the database that this program makes itself, by what their names go on with: they hold users too.
BEFORE_MIGRATION = ".before-"
RESTORING = ".restoring"


class Scrubber:
    """Owns a file descriptor of the database for its whole life.

    Opened once: POSIX drops every lock a process has on a file when it closes any descriptor of it, SQLite's too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(path.name + _WAL_SUFFIX)
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._times = 0

    def close(self) -> None:
        """Close the descriptor; with it go the locks that this process has on the file."""
        os.close(self._file)

    @staticmethod
    def is_pending(connection: sqlite3.Connection) -> bool:
        """Whether bytes of deleted users may be in the files: see `request_scrub`."""
        return connection.execute("SELECT 1 FROM scrub_owed").fetchone() is not None

    def begin(self, connection: sqlite3.Connection) -> None:
        """Begin a pass over the file, which erases what was deleted before it. Outside a transaction.

        Raises OSError for a file with pointer-map pages, which look like others and must not be written.
        """
        (auto_vacuum,) = connection.execute("PRAGMA auto_vacuum").fetchone()
        if auto_vacuum:
            raise OSError(
                f"the database has pointer-map pages (auto_vacuum={auto_vacuum}); run VACUUM with it set to 0"
            )
        row = connection.execute("SELECT times FROM scrub_owed").fetchone()
        self._times = row[0] if row else 0
        self._next: int | None = 0

    def step(self, connection: sqlite3.Connection, seconds: float) -> str | None:
        """Erase as many pages as there is time for; None when it is done, MORE, or what prevents it. Writes can come
        between steps: a row that is moved to another page takes its own bytes along, and none from around it.

        Raises sqlite3.Error or OSError.
        """
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")  # whoever writes waits for this thread
        try:
            if (problem := empty_log(connection)) is not None:
                return problem
            connection.execute(
                "BEGIN IMMEDIATE"
            )  # from here on no connection writes to the log or moves it to the file
            try:
                if self._log.stat().st_size:
                    return "another program wrote to the log"
                (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
                self._next = erase_some(self._file, page_bytes, self._next or 0, time.monotonic() + seconds)
            finally:
                connection.execute("ROLLBACK")
            connection.execute("PRAGMA shrink_memory")  # or a page from the cache would bring the old bytes back
        finally:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        if self._next is not None:
            return MORE
        os.fsync(self._file)
        for copy in (BEFORE_MIGRATION, RESTORING):
            for path in self._path.parent.glob(f"{self._path.name}{copy}*"):
                path.unlink()
        sync_directory(self._path.parent)  # or a power cut brings the copies back
        connection.execute("DELETE FROM scrub_owed WHERE times = ?", (self._times,))
        return None


def request_scrub(connection: sqlite3.Connection) -> None:
    """Record a pending scrub in the transaction that deletes, so that it also follows a crash. Always writes."""
    connection.execute("INSERT INTO scrub_owed VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET times = times + 1")


def empty_log(connection: sqlite3.Connection) -> str | None:
    """Move every page from the log into the database and truncate the log. Returns what prevented it, if anything."""
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return "a reader is in the way" if busy else None


def erase_unallocated(file: int, page_bytes: int) -> None:
    """Zero the unallocated part of every B-tree page of a database without a log, and sync."""
    erase_some(file, page_bytes, 0, math.inf)
    os.fsync(file)


def erase_some(file: int, page_bytes: int, start: int, until: float) -> int | None:
    """Zero the unallocated part of B-tree pages from byte `start` on, until a time of the monotonic clock; where to go
    on, None at the end of the file. Syncs nothing."""
    size = os.fstat(file).st_size
    if size // page_bytes >= _MOST_PAGES:
        raise OSError(f"the database has {size} bytes; scrubbing handles fewer than {_MOST_PAGES * page_bytes}")
    for chunk in range(start, size, page_bytes * _PAGES_AT_ONCE):
        if chunk > start and time.monotonic() > until:
            return chunk
        pages = os.pread(file, page_bytes * _PAGES_AT_ONCE, chunk)
        for offset in range(0, len(pages), page_bytes):
            first, end = _unallocated(pages, offset, page_bytes, chunk + offset == 0)
            if pages.count(0, first, end) < end - first:
                os.pwrite(file, bytes(end - first), chunk + first)
    return None


def _unallocated(pages: bytes, page: int, page_bytes: int, first_page: bool) -> tuple[int, int]:
    """Where in `pages` the unallocated part of the page at offset `page` starts and ends; empty for other pages."""
    header = page + (_DATABASE_HEADER_BYTES if first_page else 0)
    kind = pages[header]
    if kind not in _INTERIOR and kind not in _LEAF:
        return page, page
    cells = int.from_bytes(pages[header + 3 : header + 5], "big")
    first_cell = int.from_bytes(pages[header + 5 : header + 7], "big") or 65_536
    pointers_end = header + (12 if kind in _INTERIOR else 8) + 2 * cells
    if not pointers_end <= page + first_cell <= page + page_bytes:
        raise OSError(f"page at byte {page} of a chunk is no B-tree page: {cells} cells, the first at {first_cell}")
    return pointers_end, page + first_cell
