"""One change of a thing at a time, so that what is durable and what is in memory change in the same order."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager


class Turns:
    """A lock for each id in use. Event-loop thread only; holds as many locks as ids are being changed."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def of(self, ids: Iterable[str]) -> AsyncIterator[None]:
        """Hold the turns of these ids, taken in one order by everybody, so that none waits in a circle."""
        async with AsyncExitStack() as held:
            for id in sorted(set(ids)):
                await held.enter_async_context(self._one(id))
            yield

    @asynccontextmanager
    async def _one(self, id: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(id, asyncio.Lock())
        self._users[id] = self._users.get(id, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._users[id] -= 1
            if not self._users[id]:
                del self._users[id], self._locks[id]
