"""The only place that opens the database, and what every connection must have set."""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.store.errors import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreIOError, StoreLocked
from runtime.store.sqlite.checksums import REMEDY, register

DATABASE = "vows.db"
LOCK = "lock"

APPLICATION_ID = 0x564F5753  # "VOWS": file(1) and this program recognise the database by it

# The log is checkpointed every 1,000 pages (4 MB) and the file cut back to this, so that it cannot outgrow the disk.
_WAL_BYTES = 8 << 20

# Per connection. Pages beyond it come from the operating system's cache, which the machine can take back.
_CACHE_KIB = 1024

BUSY_MS = 5000

# name → (value to set, value it must then read back)
_PRAGMAS: dict[str, tuple[str, object]] = {
    "busy_timeout": (str(BUSY_MS), BUSY_MS),
    "cache_size": (f"-{_CACHE_KIB}", -_CACHE_KIB),
    "mmap_size": ("0", 0),  # a mapped file that shrinks or fails to read kills the process instead of raising
    "temp_store": ("MEMORY", 2),  # nothing of a user outside the data directory, and a read-only /tmp is fine
    "foreign_keys": ("ON", 1),
    "trusted_schema": ("OFF", 0),
}
_WRITER_PRAGMAS: dict[str, tuple[str, object]] = {
    "journal_mode": ("WAL", "wal"),
    "synchronous": ("FULL", 2),  # NORMAL does not sync a commit in WAL mode: an acknowledged write could be lost
    "secure_delete": ("ON", 1),  # freed bytes are overwritten
    "journal_size_limit": (str(_WAL_BYTES), _WAL_BYTES),
    "wal_autocheckpoint": ("1000", 1000),
}


def open_writer(path: Path) -> sqlite3.Connection:
    """The connection that writes; makes the file. Transactions are the caller's to begin and end.

    Raises StoreError where the file is not a database of this program, or a setting does not take.
    """
    with translated(f"opening {path}"):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            _check_owner(connection, path)
            _set(connection, _PRAGMAS | _WRITER_PRAGMAS)
            register(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, for one thread at a time."""
    with translated(f"opening {path} to read"):
        # Not mode=ro: SQLite may have to make the shared-memory file, which that would forbid.
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            _set(connection, _PRAGMAS | {"query_only": ("ON", 1)})
            register(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def lock_directory(data_dir: Path) -> int:
    """Take the data directory for this process; the file descriptor returned holds it until closed.

    Raises StoreLocked when another process has it, StoreIOError when it cannot be made or written.
    """
    path = data_dir / LOCK
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreIOError(
            f"the data directory {data_dir} cannot be used: {error.strerror}; make it writable or choose another"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 32).decode("ascii", "replace").partition("\n")[0] or "unknown"
        os.close(lock)
        raise StoreLocked(
            f"{data_dir} is in use by another process (pid {holder}); stop it or choose another data directory"
        ) from error
    os.pwrite(lock, f"{os.getpid()}\n".encode("ascii").ljust(32), 0)  # what follows is of acknowledged.py
    return lock


def sync_directory(path: Path) -> None:
    """Make the names in a directory as durable as the files: a rename survives the machine only after this."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """SQLite's and the system's errors become this package's, with what was being done and what to do about it."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, doing) from error
    except (TypeError, ValueError, OverflowError, IndexError) as error:  # SQLite's own messages can be such: no UTF-8
        raise StoreCorrupt(f"{doing} failed: what is stored cannot be read: {error!r}; {REMEDY}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(f"{doing} failed: {error}; free some disk space, then repeat") from error
        raise StoreIOError(
            f"{doing} failed: {error}; check that the volume is mounted, writable and healthy"
        ) from error


@contextmanager
def any_text(connection: sqlite3.Connection) -> Iterator[None]:
    """Read texts that are not UTF-8 too, which damage makes: with a surrogate for each byte that is wrong."""
    before = connection.text_factory
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        connection.text_factory = before


def is_not_text(error: sqlite3.Error) -> bool:
    """Whether a text was read that is not UTF-8."""
    return not hasattr(error, "sqlite_errorname") and str(error).startswith("Could not decode")


def translate(error: sqlite3.Error, doing: str) -> StoreError:
    """The StoreError for an error of SQLite; `doing` says what was tried, for the message."""
    name = getattr(error, "sqlite_errorname", "") or "SQLITE_ERROR"
    found = f"{doing} failed: {error} ({name})"
    if is_not_text(error):
        return StoreCorrupt(f"{doing} failed: a text is damaged on the disk; {REMEDY}")
    if name == "SQLITE_FULL":
        return StoreFull(f"{found}; free some disk space, then repeat the request")
    if name.startswith(("SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return StoreIOError(f"{found}; check that the volume is mounted, writable and healthy, then repeat")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreCorrupt(
            f"{found}; stop the server and restore the database from a backup: `vows-edge restore FILE --replace`"
        )
    if name.startswith("SQLITE_BUSY"):
        return StoreBusy(f"{found}; another program holds the database, stop it or try again")
    return StoreError(found)


def _check_owner(connection: sqlite3.Connection, path: Path) -> None:
    """Before anything is set, so that a file of someone else's is not so much as switched to WAL."""
    found = connection.execute("PRAGMA application_id").fetchone()[0]
    if found == APPLICATION_ID:
        return
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if found != 0 or tables != 0:
        raise StoreCorrupt(
            f"{path} is a database of another program (application id {found:#x}, {tables} tables and indexes; "
            f"expected {APPLICATION_ID:#x}); choose another data directory"
        )
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _set(connection: sqlite3.Connection, pragmas: dict[str, tuple[str, object]]) -> None:
    for name, (value, expected) in pragmas.items():
        connection.execute(f"PRAGMA {name} = {value}").fetchall()
        row = connection.execute(f"PRAGMA {name}").fetchone()
        found = row[0] if row else None
        if found != expected:
            raise StoreError(
                f"SQLite {sqlite3.sqlite_version} gave {name} = {found!r} where {expected!r} was requested"
            )
