"""How many commits were acknowledged, kept beside the database, so that a start notices when some of them are gone.

SQLite takes a damaged write-ahead log for the end of it: what follows the damage is silently not there. The database
counts its commits; the number that was acknowledged last is written here after each one, without a sync: after a power
cut it may be older, and is never newer, than what the disk has to hold.
"""

import os
import sqlite3
import struct
from pathlib import Path
from zlib import crc32

from runtime.store.errors import StoreCorrupt, StoreIOError

_RECORD = struct.Struct("<8sQI")
_MAGIC = b"VOWSACK1"
_AT = 64  # in the lock file, whose first line is the process that holds it


def write(file: int, commits: int) -> None:
    """Record that this many commits were acknowledged."""
    os.pwrite(file, _RECORD.pack(_MAGIC, commits, crc32(commits.to_bytes(8, "little"))), _AT)


def read(file: int) -> int:
    """The commits acknowledged; 0 without a record that is whole."""
    data = os.pread(file, _RECORD.size, _AT)
    if len(data) < _RECORD.size:
        return 0
    magic, commits, checksum = _RECORD.unpack(data)
    whole = magic == _MAGIC and checksum == crc32(commits.to_bytes(8, "little"))
    return int(commits) if whole else 0


class Acknowledgements:
    """Counts commits, and confirms them while the files that they went to are the ones that the next start will read.

    Raises StoreCorrupt where the database has fewer commits than were acknowledged.
    """

    def __init__(self, connection: sqlite3.Connection, database: Path, lock: int, lock_path: Path) -> None:
        self._lock = lock
        self._files = (str(database), f"{database}-wal")
        self._found: list[tuple[int, int]] | None = None
        row = connection.execute("SELECT rows FROM totals WHERE name = 'commits'").fetchone()
        self._commits: int = row[0] if row else -1
        acknowledged = read(lock)
        if self._commits < acknowledged:
            raise StoreCorrupt(
                f"{database} holds {self._commits} commits and {acknowledged} were acknowledged: it, or its log "
                f"({database.name}-wal), is damaged, or an older copy was put in its place. Restore a backup: "
                f"`vows-edge restore FILE --replace`. To go on without what is missing, remove {lock_path}"
            )

    def count(self, connection: sqlite3.Connection) -> None:
        """Count the transaction that is about to be committed in it."""
        connection.execute("UPDATE totals SET rows = ? WHERE name = 'commits'", (self._commits + 1,))

    def check_files(self) -> None:
        """Raises StoreIOError where the database or its log was deleted or replaced under this process: what is written
        then goes to files that have no name."""
        try:
            now = [(found.st_dev, found.st_ino) for found in map(os.stat, self._files)]
        except FileNotFoundError as error:
            if self._found is None and error.filename == self._files[1]:
                return  # it is made by the first write
            raise StoreIOError(f"{error.filename} was deleted under the server; {_GONE}") from None
        if self._found is None:
            self._found = now
        if now != self._found:
            raise StoreIOError(f"{self._files[0]} or its log was replaced under the server; {_GONE}")

    def confirm(self) -> None:
        """After the commit was synced, before it is acknowledged. Raises as `check_files`."""
        self.check_files()
        self._commits += 1
        write(self._lock, self._commits)


_GONE = (
    "nothing written from now on would be kept. Stop it, restore a backup (`vows-edge restore FILE`), and start again"
)
