"""The one task that writes: in the order in which writes came, and events and exposures that wait together in one
transaction."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from runtime.store.errors import StoreBusy, StoreClosed, StoreError, StoreUnreachable
from runtime.store.experiment_records import Exposure, FailedRankings
from runtime.store.postgres import experiment_tables
from runtime.store.postgres.connections import Connection, Connections
from runtime.store.postgres.context import Context
from runtime.store.postgres.interaction_log import MOST_EVENTS, add
from runtime.store.queue_bytes import ROW_BYTES
from runtime.store.records import AddOutcome, Interaction

T = TypeVar("T")
Apply = Callable[[Connection], Awaitable[T]]


@dataclass(slots=True, eq=False)
class _Write:
    """`apply`, or `events` that came at `received_us`, or `exposures` and counts of rankings that `failed`."""

    bytes: int
    future: "asyncio.Future[Any]"
    apply: Apply[Any] | None = None
    events: Sequence[Interaction] = ()
    received_us: int = 0
    exposures: Sequence[Exposure] = ()
    failed: Sequence[FailedRankings] = ()

    @property
    def rows(self) -> int:
        return len(self.events) + len(self.exposures) + len(self.failed)


class Writer:
    """max_writes, max_bytes: what may wait or be in progress (`StoreBusy` beyond); a single larger write is let in
    alone."""

    def __init__(
        self, connections: Connections, context: Context, *, max_writes: int = 1024, max_bytes: int = 8 << 20
    ) -> None:
        self.max_writes = max_writes
        self.max_bytes = max_bytes
        self.waiting = 0
        self._bytes = 0
        self._connections = connections
        self._context = context
        self._queue: deque[_Write] = deque()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def write(self, apply: Apply[T], *, bytes: int = ROW_BYTES) -> T:
        """What `apply` returns, once what it wrote is committed and synced. Raises StoreError."""
        result: T = await self._submit(_Write(bytes, self._future(), apply))
        return result

    async def add(self, events: Sequence[Interaction], received_us: int, *, bytes: int) -> list[AddOutcome]:
        """Append at most MOST_EVENTS events, in a transaction with others that wait. Raises StoreError."""
        outcomes: list[AddOutcome] = await self._submit(
            _Write(bytes, self._future(), events=events, received_us=received_us)
        )
        return outcomes

    async def expose(self, exposures: Sequence[Exposure], failed: Sequence[FailedRankings], *, bytes: int) -> None:
        """Record at most MOST_EVENTS exposures, in a transaction with others and with events that wait. Raises
        StoreError."""
        await self._submit(_Write(bytes, self._future(), exposures=exposures, failed=failed))

    async def close(self) -> None:
        """Write what is queued. Nothing is accepted afterwards."""
        self._closed = True
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task

    def _future(self) -> "asyncio.Future[Any]":
        return asyncio.get_running_loop().create_future()

    def _submit(self, write: _Write) -> "asyncio.Future[Any]":
        if self._closed:
            raise StoreClosed("the store is shutting down; nothing was written, repeat the request after the start")
        if self._connections.away is not None:
            raise StoreUnreachable(
                f"{self._connections.away}; nothing was written, repeat the request in a few seconds"
            )
        if self.waiting and (self.waiting >= self.max_writes or self._bytes + write.bytes > self.max_bytes):
            raise StoreBusy(
                f"{self.waiting} writes of {self._bytes} bytes are waiting for Postgres (limits {self.max_writes} and "
                f"{self.max_bytes}); nothing was written, try again later"
            )
        self._queue.append(write)
        self.waiting += 1
        self._bytes += write.bytes
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        return write.future

    async def _run(self) -> None:
        while self._queue:
            batch = self._take()
            live = [write for write in batch if not write.future.done()]  # cancelled before its turn: not written
            try:
                if live:
                    await self._apply(live)
            except Exception as error:
                for write in live:
                    _fail(write, error)
            finally:
                self.waiting -= len(batch)
                self._bytes -= sum(write.bytes for write in batch)
                del batch, live

    def _take(self) -> list[_Write]:
        """The next write, with those behind it where all of them are rows that fit into one transaction."""
        batch = [self._queue.popleft()]
        rows = batch[0].rows
        while self._queue and batch[0].apply is None and self._queue[0].apply is None:
            rows += self._queue[0].rows
            if rows > MOST_EVENTS:
                break
            batch.append(self._queue.popleft())
        return batch

    async def _apply(self, batch: list[_Write]) -> None:
        first = batch[0]
        if first.apply is not None:
            result = await self._connections.transact("writing", first.apply)
            if not first.future.done():
                first.future.set_result(result)
            return
        try:
            await self._add(batch)
        except StoreUnreachable:
            raise
        except (StoreError, ValueError):
            if len(batch) == 1:
                raise
            for write in batch:  # nothing was written; one of them may be at fault
                try:
                    await self._add([write])
                except (StoreError, ValueError) as error:
                    _fail(write, error)

    async def _add(self, batch: list[_Write]) -> None:
        events = [event for write in batch for event in write.events]
        times = [write.received_us for write in batch for _ in write.events]
        exposures = [shown for write in batch for shown in write.exposures]
        failed = [some for write in batch for some in write.failed]

        async def apply(connection: Connection) -> list[AddOutcome]:
            # Events first: none can answer a ranking that has not been returned yet
            outcomes = await add(connection, self._context, events, times) if events else []
            if exposures or failed:
                await experiment_tables.add(connection, self._context, exposures, failed)
            return outcomes

        outcomes = await self._connections.transact("writing", apply)
        start = 0
        for write in batch:
            if not write.future.done():
                write.future.set_result(outcomes[start : start + len(write.events)])
            start += len(write.events)


def _fail(write: _Write, error: Exception) -> None:
    if not write.future.done():
        write.future.set_exception(error)
