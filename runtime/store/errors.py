"""What can go wrong with durable state. Every message carries the value found, the limit and the next step."""


class StoreError(Exception):
    """Base of all below. After a failed write the outcome is unknown until it is repeated: repeating is always safe."""


class StoreBusy(StoreError):
    """The write queue is full. Nothing was written; try again later."""


class StoreClosed(StoreError):
    """The store is shutting down. Nothing was written."""


class StoreLocked(StoreError):
    """Another process holds the data directory, or another connection holds the database."""


class StoreFull(StoreError):
    """The disk, a quota or a file-size limit has no room left. Reads still work."""


class StoreIOError(StoreError):
    """The operating system refused to read, write or sync, or the volume is read-only."""


class StoreCorrupt(StoreError):
    """The file is not a database, not this project's, or its content contradicts itself."""


class SchemaTooNew(StoreError):
    """The database was written by a newer version of this program."""


class StoreUnreachable(StoreError):
    """The database server does not answer. Reads and writes fail at once until it does; no restart is needed."""
