"""A result that many request at once, and that changes all the time: made anew a few times a second, else the last."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Throttled(Generic[T]):
    """What was made last. It is made at most `per_second` times in any second of the clock, once at a time, and so is
    no older than a second and the time that making takes. For one event loop."""

    def __init__(self, *, per_second: int) -> None:
        self._per_second = per_second
        self._one_at_a_time = asyncio.Lock()
        self._second = 0
        self._made = 0  # within that second
        self._last: T

    async def get(self, make: Callable[[], Awaitable[T]]) -> T:
        """A new result, or the last where there were enough in this second. Raises what `make` raises."""
        async with self._one_at_a_time:
            if (now := int(time.monotonic())) != self._second:
                self._second, self._made = now, 0
            if self._made < self._per_second:
                self._last = await make()
                self._made += 1
            return self._last
