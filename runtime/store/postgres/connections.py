"""Connections to Postgres: few, opened as they are needed, and one patient attempt at a time while it is away."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, TypeAlias, TypeVar
from urllib.parse import urlsplit

import asyncpg

from runtime.store.errors import StoreBusy, StoreClosed, StoreError, StoreFull, StoreUnreachable
from runtime.system.trace import spent

log = logging.getLogger("vows")

T = TypeVar("T")
Connection: TypeAlias = Any  # asyncpg.Connection, which has no complete types
Pooler = Literal["none", "transaction"]
CONNECTING = "connecting"

_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.1, 5.0  # between attempts to reach a server that is away
_RETRIES = 5  # of a transaction that Postgres ended for the sake of another

# Per transaction, not per session: behind a pooler a session is somebody else's the next moment.
_BEGIN_WRITE = (
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = on; "
    "SET LOCAL idle_in_transaction_session_timeout = '15s'; SET LOCAL lock_timeout = '10s'"
)
_BEGIN_READ = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"

_POOLER_SAYS = "unsupported startup parameter"  # PgBouncer, to what a session could be given at its begin

_RETRIED = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.ForeignKeyViolationError,  # an id that nothing used was dropped as somebody began to use it
    asyncpg.InvalidCachedStatementError,  # another machine has migrated the schema
)
_LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # of a standby: the primary is elsewhere now
    asyncpg.TooManyConnectionsError,
)


class Connections:
    """At most `most` connections, each used by one task at a time.

    When one is lost, the others are closed, every use fails at once with StoreUnreachable, and a single task tries to
    connect, waiting between attempts up to 5 s, at random, so that machines do not come back all at once.

    pooler: "transaction" where PgBouncer, Supavisor or Fly's pooler passes each transaction to another session: no
    statement is then kept prepared and every read is a transaction.
    """

    def __init__(
        self, url: str, *, most: int = 4, timeout_s: float = 10.0, pooler: Pooler = "none",
        prepare: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        self.pooler = pooler
        self.server = _without_password(url)
        self._url = url
        self._timeout_s = timeout_s
        self._prepare = prepare
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._slots = asyncio.Semaphore(most)
        self._away: str | None = None  # why the server cannot be reached
        self._recovering: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def away(self) -> str | None:
        """Why the server cannot be reached; None while it can."""
        return self._away

    async def connect(self) -> Connection:
        """A connection of the caller's own, who closes it. Raises StoreUnreachable or StoreError."""
        settings = {"application_name": "vows-edge"}
        if self.pooler == "none":
            settings["jit"] = "off"  # compiling takes longer than any of these statements
        connection = None
        try:
            connection = await asyncpg.connect(
                self._url,
                timeout=self._timeout_s,
                command_timeout=self._timeout_s,
                statement_cache_size=128 if self.pooler == "none" else 0,
                server_settings=settings,
            )
            if self._prepare is not None:
                await connection.execute(_BEGIN_READ)  # behind a pooler all of it has to be one session's
                await self._prepare(connection)
                await connection.execute("ROLLBACK")
        except (*_LOST, asyncpg.PostgresError, ValueError) as error:
            if connection is not None:
                connection.terminate()
            raise self._translated(error, CONNECTING) from error
        return connection

    @asynccontextmanager
    async def use(self, doing: str) -> AsyncIterator[Connection]:
        """One of the connections, for a while. What asyncpg raises becomes a StoreError."""
        started = time.monotonic()
        self._check()
        try:
            await asyncio.wait_for(self._slots.acquire(), self._timeout_s)
        except TimeoutError:
            raise StoreBusy(
                f"no connection to {self.server} became free within {self._timeout_s:g} s; nothing was written, try "
                "again later"
            ) from None
        connection = None
        try:
            self._check()
            connection = await self._take()
            yield connection
        except BaseException as error:
            translated = self._failed(connection, error, doing)
            if translated is None:
                raise
            raise translated from error
        else:
            if self._away is None and not self._closed and not connection.is_closed():
                self._idle.append(connection)
            else:
                connection.terminate()
                self._open.discard(connection)
        finally:
            self._slots.release()
            spent("store", time.monotonic() - started)

    async def read(self, doing: str, query: Callable[[Connection], Awaitable[T]]) -> T:
        """What `query` returns. Raises StoreError."""
        async with self.use(doing) as connection:
            if self.pooler == "none":
                return await query(connection)
            await connection.execute(_BEGIN_READ)  # or the next statement could be another session's
            try:
                return await query(connection)
            finally:
                with suppress(Exception):
                    await connection.execute("ROLLBACK")

    async def transact(self, doing: str, apply: Callable[[Connection], Awaitable[T]]) -> T:
        """What `apply` returns, once what it wrote is committed and synced. `apply` runs again where Postgres ended
        the transaction for the sake of another. Raises StoreError: StoreUnreachable where the outcome is open."""
        for left in reversed(range(_RETRIES)):
            try:
                async with self.use(doing) as connection:
                    return await _transaction(connection, apply)
            except StoreError as error:
                if not isinstance(error.__cause__, _RETRIED) or not left:
                    raise
                await asyncio.sleep(random.uniform(0, 0.05))
        raise AssertionError("this is a bug: the last try returns or raises")

    async def close(self) -> None:
        """Close every connection. Nothing is accepted afterwards. Safe to call twice."""
        self._closed = True
        if self._recovering is not None:
            self._recovering.cancel()
            with suppress(asyncio.CancelledError):
                await self._recovering
            self._recovering = None
        while self._idle:
            connection = self._idle.pop()
            self._open.discard(connection)
            with suppress(Exception):
                await connection.close(timeout=1)
        self._terminate_all()

    def _check(self) -> None:
        if self._closed:
            raise StoreClosed("the store is closed; repeat the request after the start")
        if self._away is not None:
            raise StoreUnreachable(f"{self._away}; repeat the request in a few seconds")

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._open.discard(connection)
        connection = await self.connect()
        self._open.add(connection)
        return connection

    def _failed(self, connection: Connection | None, error: BaseException, doing: str) -> StoreError | None:
        """What the failure is to the caller; None where it is theirs. Decides what becomes of the connection."""
        lost = _is_lost(error)
        usable = connection is not None and not connection.is_closed() and self._away is None
        if isinstance(error, Exception) and usable and not lost:
            self._idle.append(connection)
        elif connection is not None:  # cancelled in the middle of a statement, too
            connection.terminate()
            self._open.discard(connection)
        if lost or isinstance(error, StoreUnreachable):
            cause = error if lost else error.__cause__  # of a connection that could not be made
            self._lost(str(cause) or type(cause).__name__)
        if isinstance(error, StoreError) or not isinstance(error, (*_LOST, asyncpg.PostgresError)):
            return None
        return self._translated(error, doing)

    def _lost(self, reason: str) -> None:
        if self._away is not None or self._closed:
            return
        self._away = f"{self.server} cannot be reached ({reason})"
        log.warning("%s; users are answered 503, embeddings and searches continue", self._away)
        self._terminate_all()
        self._recovering = asyncio.get_running_loop().create_task(self._recover())

    async def _recover(self) -> None:
        delay = _FIRST_DELAY_S
        while self._away is not None:
            await asyncio.sleep(random.uniform(0, delay))
            delay = min(2 * delay, _LONGEST_DELAY_S)
            with suppress(StoreError):
                connection = await self.connect()
                self._open.add(connection)
                self._idle.append(connection)
                self._away = None
                log.info("%s is back", self.server)

    def _terminate_all(self) -> None:
        for connection in self._open:
            connection.terminate()
        self._open.clear()
        self._idle.clear()

    def _translated(self, error: Exception, doing: str) -> StoreError:
        found = f"{doing} failed: {error or type(error).__name__}"
        match error:
            case asyncpg.DiskFullError():
                return StoreFull(f"{found}; give Postgres more disk space, then repeat the request")
            case asyncpg.QueryCanceledError() | asyncpg.LockNotAvailableError():
                return StoreBusy(f"{found}; nothing was written, try again later")
            case _ if _POOLER_SAYS in str(error):
                return StoreError(f"{found}: a pooler answers; set VOWS_DATABASE_POOLER=transaction")
            case ValueError() if doing == CONNECTING:
                return StoreError(f"{found}; VOWS_DATABASE_URL is postgresql://user:password@host:5432/database")
            case _ if _is_lost(error):
                return StoreUnreachable(f"{self.server} cannot be reached ({found}); try again in a few seconds")
        return StoreError(found)


async def _transaction(connection: Connection, apply: Callable[[Connection], Awaitable[T]]) -> T:
    await connection.execute(_BEGIN_WRITE)
    try:
        result = await apply(connection)
        ended = await connection.execute("COMMIT")
    except BaseException as error:
        if isinstance(error, Exception) and not _is_lost(error) and not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise
    if ended != "COMMIT":
        raise StoreError(f"this is a bug: Postgres answered {ended} to a COMMIT")
    return result


def _is_lost(error: BaseException) -> bool:
    """Whether the connection is of no more use; asyncpg's errors about values are InterfaceErrors, too."""
    return isinstance(error, _LOST) and not isinstance(error, ValueError)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return f"the database {parts.path.lstrip('/') or 'postgres'} at {parts.hostname or 'the local socket'}"
