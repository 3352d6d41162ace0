"""One at a time: so that what is durable and what is in memory change in the same order, and so that what takes memory
is there once. A wait for a turn ends with the deadline of whoever waits."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from runtime.models.worker_pool import DeadlineExceeded

TIMEOUT_S = 10.0


class Turn:
    """A lock whose waits end. Event-loop thread only. `what` is done in a turn, for the message."""

    def __init__(self, what: str, timeout_s: float = TIMEOUT_S) -> None:
        self._what = what
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Raises DeadlineExceeded after `timeout_s` in line."""
        await acquire(self._lock, self._what, self._timeout_s)
        try:
            yield
        finally:
            self._lock.release()


async def acquire(lock: asyncio.Lock, what: str, timeout_s: float) -> None:
    """Take the lock. Raises DeadlineExceeded after `timeout_s`."""
    if not lock.locked():  # as nearly always: then a timer would cost more than the lock
        await lock.acquire()
        return
    try:
        async with asyncio.timeout(timeout_s):
            await lock.acquire()
    except TimeoutError:
        raise DeadlineExceeded(f"it waited {timeout_s:g} s for its turn, others are {what}; try again") from None


class Turns:
    """A lock for each id in use. Event-loop thread only; holds as many locks as ids are being changed."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}
        self._all = asyncio.Lock()
        self._holders = 0
        self._idle = asyncio.Event()

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def of(self, ids: Iterable[str]) -> AsyncIterator[None]:
        """Hold the turns of these ids, taken in one order by everybody, so that none waits in a circle. Raises
        DeadlineExceeded."""
        async with AsyncExitStack() as held:
            if self._all.locked():
                await acquire(self._all, "changing all", self._timeout_s)
                self._all.release()
            self._holders += 1
            held.callback(self._leave)
            for id in sorted(set(ids)):
                await held.enter_async_context(self._one(id))
            yield

    @asynccontextmanager
    async def all(self, timeout_s: float) -> AsyncIterator[None]:
        """Hold the turns of all ids: once everybody who holds one or waits has finished. Raises DeadlineExceeded."""
        await acquire(self._all, "changing all", timeout_s)
        try:
            while self._holders:
                self._idle.clear()
                try:
                    await asyncio.wait_for(self._idle.wait(), timeout_s)
                except TimeoutError:
                    raise DeadlineExceeded(f"items were changed for {timeout_s:g} s without a pause") from None
            yield
        finally:
            self._all.release()

    def _leave(self) -> None:
        self._holders -= 1
        if not self._holders:
            self._idle.set()

    @asynccontextmanager
    async def _one(self, id: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(id, asyncio.Lock())
        self._users[id] = self._users.get(id, 0) + 1
        try:
            await acquire(lock, f"changing {id!r}", self._timeout_s)
            try:
                yield
            finally:
                lock.release()
        finally:
            self._users[id] -= 1
            if not self._users[id]:
                del self._users[id], self._locks[id]
