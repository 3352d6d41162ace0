"""Looks for damage: SQLite's check of the file's structure, every row's checksum, and the counts against the log."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from runtime.personalization.actions import STRENGTH_OF_CODE
from runtime.store.errors import StoreCorrupt
from runtime.store.sqlite.checksums import REMEDY, TABLES, row_checksum
from runtime.store.sqlite.connection import any_text, translate
from runtime.store.sqlite.readable import report

_LISTED = 100  # problems of one kind; a damaged file has as many as it has rows
_STEP = 10_000  # of SQLite's virtual machine, between looks at the clock
_WHOLE_BYTES = 64 << 20  # a database up to this size is looked at as a whole by a start
_GROWING = frozenset(
    ("catalog_changes", "content", "content_ids", "exposures", "interactions", "participants", "preferences",
     "tombstones", "user_sums", "users")
)  # fmt: skip
START_S = 0.2  # how long a start looks; 1,000,000 events take some seconds


def problems(connection: sqlite3.Connection) -> Iterator[str]:
    """What is wrong with a database, one line each; nothing if all is well. Reads all of it: about a second for 100 MB
    that are in memory. Writes nothing."""
    try:
        structure = structural_problems(connection)
        yield from structure
        if structure:
            return
        yield from damaged_rows(connection)
        yield from _wrong_counts(connection)
    except sqlite3.Error as error:
        yield str(translate(error, "checking"))
    except UnicodeDecodeError:  # SQLite's message quotes the statement of a damaged table
        yield f"the statements that made the tables are damaged; {REMEDY}"


def check_at_start(connection: sqlite3.Connection) -> None:
    """Look at the structure as far as the time allows: all of a database of some megabytes; of a larger one the tables
    that stay small, because SQLite before 3.41 does not look at the clock while it walks through a table, and one of a
    million items takes ten seconds. Raises StoreCorrupt."""
    with _limited(connection):
        if found := structural_problems(connection, _small_tables(connection)):
            raise StoreCorrupt(f"the database is damaged: {'; '.join(found[:3])}; {REMEDY}")


def _small_tables(connection: sqlite3.Connection) -> list[str] | None:
    """None where the whole database is small."""
    (pages,), (page_bytes,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    if pages * page_bytes <= _WHOLE_BYTES:
        return None
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    return [name for (name,) in tables if name not in _GROWING]


def report_damaged_rows(connection: sqlite3.Connection) -> None:
    """Report damaged rows, of those that the time allows. They are refused when read; the others are served."""
    with _limited(connection):
        for what in damaged_rows(connection):
            report(what, "it is damaged on the disk")


@contextmanager
def _limited(connection: sqlite3.Connection) -> Iterator[None]:
    deadline = time.monotonic() + START_S
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEP)
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "") != "SQLITE_INTERRUPT":
            raise
    finally:
        connection.set_progress_handler(None, 0)


def structural_problems(connection: sqlite3.Connection, tables: Sequence[str] | None = None) -> list[str]:
    """What SQLite finds wrong with pages and indexes: of all, or of these tables."""
    found = []
    for of in [_LISTED] if tables is None else tables:
        found += connection.execute(f"PRAGMA integrity_check({of})").fetchall()
    return [row[0] for row in found if row[0] != "ok"]


def damaged_rows(connection: sqlite3.Connection) -> Iterator[str]:
    """Rows whose checksum is not the one stored, by their names."""
    with any_text(connection):
        yield from _damaged_rows(connection)


def _damaged_rows(connection: sqlite3.Connection) -> Iterator[str]:
    for table, checksum, columns, name in TABLES:
        found = 0
        rows = connection.execute(f"SELECT rowid, {checksum}, {columns} FROM {table}")
        for key, stored, *row in rows:
            if row_checksum(*row) == stored:
                continue
            named = connection.execute(name, (key,)).fetchone()
            yield f"{table} of {named[0] if named else key!r} ({checksum})"
            found += 1
            if found == _LISTED:
                yield f"and more of {table}"
                rows.close()
                break


def _wrong_counts(connection: sqlite3.Connection) -> Iterator[str]:
    """What is kept in step with the log, where it is not."""
    for name in ("content", "users", "interactions", "preferences", "tombstones"):
        kept, rows = connection.execute(
            f"SELECT (SELECT rows FROM totals WHERE name = ?), (SELECT count(*) FROM {name})", (name,)
        ).fetchone()
        if kept != rows:
            yield f"{rows} rows of {name}, counted as {kept}"
    strengths = " ".join(f"WHEN {code} THEN {strength}" for code, strength in STRENGTH_OF_CODE.items())
    for statement, what in (
        (
            f"""SELECT id, popularity, (SELECT coalesce(sum(coalesce(o.strength, CASE type {strengths} ELSE 0 END)), 0)
            FROM interactions l LEFT JOIN own_types o ON o.key = l.own_type WHERE l.content = i.key) log
            FROM content_ids i WHERE popularity <> log LIMIT ?""",
            "popularity of",
        ),
        (
            """SELECT id, interaction_count, (SELECT count(*) FROM interactions WHERE user = key) log FROM users
            WHERE interaction_count <> log LIMIT ?""",
            "events of",
        ),
    ):
        for id, kept, log in connection.execute(statement, (_LISTED,)):
            yield f"{what} {id!r}: {kept} is kept, the log says {log}"
