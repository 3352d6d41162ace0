"""Take deleted rows out of the bytes of the file, not only out of the tables.

SQLite's `secure_delete` overwrites a row where it is deleted. It does not overwrite copies: when a B-tree page is split
or merged, rows move to a sibling and their old bytes stay behind, in the part of the page that belongs to no row (seen:
5 of 60 deleted users could be read back that way). VACUUM would remove them by writing the whole database anew: with
913,502 events (235 MB) 4.8 s without writes, and twice the disk. So this zeroes that unallocated part in place, in
0.3 s: the bytes between a page's cell pointers and its cells, which SQLite never reads
(https://www.sqlite.org/fileformat2.html#b_tree_pages). A crash in the middle leaves each of them old or zero: both do.

It is safe only while the file alone is the database and stays so; `Scrubber.run` makes sure of both.
"""

import os
import sqlite3
from pathlib import Path

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

    def close(self) -> None:
        os.close(self._file)

    def run(self, connection: sqlite3.Connection) -> str | None:
        """Scrub the file if a scrub is pending (see `request_scrub`), outside a transaction.

        Returns what prevented it, if anything; the scrub then stays pending.

        Raises sqlite3.Error or OSError.
        """
        if connection.execute("SELECT 1 FROM scrub_owed").fetchone() is None:
            return None
        if (problem := empty_log(connection)) is not None:
            return problem
        connection.execute("BEGIN IMMEDIATE")  # from here on no connection writes to the log or moves it to the file
        try:
            if self._log.stat().st_size:
                return "another program wrote to the log"
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
            erase_unallocated(self._file, page_bytes)
        finally:
            connection.execute("ROLLBACK")
        for copy in (BEFORE_MIGRATION, RESTORING):
            for path in self._path.parent.glob(f"{self._path.name}{copy}*"):
                path.unlink()
        connection.execute("PRAGMA shrink_memory")  # or a page from the cache would bring the old bytes back
        connection.execute("DELETE FROM scrub_owed")
        return None


def request_scrub(connection: sqlite3.Connection) -> None:
    """Record a pending scrub in the transaction that deletes, so that it also follows a crash. Always writes."""
    connection.execute("INSERT INTO scrub_owed VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET times = times + 1")


def empty_log(connection: sqlite3.Connection) -> str | None:
    """Move every page from the log into the database and truncate the log. Returns what prevented it, if anything."""
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return "a reader is in the way" if busy else None


def erase_unallocated(file: int, page_bytes: int) -> int:
    """Zero the unallocated part of every B-tree page of a database without a log, and sync. Pages changed."""
    size = os.fstat(file).st_size
    if size // page_bytes >= _MOST_PAGES:
        raise OSError(f"the database has {size} bytes; scrubbing handles fewer than {_MOST_PAGES * page_bytes}")
    changed = 0
    for start in range(0, size, page_bytes * _PAGES_AT_ONCE):
        pages = os.pread(file, page_bytes * _PAGES_AT_ONCE, start)
        for offset in range(0, len(pages), page_bytes):
            first, end = _unallocated(pages, offset, page_bytes, start + offset == 0)
            if pages.count(0, first, end) < end - first:
                os.pwrite(file, bytes(end - first), start + first)
                changed += 1
    os.fsync(file)
    return changed


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
