"""Copies of the whole database: made while it is served, checked, and put back. Also the one before a migration."""

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import msgspec

from runtime.store.errors import StoreCorrupt, StoreError, StoreIOError
from runtime.store.records import Counts
from runtime.store.sqlite import acknowledged, catalog_log, totals
from runtime.store.sqlite.backup_seal import put_on, take_off
from runtime.store.sqlite.connection import (
    APPLICATION_ID,
    DATABASE,
    lock_directory,
    open_reader,
    open_writer,
    sync_directory,
    translated,
)
from runtime.store.sqlite.integrity import damaged_rows
from runtime.store.sqlite.migrations import applied, pending, row_checksums
from runtime.store.sqlite.scrub import BEFORE_MIGRATION, RESTORING, erase_unallocated

_PAGES_AT_ONCE = 256
_PROBLEMS_TOLD = 10
_REPORT_EVERY_S = 10.0

log = logging.getLogger("vows")


class Backup(msgspec.Struct, frozen=True):
    """A copy that was read back whole: where it is, its size and the rows in it."""

    path: Path
    bytes: int
    rows: Counts


def back_up(database: Path, to: Path) -> Backup:
    """Copy the database as it is at one moment to `to`, also while a server writes to it.

    Every write acknowledged before the call is in the copy. It is one file without a log, free of deleted rows, and it
    appears under its name only when it is complete, checked and synced. A user who is deleted meanwhile is asked to
    repeat the request when the copy takes more than five seconds. Raises StoreError.
    """
    if not database.is_file():
        raise StoreIOError(f"there is no database at {database}; set VOWS_DATA_DIR to the folder the server uses")
    if to.exists():
        raise StoreError(f"{to} exists already; choose another name, or remove it first")
    with closing(open_reader(database)) as source:
        return _copy(source, to)


def before_migrating(connection: sqlite3.Connection, database: Path) -> Path | None:
    """Copy a database that is about to be migrated, beside it; None where there is nothing to lose or to do.

    Only the latest is kept, and none once a user is deleted: it holds them too (see `Scrubber`). Raises StoreError.
    """
    steps = pending(connection)
    if not steps or not applied(connection):
        return None
    to = database.with_name(f"{database.name}{BEFORE_MIGRATION}{steps[0].__name__}")
    log.info(
        "the database (%.0f MB) is copied to %s, for an earlier version, before it is migrated (%s)",
        database.stat().st_size / 1e6, to.name, ", ".join(step.__name__ for step in steps),
    )  # fmt: skip
    _copy(connection, to, log.info)
    log.info("the copy is whole; the database is migrated now")
    for older in database.parent.glob(f"{database.name}{BEFORE_MIGRATION}*"):
        if older != to:
            older.unlink()
    sync_directory(database.parent)
    return to


def restore(file: Path, data_dir: Path, *, replace: bool) -> Backup:
    """Make the backup `file` the database of `data_dir`, which no server may be using; all of it or nothing.

    With `replace` the database that is there goes. Raises StoreError: StoreCorrupt where `file` is not whole,
    SchemaTooNew where a newer version wrote it, StoreLocked where a server runs.
    """
    if not file.is_file():
        raise StoreIOError(f"there is no backup at {file}")
    log = file.with_name(file.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(f"{file} is a database in use, with a log beside it; make a copy with `vows-edge backup`")
    lock = lock_directory(data_dir)
    try:
        database = data_dir / DATABASE
        if database.exists() and not replace:
            raise StoreError(f"{database} exists; add --replace to replace it by the backup")
        with translated(f"restoring {file}"), _complete_or_removed(data_dir / (DATABASE + RESTORING)) as copy:
            shutil.copyfile(file, copy)
            take_off(copy, named=file)
            found = _checked(copy, for_this_version=True)
            _sync(copy)
            with suppress(StoreError):  # its log goes into it, so that a crash below leaves it as it was
                if database.exists():
                    open_writer(database).close()
            for suffix in ("-wal", "-shm"):  # a log of the old database would be applied to the new one
                database.with_name(database.name + suffix).unlink(missing_ok=True)
            sync_directory(data_dir)  # before the rename: never the old log beside the new database
            acknowledged.write(lock, 0)
            os.fsync(lock)
            copy.rename(database)
            sync_directory(data_dir)
    finally:
        os.close(lock)
    return Backup(database, found.bytes, found.rows)


def _copy(source: sqlite3.Connection, to: Path, report: Callable[[str], None] = lambda line: None) -> Backup:
    """report: gets a line now and then."""
    reported_at = time.monotonic()

    def progress(status: int, remaining: int, total: int) -> None:
        nonlocal reported_at
        if time.monotonic() - reported_at >= _REPORT_EVERY_S:
            reported_at = time.monotonic()
            report(f"{100 * (total - remaining) // max(total, 1)} % of the database is copied")

    with translated(f"backing up to {to}"), _complete_or_removed(to.with_name(to.name + ".partial")) as copy:
        source.execute("BEGIN")  # one moment: without it, every write meanwhile would make the copy start anew
        try:
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            with closing(sqlite3.connect(copy, isolation_level=None)) as target:
                target.execute("PRAGMA journal_mode = OFF").fetchall()  # of no use to a copy that is begun anew
                source.backup(target, pages=_PAGES_AT_ONCE, progress=progress)
                catalog_log.forget(target)
        finally:
            source.execute("ROLLBACK")
        (page_bytes,) = source.execute("PRAGMA page_size").fetchone()
        file = os.open(copy, os.O_RDWR | os.O_CLOEXEC)
        try:
            erase_unallocated(file, page_bytes)  # the copy was made between a deletion and its scrubbing, perhaps
        finally:
            os.close(file)
        report("all of the database is copied; the copy is read back and compared with its checksums")
        found = _checked(copy)
        put_on(copy)
        copy.rename(to)
        sync_directory(to.parent)
    return Backup(to, to.stat().st_size, found.rows)


def _checked(path: Path, *, for_this_version: bool = False) -> Backup:
    """Contents of a database that is not in use, after reading every page. Writes nothing. Raises StoreError."""
    # immutable: no log or shared-memory file is made beside it
    uri = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
    with translated(f"checking {path}"), closing(sqlite3.connect(uri, uri=True)) as connection:
        (found,) = connection.execute("PRAGMA application_id").fetchone()
        if found != APPLICATION_ID:
            raise StoreCorrupt(f"{path} is no database of this program (application id {found:#x}); name a backup")
        problems = [row[0] for row in connection.execute(f"PRAGMA integrity_check({_PROBLEMS_TOLD})").fetchall()]
        if problems != ["ok"]:
            raise StoreCorrupt(f"{path} is damaged: {'; '.join(problems)}; use another backup")
        if row_checksums.__name__ in applied(connection) and (rows := list(islice(damaged_rows(connection), 3))):
            raise StoreCorrupt(f"{path} is damaged: {'; '.join(rows)}; use another backup")
        if for_this_version:
            pending(connection)
        return Backup(path, path.stat().st_size, totals.read(connection))


@contextmanager
def _complete_or_removed(path: Path) -> Iterator[Path]:
    """An empty file that only its owner can read. Whatever is left under this name at the end is removed."""
    path.unlink(missing_ok=True)  # of a run that was killed
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        yield path
    finally:
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm", f"{path.name}-journal"):
            path.with_name(name).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
